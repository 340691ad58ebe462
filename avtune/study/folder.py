"""The study folder: every file name once, and who owns it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from avtune.core.errors import UserError
from avtune.core.files import (
    LOCK_WAY_OUT,
    append_line,
    make_folder,
    private_files,
    private_opener,
    read_yaml,
    to_yaml,
    using,
)
from avtune.core.locks import is_locked, lock
from avtune.core.log import Level, append_note
from avtune.core.schema import fitting
from avtune.study.ending import STOPPED
from avtune.study.holder import SEARCHING, Holder, this_process

_LOCK_TRIES = 5
_MOST_SETTINGS = 1_000_000  # bytes of study.yaml
_SETTINGS = {
    "dataset": {"name": str, "digest": str, "spec?": str},
    "space": {"method": str, "search": {"trials": int}},
    "deterministic": bool,
    "code?": {"option": str, "sha256": str},
    "rows?": int,
    "precision": ("fp32", "tf32", "bf16"),
    "runner?": str,
    "placement?": str,
    "protocol?": str,
    "keep?": int,
    "overrides?": [str],
    "stopped?": STOPPED,
    "start?": [{str: (float, str, bool)}],
    "like?": {"studies": [str], "points": [{str: (float, str, bool)}]},
    "changes?": [str],
}


COPIES = ".url"
"""File in a folder of studies that are copies: the URL of the folder that they are brought from and sent to."""


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
        self.by_class = self.final / "by_class.json"
        self.embeddings = self.final / "test_embeddings.npz"
        self.model_card = self.final / "MODEL_CARD.md"
        self.scored = root / "scored.jsonl"
        self.finish = root / "finish"
        self.elsewhere = root / ".elsewhere"
        self.repeats = root / "repeats.jsonl"
        self.lanes = root / "lanes"
        self.checkpoints = root / "checkpoints"
        self.output = root / "output"
        self.seeds = self.final / "seeds"

    @property
    def exists(self) -> bool:
        with using(self.root, "read"):
            return self.study_yaml.is_file()

    @property
    def results(self) -> str:
        """What `--results` is for this study: the folder that it is in, or the URL of which that one has copies."""
        with contextlib.suppress(OSError):
            return (self.root.parent / COPIES).read_text().strip()
        return str(self.root.parent)

    def lane(self, number: int) -> Path:
        """The state of a running trial, see `runners.lane_files`."""
        return self.lanes / f"{number}.safetensors"

    def checkpoint(self, number: int) -> Path:
        """The weights of a trial that has trained to its end, see `finals.checkpoints`."""
        return self.checkpoints / f"{number}.safetensors"

    def output_of(self, method: str, name: str) -> str | None:
        """The file for what a run of that name prints, absolute, for processes whose current folder is another; None
        where the method is one of ours, which print nothing. Code of the user's own is called `module:Name`."""
        return str((self.output / f"{name}.txt").absolute()) if ":" in method else None

    def clear_lanes(self, running: Collection[int]) -> None:
        """Deletes the states of all but the running trials, and what a kill left half written."""
        if not self.lanes.is_dir():
            return
        kept = {self.lane(number) for number in running}
        with using(self.lanes):
            for path in self.lanes.iterdir():
                if path not in kept:
                    path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            self.lanes.rmdir()

    def drop_lane(self, number: int) -> None:
        """Deletes the state of a trial that has ended."""
        with using(self.lane(number)):
            self.lane(number).unlink(missing_ok=True)

    def clear_seeds(self) -> None:
        """Deletes the weights of retrainings that have ended, of which the first is the model in `final/`."""
        shutil.rmtree(self.seeds, ignore_errors=True)

    def check_regular(self) -> None:
        """
        Raises:
            UserError: what is to be a file of the study is something else, which no file could take the place of.
        """
        files = (path for path in vars(self).values() if isinstance(path, Path) and path.suffix and path != self.root)
        for path in files:
            if path.exists() and not path.is_file():
                raise UserError(f"{path} is no regular file; restore it from a copy")

    def clear_torn(self) -> None:
        """Deletes what a kill left of files that were being replaced, and of a trial that was being retrained. Only for
        the owner of the study."""
        with using(self.root):
            for path in self.root.glob(".retrained_trial_*-????????"):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
            for path in (*self.root.glob(".*-????????"), *self.final.glob(".*-????????")):
                if path.is_file() and (path.parent / path.name[1:-9]) in self._replaced:
                    path.unlink(missing_ok=True)
            for path in self.output.glob(".*.txt-????????"):
                path.unlink(missing_ok=True)

    @property
    def _replaced(self) -> set[Path]:
        """The files that are replaced as a whole."""
        return {path for path in vars(self).values() if isinstance(path, Path)}

    def create(self, settings: dict[str, Any], environment: dict[str, Any]) -> None:
        """Makes the folder. It appears under its name only with `study.yaml` in it.

        Raises:
            UserError: the folder exists and holds something else, or cannot be written.
        """
        files = {
            self.environment_json.name: json.dumps(environment, indent=2) + "\n",
            self.study_yaml.name: to_yaml(settings),
        }
        make_folder(self.root, "study", files)

    def settings(self) -> dict[str, Any]:
        """What `study.yaml` says.

        Raises:
            UserError: it cannot be read, or does not describe a study.
        """
        settings = read_yaml(self.study_yaml, most=_MOST_SETTINGS)
        if not isinstance(settings, dict):
            raise UserError(f"{self.study_yaml} does not describe a study: it holds no mapping")
        made: dict[str, Any] = fitting(settings, _SETTINGS, self.study_yaml)
        return made

    @contextlib.contextmanager
    def locked(self, doing: str = SEARCHING) -> Iterator[None]:
        """Holds the study for this process; a dead process holds nothing. Files that are made meanwhile are private.

        Args:
            doing: what it does, e.g. `retraining trial 3`.

        Raises:
            UserError: another process works on the study, or there are no file locks.
        """
        with using(self.lock):
            handle = open(self.lock, "a+", opener=private_opener)  # noqa: SIM115
        with handle, private_files():
            if not self._lock(handle):
                handle.seek(0)
                holder = Holder.read(handle.read())
                does = "" if holder.searches else f", which is {holder.doing}"
                raise UserError(
                    f"{self.root} is being worked on by another avtune ({holder.owner}{does}); "
                    "wait for it, stop it, or choose another --name"
                )
            with using(self.lock):
                handle.truncate(0)
                handle.write(Holder(this_process(), doing).written())
                handle.flush()
            yield

    def _lock(self, handle: IO[str]) -> bool:
        """Takes the lock; a few tries, because `owner` holds it for an instant."""
        for again in range(_LOCK_TRIES):
            try:
                with using(self.lock):
                    lock(handle, self.root, LOCK_WAY_OUT)
                return True
            except BlockingIOError:
                time.sleep(0.05 * (again + 1 < _LOCK_TRIES))
        return False

    def owner(self) -> str | None:
        """Who works on the study now, e.g. `process 7 on host`; None for nobody. Of a copy: also who does so elsewhere,
        as was known when it was brought here."""
        return self._owner(self.holder())

    def search_owner(self) -> str | None:
        """As `owner`, of a search; None where it does something else, e.g. retrains a trial."""
        holder = self.holder()
        return self._owner(holder) if holder is None or holder.searches else None

    def _owner(self, holder: Holder | None) -> str | None:
        if holder is not None:
            return holder.owner
        with contextlib.suppress(OSError):
            return self.elsewhere.read_text().strip() or None
        return None

    def holder(self) -> Holder | None:
        """The process of this machine, or of one that shares the folder, which works on the study now."""
        try:
            with self.lock.open() as handle:
                if is_locked(handle):
                    return Holder.read(handle.read())
        except OSError:  # never locked, or not for this user to read
            pass
        return None

    @property
    def may_be_written(self) -> bool:
        """Whether this user may change the study: its folder, and the file of its lock."""
        return all(os.access(path, os.W_OK) for path in (self.root, self.lock) if path.exists())

    def add_curve_line(self, line: dict[str, Any], *, sync: bool = False) -> None:
        """Adds a line to `curves.jsonl`; `sync`: it survives a power loss before anyone acts on it."""
        append_line(self.curves, line, sync=sync)

    def note(self, text: str, level: Level = "INFO") -> None:
        """Appends to `log.txt`, each line with the time and the level."""
        append_note(self.log, text, level)


def like_of(settings: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The configurations that earlier studies gave to a study with these settings."""
    found: Sequence[Mapping[str, Any]] = settings["like"]["points"] if "like" in settings else ()
    return found
