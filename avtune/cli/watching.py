"""A study seen from another process, as the table of a search shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from avtune.cli.pace import FINALISTS, RETRAINING, Rate, StageClock
from avtune.cli.search_table import RunningTrial, SearchView
from avtune.core.hyper import Value
from avtune.core.objective import label
from avtune.core.protocol import PUBLISHED, VALIDATION
from avtune.core.tail import Tail
from avtune.runners.placement_text import Places, places_of
from avtune.study.best import read_best
from avtune.study.folder import StudyFolder
from avtune.study.summary import Summary, failure_of_all, summary
from avtune.study.time_left import TimeLeft, finals_cost, finals_left, time_left
from avtune.study.watch import StudyWatch, with_defaults

if TYPE_CHECKING:
    from avtune.finals.select import Candidate


class Watching:
    """Looks at a study again and again, without touching it.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._watch = StudyWatch(folder, defaults_of)
        self._runs = Tail(folder.repeats)
        self._curves: dict[str, bool] = {}  # of the runs of the finals on record, in order: whether they have a curve
        self._rate = Rate()
        self._epochs: int | None = None
        self._clock = StageClock()
        self._finalists: set[str] | None = None

    def view(self) -> SearchView:
        """What its files say now.

        Raises:
            UserError: one is damaged.
        """
        folder, watch = self._folder, self._watch
        watch.look()
        for line in self._runs.take():
            self._curves.pop(str(line.get("run")), None)
            self._curves[str(line.get("run"))] = bool(line.get("curve"))
        settings, alive = watch.settings, folder.search_owner() is not None
        trials = watch.trials
        done = summary(watch.records, trials, watch.horizon)
        if self._epochs is not None and done.epochs > self._epochs:
            self._rate.add(done.epochs - self._epochs)
        self._epochs = done.epochs
        places = places_of(f"runner {settings.get('runner')}: {settings.get('placement')}")
        over = done.ended >= trials and not folder.metrics.is_file()
        if over and alive:
            self._set_stage(done)
        return SearchView(
            title=f"{folder.root.name}: {watch.space.method} on {settings['dataset']['name']}",
            axes=[axis.name for axis in watch.space.axes],
            done=done,
            running=[RunningTrial.of(record) for record in done.running],
            places=places,
            alive=alive,
            rate=None if self._clock.stage is not None else self._rate.value,
            left=self._left(done, places) if alive else None,
            stage=self._clock.stage,
            asked=watch.space.search.trials,
            value_name=label(watch.space.search.objective),
        )

    @property
    def failure(self) -> str | None:
        """As it was when last looked at: why the first trial failed, where all have ended and none counts."""
        return failure_of_all(self._watch.records, self._watch.trials)

    def _left(self, done: Summary, places: Places | None) -> TimeLeft | None:
        watch = self._watch
        protocol = str(watch.settings.get("protocol", VALIDATION))
        if watch.horizon is None or places is None:
            return None
        if self._clock.stage is None:
            return time_left(
                done,
                watch.records,
                watch.horizon,
                processes=places.processes,
                rate=self._rate.value,
                protocol=protocol,
            )
        left = finals_left(
            finals_cost(done, watch.records, watch.space, protocol),
            self._clock.left(places.at_a_time),
            None,  # nobody knows here when the stage began
            retraining=self._clock.stage.name == RETRAINING,
            processes=places.processes,
        )
        return TimeLeft(0.0, left)

    def _set_stage(self, done: Summary) -> None:
        """Which runs of the finals are done now, whose search is over."""
        folder, watch = self._folder, self._watch
        runs = list(self._curves)
        if self._finalists is None:
            self._finalists = self._finalist_keys()
        keys = self._finalists
        known = [place for place, run in enumerate(runs) if run in keys]
        chosen = folder.best_yaml.is_file() and folder.best_yaml.stat().st_mtime >= folder.curves.stat().st_mtime
        if not chosen and len(known) < len(keys):
            races = watch.space.final.races  # what is dropped is not known here
            self._clock.set(FINALISTS, len(known), None if races else len(keys))
            return
        after = runs[known[-1] + 1 :] if known else runs
        if not chosen and keys:
            self._clock.set("finalists whose curves still rise", len(after), None)
        elif not chosen:
            self._clock.set(FINALISTS, len(runs), None)
        else:
            self._clock.set(RETRAINING, *self._retrained(after))

    def _retrained(self, after: Sequence[str]) -> tuple[int, int]:
        """How many retrainings are done, and how many there are: of the winner, and of the default configuration where
        it is another one and has a row.

        Args:
            after: the runs that came after those of the finalists.
        """
        best = read_best(self._folder)
        winner = next((row for row in best.finalists if row.trial == best.trial), None) if best is not None else None
        final = self._watch.space.final
        rows = 2 if final.default and not (winner is not None and winner.is_default) else 1
        published = self._watch.settings.get("protocol") == PUBLISHED  # else a retraining has no curve
        done = [run for run in after if published or not self._curves[run]]
        return len(done), rows * final.seeds

    def _finalist_keys(self) -> set[str]:
        """Names of the runs of the finalists over seeds; none for a method of the user's own, whose default
        configuration is not known here."""
        from avtune.core.run_key import run_key, search_basis
        from avtune.finals.select import candidates, repeat_trials
        from avtune.methods import METHODS
        from avtune.study.horizon import Horizon

        watch = self._watch
        settings, method = watch.settings, METHODS.get(watch.space.method)
        defaults = defaults_of(watch.space.method)
        if method is None or defaults is None:
            return set()
        space = with_defaults(watch.space, defaults)
        horizon = Horizon(space, int(settings.get("rows", 0)), method.lays_out)
        of_finals, digest = space.of_finals(), settings["dataset"]["digest"]
        how = of_finals.validation
        basis = search_basis(digest, how.fraction, how.folds, space.search.seed, "", *of_finals.decides)
        ended = [record for record in watch.records if record.state != "FAIL" and record.values]
        ranking = sorted(ended, key=lambda record: (-(record.best_value or 0.0), record.number))

        def keys(of: Sequence[Candidate]) -> list[str]:
            return [run_key(run) for run in repeat_trials(of, horizon, str(settings["precision"]), basis)]

        chosen = candidates(ranking, space, lambda one: all(key in self._curves for key in keys([one])))
        return set(keys(chosen))


def defaults_of(method: str) -> Mapping[str, Value] | None:
    """The default configuration of a method of avtune's; None for one of the user's own, whose code is not imported
    here."""
    if ":" in method:
        return None
    from avtune.methods import METHODS, defaults

    found = METHODS.get(method)
    return None if found is None else defaults(found)
