"""A report that is whole at any moment: written anew as rows come in, as Markdown and as JSON."""

from __future__ import annotations

import contextlib
import json
import math
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from avtune.core.files import write_bytes
from benchmarks import _report
from benchmarks._gpu_device import out_of_memory

EVERY = 1.0
"""Seconds between two writes while rows come in."""
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")
Number = float | int | str | bool | None


class Section:
    """One part of the report.

    Attributes:
        claims: lines for the top of the report.
        left_out: what was not measured, and why.
        fails: what is wrong.
        numbers: every row as names and numbers, for the JSON file.
    """

    def __init__(self, report: Report, title: str, about: str) -> None:
        self._report = report
        self.title = title
        self.blocks: list[str | Table] = [about]
        self.claims: list[str] = []
        self.left_out: list[str] = []
        self.fails: list[str] = []
        self.numbers: list[dict[str, Number]] = []
        self.seconds: float | None = None

    def table(self, heading: str, head: Sequence[str]) -> Table:
        """A new table; its rows are added as they are measured."""
        made = Table(self, heading, list(head))
        self.blocks.append(made)
        return made

    def note(self, text: str, *, shown: bool = False) -> None:
        self.blocks.append(text)

    def leave_out(self, what: str, why: str = "the time was up") -> None:
        self.left_out.append(f"{what}: {why}")
        print(f"  left out: {what}: {why}", flush=True)
        self._report.save(soon=True)

    def fail(self, what: str) -> None:
        self.fails.append(what)
        print(f"  FAILS: {what}", flush=True)
        self._report.save(soon=True)

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """What the block raises ends the block alone: memory that does not suffice leaves `what` out, anything else is
        a failure."""
        try:
            yield
        except Exception as error:
            if out_of_memory(error):
                self.leave_out(what, f"out of memory: {one_line(error)}")
                return
            traceback.print_exc()
            self.fail(f"{what}: ended early: {one_line(error)}")

    def add(self, **numbers: Number) -> None:
        # NaN and infinity are no JSON.
        self.numbers.append(
            {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in numbers.items()}
        )
        self._report.save(soon=True)

    def text(self) -> str:
        said = [f"## {self.title}", *(block if isinstance(block, str) else block.text() for block in self.blocks)]
        if self.fails:
            said.append("\n".join(["FAILS:", "", *(f"- {what}" for what in self.fails)]))
        if self.left_out:
            said.append("\n".join(["Left out:", "", *(f"- {what}" for what in self.left_out)]))
        if self.seconds is not None:
            said.append(f"This part took {self.seconds:.0f} s.")
        return "\n\n".join(said)


@dataclass
class Table:
    """A table of a section."""

    section: Section
    heading: str
    head: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def row(self, *cells: str) -> None:
        assert len(cells) == len(self.head), (cells, self.head)
        self.rows.append(list(cells))
        self.section._report.save(soon=True)

    def text(self) -> str:
        return f"### {self.heading}\n\n" + (
            _report.table(self.head, self.rows) if self.rows else "Nothing was measured."
        )


def one_line(error: Exception) -> str:
    """The last line of its traceback, shortened."""
    return " ".join(traceback.format_exception_only(error)[-1].split())[:300]


class Report:
    """`<date>-<claim>.md` and `.json` in a folder, by atomic replacement.

    Args:
        commit: of the code, where git cannot tell.
    """

    def __init__(
        self, claim: str, title: str, folder: Path, more_facts: list[list[str]], about: str, commit: str | None
    ) -> None:
        now = datetime.now(UTC)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{now:%Y-%m-%d}-{claim}.md"
        self._title, self._about = title, about
        self._facts = [*_report.facts(now, PACKAGES, commit), *more_facts]
        self.sections: list[Section] = []
        self.ended = "This run has not ended: it is under way, or was killed."
        self._saved = 0.0

    def section(self, title: str, about: str) -> Section:
        made = Section(self, title, about)
        self.sections.append(made)
        return made

    @property
    def left_out(self) -> int:
        return sum(len(section.left_out) for section in self.sections)

    @property
    def fails(self) -> list[str]:
        return [f"{section.title}: {what}" for section in self.sections for what in section.fails]

    def save(self, *, soon: bool = False) -> None:
        """Writes both files; `soon`: unless that was done a moment ago."""
        if soon and time.monotonic() - self._saved < EVERY:
            return
        top = [self.ended, *(claim for section in self.sections for claim in section.claims)]
        top += [f"FAILS: {what}" for what in self.fails]
        sections = ["\n".join(f"- {line}" for line in top), self._about, *(one.text() for one in self.sections)]
        write_bytes(self.path, _report.page(self._title, self._facts, sections).encode(), private=False)
        numbers = {
            "facts": dict(self._facts),
            "ended": self.ended,
            "sections": {
                one.title: {
                    "numbers": one.numbers,
                    "left_out": one.left_out,
                    "fails": one.fails,
                    "seconds": one.seconds,
                }
                for one in self.sections
            },
        }
        text = json.dumps(numbers, indent=1, default=float)
        write_bytes(self.path.with_suffix(".json"), (text + "\n").encode(), private=False)
        self._saved = time.monotonic()
