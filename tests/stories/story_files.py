"""What a study's files say, read by code of the stories' own: none of avtune's readers has a part in it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from optuna.distributions import json_to_distribution

APPENDED = ("journal.log", "curves.jsonl", "repeats.jsonl", "scored.jsonl")
_CREATED, _STATE, _STATES = 4, 6, {0: "RUNNING", 1: "COMPLETE", 2: "PRUNED", 3: "FAIL"}


class Damaged(Exception):
    """The files say what cannot be."""


@dataclass
class Trial:
    """A trial as `journal.log` and `curves.jsonl` have it.

    Attributes:
        config: what is searched of its configuration.
        values: validation MAP by epoch, as far as it counts.
        told: how it ended as the journal has it, if it does.
    """

    number: int
    config: dict[str, Any]
    values: list[float] = field(default_factory=list)
    state: str = "RUNNING"
    told: str = "RUNNING"
    seconds: list[float] = field(default_factory=list)

    @property
    def best(self) -> float | None:
        return max(self.values, default=None)

    @property
    def best_epoch(self) -> int | None:
        return self.values.index(max(self.values)) + 1 if self.values else None


def whole(path: Path) -> bytes:
    """The whole lines of a file."""
    data = path.read_bytes() if path.is_file() else b""
    return data[: data.rfind(b"\n") + 1]


def torn(root: Path) -> bool:
    """Whether a power loss, or a kill, has left half a line that no command has cut off yet."""
    paths = [root / name for name in APPENDED if (root / name).is_file()]
    return any(len(whole(path)) != path.stat().st_size for path in paths)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Their records."""
    try:
        return [json.loads(line) for line in whole(path).splitlines()]
    except ValueError as error:
        raise Damaged(f"{path.name}: {error}") from None


def settings_of(root: Path) -> dict[str, Any]:
    """What `study.yaml` says."""
    made: dict[str, Any] = yaml.safe_load((root / "study.yaml").read_text())
    return made


def trials_of(root: Path) -> list[Trial]:
    """The trials, by number.

    Raises:
        Damaged: a number is missing or there twice, an epoch is missing or there twice, a trial ended twice.
    """
    trials = _proposed(root / "journal.log")
    for line in lines_of(root / "curves.jsonl"):
        if "again" in line:
            for number in line["again"]:
                one = _of(trials, number)
                if one.state != "FAIL":
                    raise Damaged(f"curves.jsonl: trial {number} begins again and had not failed")
                one.state, one.values, one.seconds = "RUNNING", [], []
            continue
        one = _of(trials, line["trial"])
        if "epoch" in line:
            _epoch(one, line)
        else:
            _end(one, line)
    return [trials[number] for number in range(len(trials))]


def _of(trials: dict[int, Trial], number: int) -> Trial:
    if number not in trials:
        raise Damaged(f"curves.jsonl names trial {number}, which journal.log does not know")
    return trials[number]


def _epoch(one: Trial, line: dict[str, Any]) -> None:
    if one.state not in ("RUNNING", "COMPLETE"):
        raise Damaged(f"curves.jsonl: trial {one.number} is trained after its end ({one.state})")
    if line["epoch"] != len(one.values) + 1:
        raise Damaged(f"curves.jsonl: epoch {line['epoch']} of trial {one.number} after {len(one.values)}")
    one.state = "RUNNING"
    one.values.append(line["val_map"])
    one.seconds.append(line.get("seconds", 0.0))


def _end(one: Trial, line: dict[str, Any]) -> None:
    stopped_after_all = (one.state, line["state"]) == ("COMPLETE", "PRUNED")  # its study was given more epochs
    if one.state != "RUNNING" and not stopped_after_all:
        raise Damaged(f"curves.jsonl: trial {one.number} ends twice ({one.state}, {line['state']})")
    if line["epochs"] > len(one.values) or (line["state"] != "PRUNED" and line["epochs"] < len(one.values)):
        raise Damaged(f"curves.jsonl: trial {one.number} ends at {line['epochs']} of {len(one.values)} epochs")
    one.state = line["state"]
    del one.values[line["epochs"] :], one.seconds[line["epochs"] :]


def _proposed(path: Path) -> dict[int, Trial]:
    """The trials as the journal has them: the later one of a number counts, as `--retry-failed` has it."""
    by_id: list[Trial | None] = []
    trials: dict[int, Trial] = {}
    for line in lines_of(path):
        if line["op_code"] == _CREATED:
            kinds = {name: json_to_distribution(text) for name, text in line["distributions"].items()}
            config = {name: kinds[name].to_external_repr(value) for name, value in line["params"].items()}
            number = line["user_attrs"].get("trial")
            one = Trial(number, config, told=_STATES[line["state"]]) if number is not None else None
            by_id.append(one)
            if one is None:
                continue
            before = trials.get(number)
            if before is not None and (before.told != "FAIL" or before.config != config):
                raise Damaged(f"journal.log: trial {number} is proposed twice")
            trials[number] = one
        elif line["op_code"] == _STATE and (found := by_id[line["trial_id"]]) is not None:
            if found.told != "RUNNING":
                raise Damaged(f"journal.log: trial {found.number} ends twice")
            found.told = _STATES[line["state"]]
    if sorted(trials) != list(range(len(trials))):
        raise Damaged(f"journal.log: the numbers of its trials have gaps: {sorted(trials)}")
    return trials


def rows_of(root: Path) -> list[dict[str, str]]:
    """The rows of `trials.csv`; none where there is no such file."""
    path = root / "trials.csv"
    return list(csv.DictReader(io.StringIO(path.read_text()))) if path.is_file() else []


def half_written(root: Path) -> Iterator[str]:
    """Files that are replaced as a whole, and are not whole."""
    ends = {"trials.csv": "\n", "report.html": "</html>", "final/MODEL_CARD.md": "\n"}
    for name, end in ends.items():
        if (root / name).is_file() and not f"{(root / name).read_text().rstrip()}\n".endswith((end, f"{end}\n")):
            yield f"{name} is half written"
    if any(None in row.values() for row in rows_of(root)):
        yield "trials.csv is half written"
    lasts = {"study.yaml": "precision", "best.yaml": "finalists", "environment.json": "command"}
    for name, key in {**lasts, "final/metrics.json": "test", "final/config.yaml": "about"}.items():
        if (root / name).is_file():
            try:
                found = yaml.safe_load((root / name).read_text())  # which reads JSON too
            except yaml.YAMLError:
                found = None
            if not isinstance(found, dict) or key not in found:
                yield f"{name} is half written"


def tree(root: Path) -> dict[str, str]:
    """Every file below a folder but locks, by its path, with a digest of its content."""
    paths = [path for path in sorted(root.rglob("*")) if path.name != "lock" and path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
