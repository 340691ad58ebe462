"""Repeats the finalists of a search over fresh seeds: each over all seeds (`full`), or only those that may still win
(`race`, see `finals.race`).

The default configuration races like any other, also where it was no trial and is a reference only. Where it is close to
the winner it has all seeds. Where it is not, its epoch is chosen over fewer, which costs it a small part of the
difference (`benchmarks/finals_race.py`); the results say over how many. On the test split winner and default are
compared over all seeds either way: both are retrained with each.

Nothing is remembered but the runs: who is dropped follows from their values, so that a study that is continued, or
verified, makes the same decisions again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from avtune.core.errors import UserError
from avtune.core.patience import is_flat
from avtune.core.run_key import run_key
from avtune.core.trial import Trial
from avtune.finals.race import cannot_win, rounds
from avtune.finals.run_record import Result
from avtune.finals.select import Candidate, Do, Repeated, candidates, longer, repeat_trials, repeated_one
from avtune.study.study import Study


def finalists(study: Study, known: Collection[str], do: Do) -> list[Repeated]:
    """The best configurations of a search over seeds, as `candidates` names them.

    Args:
        study: with a trial that did not fail.
        known: the keys of the runs on record that did not fail.
        do: does the runs that are not on record. No run is given to it twice.

    Raises:
        UserError: the record is damaged.
    """
    final = study.space.final
    first = rounds(final.seeds)[0] if final.races else final.seeds

    def runs(one: Candidate) -> list[Trial]:
        return repeat_trials([one], study.horizon, study.precision, study.finals_basis)

    def repeated_before(one: Candidate) -> bool:
        return all(run_key(run) in known for run in runs(one)[:first])

    entrants = [Entrant(one, runs(one)) for one in candidates(study.ranking(), study.space, repeated_before)]
    seeds = Seeds(do, f"{study.folder.repeats} is damaged: a finalist has no curve; restore it from a copy")
    if final.races:
        race(entrants, seeds)
    else:
        seeds.give(entrants, final.seeds)
    return [one.repeated() for one in entrants]


@dataclass(eq=False)
class Entrant:
    """A finalist and its runs.

    Attributes:
        candidate: the configuration.
        runs: over all seeds, as they would be without a race.
        done: those that count, by seed: of `runs`, or what has replaced them.
        results: theirs.
        is_out: it cannot win any more.
    """

    candidate: Candidate
    runs: Sequence[Trial]
    done: list[Trial] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    is_out: bool = False

    @property
    def failed(self) -> bool:
        return any(result.failure is not None for result in self.results)

    @property
    def races(self) -> bool:
        """Whether it is given further seeds."""
        return not self.failed and not self.is_out

    def name(self, index: int) -> str:
        """Of the run with that seed."""
        return f"finalist_{self.candidate.called}_seed_{index}"

    def further(self, seeds: int) -> list[Trial]:
        """The runs that are missing to so many seeds. With an open horizon, where a run ends by its own curve, those
        that follow train until the mean curve of those before has peaked."""
        missing = self.runs[len(self.done) : seeds]
        if not self.results or not self.runs[0].patience:
            return list(missing)
        epochs = settled_after(list(self.repeated().curve.values()), self.runs[0])
        return [replace(run, epochs=epochs, horizon=run.horizon or run.epochs, patience=0, least=0) for run in missing]

    def repeated(self) -> Repeated:
        """Its summary, over the seeds that it has."""
        return replace(repeated_one(self.candidate, self.results), dropped=self.is_out)


def settled_after(curve: Sequence[float], run: Trial) -> int:
    """After how many epochs a mean curve has peaked: where it is flat, but neither before its best epoch nor before the
    schedules of the runs have ended; all its epochs where it is flat nowhere.

    Args:
        curve: mean validation MAP by epoch, from the first.
        run: one of those that it is the mean of, with an open horizon.
    """
    least = max(int(np.argmax(curve)) + 1, run.least)
    ends = (epoch for epoch in range(least, len(curve)) if is_flat(curve[:epoch], run.patience))
    return next(ends, len(curve))


@dataclass
class Seeds:
    """Gives seeds to finalists.

    Attributes:
        do: does runs.
        damaged: what to say where a run has neither a curve nor a failure.
    """

    do: Do
    damaged: str

    def give(self, entrants: Sequence[Entrant], seeds: int) -> None:
        """Runs finalists over so many seeds in all. Where the mean curve of one still rises at its end, its seeds train
        as long as the longest one did."""
        fresh = [(one, runs) for one in entrants if (runs := one.further(seeds))]
        names = [one.name(len(one.done) + at) for one, runs in fresh for at in range(len(runs))]
        stage = _stage(min((len(one.done) for one, _ in fresh), default=0), seeds)
        results = iter(self._done(stage, names, [run for _, runs in fresh for run in runs]))
        for one, runs in fresh:
            one.done += runs
            one.results += [next(results) for _ in runs]
        self._lengthen([one for one, _ in fresh])

    def _lengthen(self, entrants: Sequence[Entrant]) -> None:
        """Does the runs again that are too short for their finalist's mean curve."""
        again = []
        for one in entrants:
            runs = list(one.runs[: len(one.done)])
            for place, run in enumerate(longer(runs, one.results, len(runs))):
                if run not in (runs[place], one.done[place]):
                    again.append((one, place, run))
        names = [one.name(place) for one, place, _ in again]
        results = self._done("finalists whose curves still rise", names, [run for _, _, run in again])
        for (one, place, run), result in zip(again, results, strict=True):
            one.done[place], one.results[place] = run, result

    def _done(self, stage: str, names: Sequence[str], runs: Sequence[Trial]) -> list[Result]:
        results = self.do(stage, names, runs) if runs else []
        if any(not result.curve and result.failure is None for result in results):
            raise UserError(self.damaged)
        return results


def _stage(done: int, seeds: int) -> str:
    if not done:
        return "finalists"
    return f"finalists, seed {seeds}" if done + 1 == seeds else f"finalists, seeds {done + 1} to {seeds}"


def race(entrants: Sequence[Entrant], seeds: Seeds) -> None:
    """Gives seeds to those that may still win, round by round."""
    total = len(entrants[0].runs)
    for after in rounds(total):
        racing = [one for one in entrants if one.races]
        count = after if len(racing) > 1 else total  # one is left, or there never were two
        seeds.give(racing, count)
        while any(one.failed for one in racing):  # it may have been what others were dropped for
            for one in entrants:
                one.is_out = False
            racing = [one for one in entrants if one.races]
            seeds.give(racing, count)
        if count == total:
            return
        values = {one: one.repeated().values for one in entrants if not one.failed}
        leading = [one for one in racing if one.candidate.number is not None]
        for one in cannot_win(values, racing, total, leading=leading, compared=len(entrants)):
            one.is_out = True
