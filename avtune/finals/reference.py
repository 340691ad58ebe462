"""The reference row: a plain method that nobody tuned, beside the winner.

`final.reference` of a space names it: `classifiers`, two classifiers that know nothing of each other, or `none`. It is
treated like the default configuration: repeated over the seeds of the finals on the validation rows, which say how long
to train, then retrained over the seeds of the retraining and scored on the test split. Its runs are on the run record
like all others, so that none is done twice, and its configuration counts as one more look at the test split. A
reference that fails leaves no row and does not end the search. A study of that very method has none: its default
configuration is that row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from avtune.core.files import using
from avtune.core.hyper import Value
from avtune.core.protocol import VALIDATION
from avtune.core.run_key import run_key, search_basis
from avtune.core.trial import Trial
from avtune.data.dataset import Dataset
from avtune.data.prepare import Prepared
from avtune.finals.looks import count_configuration
from avtune.finals.retraining import retraining
from avtune.finals.run_record import Result
from avtune.finals.scores import over_seeds
from avtune.finals.select import Candidate, Repeated, longer, repeat_trials, repeated, retraining_seed
from avtune.methods import METHODS, get, hypers_of
from avtune.metrics import RetrievalScores
from avtune.space.files import load
from avtune.space.settings import AUTO, EarlyStopping
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon

NONE = "none"
Do = Callable[[str, Sequence[Trial], Prepared | None], list[Result]]
"""Takes what the runs are called, the runs, and the rows of a retraining (None: those of the search); gives their
results in the same order."""


@dataclass(frozen=True)
class Reference:
    """A scored reference.

    Attributes:
        method: its name.
        epochs: that it was retrained for.
        scores: on the test split, of each seed.
    """

    method: str
    epochs: int
    scores: Sequence[RetrievalScores]


def untuned(space: Space) -> Space:
    """The space with nothing to search: its default configuration."""
    defaults, hypers = space.complete(space.defaults()), hypers_of(space.method)
    off = {name for name, hyper in hypers.items() if hyper.extra and defaults.get(name) == hyper.default}
    fixed = {name: defaults[name] for name in hypers if name in defaults and name not in off}
    return replace(space, axes=(), fixed=fixed, constraints=())


def reference_space(name: str, space: Space) -> Space:
    """The space of a reference, with the settings of a study's and nothing to search: its method's default
    configuration, as a bench has it."""
    usual = load(name, hypers_of=hypers_of, method_names=METHODS, bench=True)
    return replace(
        untuned(usual),
        search=space.search,
        early_stopping=_stopping(space),
        validation=space.validation,
        final=space.final,
    )


def _stopping(space: Space) -> EarlyStopping:
    """A study's, where its epochs say something of another method: those of a training function, or of a method that is
    solved at once, do not."""
    method = METHODS.get(space.method)
    steps = method is not None and any(hyper.name == "batch_size" for hyper in method.hypers)
    return space.early_stopping if steps else EarlyStopping(epochs=AUTO)


def reference_horizon(horizon: Horizon) -> Horizon | None:
    """How the reference of a study is trained; None where it has none: the setting says so, it is the study's own
    method, or an old study did not record its training rows.

    Args:
        horizon: of the study.
    """
    name = horizon.space.final.reference
    if name in (NONE, horizon.space.method):
        return None
    space = reference_space(name, horizon.space)
    if not horizon.rows and space.early_stopping.open:
        return None
    return Horizon(space, horizon.rows, get(name).lays_out)


def repeat_reference(
    horizon: Horizon,
    dataset: Dataset,
    precision: str,
    do: Callable[[Sequence[Trial]], list[Result]],
    *,
    older: bool = False,
) -> Repeated:
    """The reference over the seeds of the finals, on the validation rows.

    Args:
        horizon: of the reference.
        dataset: of the study.
        precision: of the study's search.
        do: gives the results of runs.
        older: by the names that these runs had before a given validation split, and equal rows that stay on one side,
            had a part in them.
    """
    space = horizon.space.of_finals()
    validation = space.validation
    decides = space.decides[len(validation.more) :] if older else space.decides
    basis = search_basis(dataset.digest, validation.fraction, validation.folds, space.search.seed, "", *decides)
    chosen = [Candidate(None, space.defaults())]
    trials = repeat_trials(chosen, horizon, precision, basis)
    results = do(trials)
    further = longer(trials, results, len(trials))
    return repeated(chosen, results if further == trials else do(further))[0]


def score_reference(
    folder: StudyFolder, study_horizon: Horizon, dataset: Dataset, precision: str, protocol: str, do: Do
) -> Reference | None:
    """Repeats, retrains and scores the reference of a study.

    Args:
        folder: of the study.
        study_horizon: of the study.
        dataset: of the study.
        precision: of the study's search.
        protocol: of the retraining, see `core.protocol`.
        do: does the runs that are not on record.

    Returns:
        None where the study has no reference, or a run of it failed, which `log.txt` then says.
    """
    horizon = reference_horizon(study_horizon)
    if horizon is None:
        return None
    name, space = horizon.space.method, horizon.space
    row = repeat_reference(horizon, dataset, precision, lambda trials: do(f"reference {name}", trials, None))
    if row.failure is not None:
        _note(folder, name, row.failure)
        return None
    way = retraining(horizon, dataset, protocol)
    config: dict[str, Value] = space.defaults()
    seeds = [retraining_seed(space, index) for index in range(space.final.seeds)]
    with using(folder.seeds):
        folder.final.mkdir(exist_ok=True)
        folder.seeds.mkdir(exist_ok=True)
    runs = [way.trial(config, seed, row.epoch, len(row.curve)) for seed in seeds]
    runs = [replace(run, save_to=str((folder.seeds / f"{run_key(run)}.safetensors").absolute())) for run in runs]
    results = do(f"reference {name}, {way.stage}", runs, way.data)
    failure = next((result.failure for result in results if result.failure is not None), None)
    if failure is not None:
        _note(folder, name, failure)
        return None
    how = [row.epoch, name] if protocol == VALIDATION else [row.epoch, protocol, name]
    count_configuration(folder, None, config, how, seeds)
    scores = [way.scores(run, result.curve) for run, result in zip(runs, results, strict=True)]
    return Reference(name, runs[0].epochs, scores)


def reference_facts(reference: Reference, seed: int) -> dict[str, Any]:
    """What `Results` says of a reference.

    Args:
        seed: of the bootstrap.
    """
    scores = over_seeds(reference.scores, seed, reference.epochs)
    return {"reference": scores, "reference_method": reference.method}


def _note(folder: StudyFolder, name: str, failure: str) -> None:
    folder.note(f"the reference {name} has no row: {failure}", "WARNING")
