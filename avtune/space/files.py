"""Where space files are: those that come with avtune, by name, and a user's own, by path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.space.parse import HypersOf, parse
from avtune.space.space import Space
from avtune.space.yaml_lines import MAX_BYTES, decode, shorten


def names() -> list[str]:
    """The names of the spaces that come with avtune: of datasets, and of methods."""
    return sorted(_shipped())


def _shipped() -> dict[str, Path]:
    package = Path(__file__).parents[1]
    folders = (package.parent / "search_spaces", package / "search_spaces")  # of a checkout, of an installation
    return {path.stem: path for folder in folders for path in folder.glob("*/*.yaml")}


def find(name_or_path: str) -> Path:
    """The file of a space: an existing path, or the name of one that comes with avtune (`ave`).

    Raises:
        UserError: there is no such file; the message gives the names there are, and the nearest.
    """
    shipped = _shipped()
    try:
        if Path(name_or_path).is_file():
            return Path(name_or_path)
        beside = [str(path) for path in Path(name_or_path).parent.glob("*.y*ml")]
    except (OSError, ValueError):  # a name that no file can have
        beside = []
    if name_or_path in shipped:
        return shipped[name_or_path]
    given = shorten(name_or_path)
    hint = did_you_mean(given, [*shipped, *beside])
    raise UserError(f"no space file {given!r}; give the path of one, or a name: {choices(shipped) or 'none yet'}{hint}")


def text_of(path: Path) -> str:
    """What a file says.

    Raises:
        UserError: it cannot be read, or is no text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    return decode(data, str(path))


def load(
    name_or_path: str | Path,
    *,
    hypers_of: HypersOf,
    method_names: Iterable[str],
    overrides: Sequence[str] = (),
    method: str | None = None,
    bench: bool = False,
) -> Space:
    """`parse` of the file that `find` finds.

    Raises:
        UserError: no such file, one that cannot be read, or one that `parse` refuses.
    """
    path = find(str(name_or_path))
    return parse(
        text_of(path),
        file=str(path),
        hypers_of=hypers_of,
        method_names=method_names,
        overrides=overrides,
        method=method,
        bench=bench,
    )
