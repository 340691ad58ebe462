"""A study in Weights & Biases: one group, a run for the study and a run a trial, the final model as an artefact.

A trial is sent when it has ended, in one go, under an id of its own. What was sent is written down beside the study, so
that nothing is sent twice; W&B's offline mode, which has no server to ask, needs that.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import wandb

from avtune.core.files import write_text
from avtune.report.tracking import Seen, SeenTrial, files_by_folder, tracking_folder

_PROJECT = "avtune"


class WandbTracker:
    """A `tracking.Tracker`.

    Args:
        project: with its team and a slash before it, or without; None for `avtune`.
    """

    def __init__(self, project: str | None) -> None:
        team, _, self._project = (project or _PROJECT).rpartition("/")
        self._team = team or None  # None for the one that the user's key belongs to
        self._sent: dict[str, str] | None = None  # the ends that were sent, by the name of the run

    def sync(self, seen: Seen, *, ended: bool) -> None:
        path = tracking_folder(seen.folder) / f"wandb-{self._place}.json"
        if self._sent is None:
            self._sent = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        for number in sorted(seen.trials):
            trial = seen.trials[number]
            end = f"{trial.attempt} {trial.state} {len(trial.epochs)}"
            if trial.state != "RUNNING" and self._sent.get(str(number)) != end:
                self._trial(seen, trial)
                self._note(path, str(number), end)
        mark = "" if seen.results is None else str(seen.results.sha256 or "yes")
        if ended and mark and self._sent.get("study") != mark:
            self._study(seen)
            self._note(path, "study", mark)

    @property
    def _place(self) -> str:
        """Names a file: no team's or project's name has a plus in it where a slash would be."""
        return self._project if self._team is None else f"{self._team}+{self._project}"

    def _note(self, path: Path, name: str, end: str) -> None:
        assert self._sent is not None
        self._sent[name] = end
        write_text(path, json.dumps(self._sent, indent=1) + "\n")

    def _trial(self, seen: Seen, trial: SeenTrial) -> None:
        # A trial that was trained again, or longer, is another run: W&B takes no step twice.
        name = f"trial_{trial.number:05d}"
        run = self._run(seen, f"{trial.number}-{trial.attempt}-{len(trial.epochs)}", name, "trial", dict(trial.config))
        for epoch, said in trial.points(seen.rungs).items():
            run.log(dict(said), step=epoch)
        failure = {"failure": trial.reason} if trial.reason else {}
        run.summary.update({**trial.summary, "state": trial.state, **failure})
        run.finish(exit_code=1 if trial.state == "FAIL" else 0)

    def _study(self, seen: Seen) -> None:
        assert seen.results is not None
        run = self._run(seen, f"study-{(seen.results.sha256 or '')[:8]}", seen.name, "study", dict(seen.facts))
        run.summary.update(seen.scores)
        artefact = wandb.Artifact(f"{seen.id}-final", type="model", metadata={"study": seen.name})
        for folder, paths in files_by_folder(seen.artefacts, seen.folder.root).items():
            for path in paths:
                artefact.add_file(str(path), name=f"{folder}/{path.name}" if folder else path.name)
        run.log_artifact(artefact)
        run.finish()

    def _run(self, seen: Seen, mark: str, name: str, kind: str, config: dict[str, Any]) -> Any:
        """A new run, under an id that is the same whenever it is sent."""
        run_id, folder = f"{seen.id}-{mark}", tracking_folder(seen.folder)
        for half in (folder / "wandb").glob(f"offline-run-*-{run_id}"):  # a kill came before it was noted as sent
            shutil.rmtree(half)
        return wandb.init(
            entity=self._team,
            project=self._project,
            group=seen.name,
            job_type=kind,
            id=run_id,
            name=name,
            config=config,
            dir=str(folder),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                save_code=False,
                x_save_requirements=False,
                disable_git=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
            ),
        )
