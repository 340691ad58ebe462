"""What a layout of datasets is: one module each, in `formats.LAYOUTS`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from avtune.data.dataset import Dataset
from avtune.data.options import ReadOptions


class Layout(Protocol):
    """A module that reads datasets of one layout.

    Attributes:
        TITLE: what messages call it.
        KEYS: names of the arrays, or of the files, that it needs, for the message on what none recognises.
        TAKES: the options of `ReadOptions` that it takes; others are refused.
    """

    TITLE: str
    KEYS: tuple[str, ...]
    TAKES: frozenset[str]

    def recognise(self, path: Path) -> bool:
        """Whether what lies at `path`, a file or a folder, has this layout, by its content.

        Raises:
            UserError: it is damaged.
        """

    def read(self, path: Path, options: ReadOptions) -> Dataset:
        """The dataset, in bounded memory and time; nothing is unpickled.

        Raises:
            UserError: it is damaged or unusable; names the file and the array.
        """
