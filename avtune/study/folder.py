"""The study folder: every file name once, and writes that a kill leaves either undone or done."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from avtune.errors import UserError


class StudyFolder:
    """The paths of one study.

    Args:
        root: the folder of the study, `results/<study>/`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.study_yaml = root / "study.yaml"
        self.environment_json = root / "environment.json"
        self.journal = root / "journal.log"
        self.curves = root / "curves.jsonl"
        self.trials_csv = root / "trials.csv"
        self.tensorboard = root / "tensorboard"
        self.best_yaml = root / "best.yaml"
        self.report_html = root / "report.html"
        self.log = root / "log.txt"
        self.lock = root / "lock"
        self.final = root / "final"
        self.model = self.final / "model.safetensors"
        self.model_config = self.final / "config.yaml"
        self.metrics = self.final / "metrics.json"
        self.query_ap = self.final / "query_ap.npz"
        self.model_card = self.final / "MODEL_CARD.md"
        self.scored = root / "scored.jsonl"
        self.repeats = root / "repeats.jsonl"
        self.lanes = root / "lanes"

    @property
    def exists(self) -> bool:
        return self.study_yaml.is_file()

    def lane(self, number: int) -> Path:
        """The state of a running trial, see `runners.lane_files`."""
        return self.lanes / f"{number}.safetensors"

    def clear_lanes(self, running: Collection[int]) -> None:
        """Deletes the states of all but the running trials, and what a kill left half written."""
        if not self.lanes.is_dir():
            return
        kept = {self.lane(number) for number in running}
        for path in self.lanes.iterdir():
            if path not in kept:
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            self.lanes.rmdir()

    def create(self, settings: dict[str, Any], environment: dict[str, Any]) -> None:
        """Makes the folder. It appears under its name only with `study.yaml` in it.

        Raises:
            UserError: the folder exists and holds something else, or cannot be written.
        """
        if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise UserError(
                f"{self.root} exists and is no study (it has no study.yaml); choose another --name, or move it away"
            )
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(dir=self.root.parent, prefix=f".{self.root.name}-"))
            new = StudyFolder(made)
            write_text(new.environment_json, json.dumps(environment, indent=2) + "\n")
            write_text(new.study_yaml, to_yaml(settings))
            if self.root.exists():
                self.root.rmdir()
            os.rename(made, self.root)
        except OSError as error:
            raise UserError(
                f"{self.root} cannot be made: {error.strerror or error}; choose another --results"
            ) from None

    def settings(self) -> dict[str, Any]:
        """What `study.yaml` says.

        Raises:
            UserError: it cannot be read.
        """
        try:
            settings = yaml.safe_load(self.study_yaml.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"{self.study_yaml} cannot be read: {str(error).splitlines()[0]}") from None
        if not isinstance(settings, dict):
            raise UserError(f"{self.study_yaml} does not describe a study: it holds no mapping")
        return settings

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the study for this process; a dead process holds nothing.

        Raises:
            UserError: another process works on the study.
        """
        with self.lock.open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.seek(0)
                owner = handle.read().strip()
                raise UserError(
                    f"{self.root} is being worked on by another avtune ({owner or 'unknown process'}); "
                    "wait for it, stop it, or choose another --name"
                ) from None
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {os.uname().nodename}")
            handle.flush()
            yield

    def note(self, text: str) -> None:
        """Appends to `log.txt`, each line with the time."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self.log.open("a", encoding="utf-8") as handle:
            handle.writelines(f"{stamp} {line}\n" for line in text.rstrip().splitlines())


def to_yaml(value: Any) -> str:
    """YAML in the order of the dict, as people read it."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120)


def write_text(path: Path, text: str) -> None:
    """Replaces a file so that a kill or a power loss leaves either the old or the new content."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """As `write_text`, for bytes."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def append_line(path: Path, record: dict[str, Any], *, sync: bool = False) -> None:
    """Adds one JSON line with a single write at the end of the file.

    Args:
        sync: also survive a power loss.
    """
    data = (json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n").encode()
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        written = os.write(handle, data)
        if written != len(data):
            raise OSError(f"{path}: only {written} of {len(data)} bytes were written")
        if sync:
            os.fsync(handle)
    finally:
        os.close(handle)


def read_lines(path: Path, *, repair: bool) -> tuple[list[dict[str, Any]], bool]:
    """The records of a file of JSON lines, and whether its last line was torn by a kill and is left out.

    Args:
        repair: cut the torn line off, so that lines can be added. Only for the owner of the study.

    Raises:
        UserError: a line before the last is damaged.
    """
    if not path.exists():
        return [], False
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    torn = end != len(data)
    if torn and repair:
        os.truncate(path, end)
    records = []
    for number, line in enumerate(data[:end].splitlines(), 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not a mapping")
        except (ValueError, UnicodeDecodeError) as error:
            raise UserError(f"{path}, line {number} is damaged ({error}); restore the file from a copy") from None
        records.append(record)
    return records, torn
