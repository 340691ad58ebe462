"""A dated Markdown report: what was measured, by which command, on which machine, with which versions."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from avtune import __version__
from avtune.core.system import available_memory, usable_cores
from avtune.metrics.significance import mean_interval
from benchmarks._measure import Limits, Outcome, installed, spread

REPORTS = Path(__file__).parent / "reports"
SHARE_OF_MEMORY = 0.7
"""Of the memory that is free at the start, what one side may take unless told otherwise."""
_LOAD_BEFORE = os.getloadavg()[0]
_VECTOR_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


def arguments(claim: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark takes."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{claim}", description=doc and doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smallest sizes, to see that everything runs")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report (benchmarks/reports)")
    return parser


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmarks that try a side under limits and time it in rounds."""
    parser.add_argument("--rounds", type=int, help="timed rounds")
    parser.add_argument("--limit", type=float, default=60, help="seconds that a side may take in one go (60)")
    parser.add_argument("--memory", type=float, help="GB that a side may take (70%% of what is free now)")


def limits(options: argparse.Namespace) -> Limits:
    """What the options of `add_limits` say, or leave to us."""
    free = SHARE_OF_MEMORY * available_memory()
    return Limits(options.limit, int(options.memory * 1e9 if options.memory else free))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison(outcomes: Sequence[Outcome], shown: dict[str, str], tolerance: float) -> str:
    """The table of one size.

    Args:
        shown: values to show, from their names to the heads of their columns; a side without one shows a dash.
        tolerance: largest relative difference from the first side's values that counts as the same.
    """
    head = ["side", "seconds", "rounds", "times ours", "peak extra memory, MB", *shown.values(), "difference"]
    rows = []
    for position, one in enumerate(outcomes):
        if one.left_out:
            rows.append([one.name, f"left out: {one.left_out}", *["–"] * (len(head) - 2)])
            continue
        apart, name = one.difference
        verdict = f"{apart:.0e}" if apart <= tolerance else f"{apart:.0e} DISAGREES: {name}"
        values = [f"{one.values[key]:.6f}" if key in one.values else "–" for key in shown]
        ratio = "1" if position == 0 else spread(one.ratios) if one.ratios else "–"
        rows.append(
            [
                one.name,
                spread(one.seconds),
                str(len(one.seconds)),
                ratio,
                f"{one.memory / 1e6:.0f}",
                *values,
                "–" if position == 0 else verdict,
            ]
        )
    return table(head, rows)


def reading(most: Limits, tolerance: float) -> str:
    """How to read `comparison`, for the report."""
    return (
        "Seconds: median (least..most) over the rounds, all sides in turn in each. Times ours: a side's seconds over "
        "ours, round by round. Peak extra memory: resident, over what was resident before the call, in a process of "
        f"its own. A side is left out where one call takes over {most.seconds:g} s or {most.memory / 1e9:.1f} GB. "
        f"Difference: the largest relative one from our values; up to {tolerance:g} counts as the same."
    )


def apart(one: Sequence[float], other: Sequence[float]) -> str:
    """By how much `one` is higher than `other`: the mean of the differences, pair by pair, with its 95 % interval."""
    if list(one) == list(other):
        return "0"
    middle, half = mean_interval([mine - theirs for mine, theirs in zip(one, other, strict=True)])
    return f"{middle:+.4f}" + (f" ± {half:.4f}" if half is not None else "")


def problems(outcomes: Sequence[Outcome], size: int, tolerance: float) -> list[str]:
    """What is wrong with a comparison: our side missing, or a side with another result."""
    if outcomes[0].left_out:
        return [f"{size}: {outcomes[0].name}: {outcomes[0].left_out}"]
    return [
        f"{size}: {one.name} differs by {one.difference[0]:.1e} in {one.difference[1]}"
        for one in outcomes
        if one.difference[0] > tolerance
    ]


def write(claim: str, title: str, sections: Sequence[str], packages: Sequence[str], folder: Path) -> Path:
    """Writes `<date>-<claim>.md` and returns its path.

    Args:
        title: the heading.
        sections: Markdown, in order.
        packages: distributions whose versions matter, besides Python and avtune.
    """
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y-%m-%d}-{claim}.md"
    path.write_text(page(title, facts(now, packages), sections))
    return path


def facts(now: datetime, packages: Sequence[str], known: str | None = None) -> list[list[str]]:
    """What was measured with: (name, value).

    Args:
        packages: as `write` takes them.
        known: the commit of the code, where git cannot tell.
    """
    return [
        ["command", f"`python {shlex.join(sys.orig_argv[1:])}`"],
        ["date", f"{now:%Y-%m-%d %H:%M} UTC"],
        *_machine(),
        ["versions", _versions(packages, known)],
    ]


def page(title: str, facts: Sequence[Sequence[str]], sections: Sequence[str]) -> str:
    """The report's Markdown."""
    measured_with = table(["", "measured with"], facts).replace("---:", "---")
    return "\n\n".join([f"# {title}", measured_with, *sections]) + "\n"


def machine(packages: Sequence[str]) -> str:
    """What seconds depend on, but for avtune: processor, cores, versions of Python and of packages."""
    versions = _versions(packages).split(", ")
    return ", ".join([_cpu(), f"{cores()} cores", *(one for one in versions if not one.startswith("avtune "))])


def commit() -> str:
    """The commit that is checked out, and whether something in it was changed."""
    return _commit()


def _machine() -> list[list[str]]:
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [
        ["CPU", _cpu()],
        ["cores", f"{cores()} usable, torch on {torch.get_num_threads()} threads"],
        ["memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"],
        ["GPU", ", ".join(gpus) or "none"],
        ["load before", f"{_LOAD_BEFORE:.1f} (average of the last minute)"],
    ]


def cores() -> int:
    """CPU cores that this process may use."""
    return usable_cores()


def fast_bf16(device: str) -> bool:
    """Whether a device (`cpu`, `cuda`) multiplies bfloat16 in hardware."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return bool({"avx512_bf16", "amx_bf16"} & set(_cpu_facts()[1]))


def _cpu() -> str:
    model, flags = _cpu_facts()
    return f"{model}; {', '.join(flag for flag in _VECTOR_FLAGS if flag in flags) or 'no vector flags known'}"


def _cpu_facts() -> tuple[str, list[str]]:
    """(name, flags). Not from runners.placement: benchmarks.lanes must do without Ray."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    family = f" (family {said['cpu family']}, model {said['model']})" if "cpu family" in said else ""
    model = said.get("model name", platform.machine())
    return f"{model}{family}", said.get("flags", said.get("Features", "")).split()


def _versions(packages: Sequence[str], commit: str | None = None) -> str:
    known = f"commit {commit}" if commit else _commit()
    found = [f"python {platform.python_version()}", f"avtune {installed('avtune') or __version__} ({known})"]
    for name in packages:
        given = torch.__version__ if name == "torch" else installed(name)
        found.append(f"{name} {given or 'not installed'}")
    return ", ".join(found)


def _commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parents[1]), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit, changes = git("rev-parse", "--short", "HEAD"), git("status", "--porcelain", "avtune", "benchmarks/*.py")
    except (OSError, subprocess.CalledProcessError):
        return "no commit known"
    return f"commit {commit}{' and changes' if changes else ''}"
