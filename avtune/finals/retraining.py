"""How a configuration is trained for good and scored on the test split: a method's, or a user's training function's."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors.numpy import load

from avtune.core.errors import UserError
from avtune.core.files import write_bytes
from avtune.core.hyper import Value
from avtune.core.objective import objective
from avtune.core.protocol import PUBLISHED, SELECTED_ON_TEST, VALIDATION
from avtune.core.run_files import is_left_by
from avtune.core.run_key import retraining_basis, training_key
from avtune.core.trial import Trial
from avtune.data.dataset import Dataset
from avtune.data.prepare import Prepared, for_retraining
from avtune.engine import user_code
from avtune.engine.model import EMBEDDINGS, Model, load_weights, untrained
from avtune.finals.run_record import Curve
from avtune.finals.scores import score
from avtune.metrics import RetrievalScores, retrieval_scores
from avtune.study.horizon import Horizon


class Retraining(Protocol):
    """How a configuration is trained for good and scored: a method's, one under the protocol `published`, or a training
    function's.

    Attributes:
        stage: what the progress calls the runs.
        precision: of the training.
        data: what they train on.
        about: further facts for the models that are left, see `Model`.
    """

    stage: str
    precision: str
    data: Prepared
    about: Mapping[str, str]

    def trial(self, config: Mapping[str, Value], seed: int, epochs: int, trained: int) -> Trial:
        """A run.

        Args:
            config: the hyper-parameters, complete.
            seed: of the run.
            epochs: that validation says are best.
            trained: epochs that the validation curve had.
        """

    def best_epoch(self, trial: Trial, curve: Curve) -> int:
        """After how many epochs the run's model is taken."""

    def scores(self, trial: Trial, curve: Curve) -> RetrievalScores:
        """The test scores of a finished run."""

    def embeddings(self, trial: Trial, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
        """The embeddings of the test clips by a finished run, audio and visual, each [N, D]."""

    def untrained(self, config: Mapping[str, Value], seed: int) -> RetrievalScores | None:
        """The test scores of a model before training; None where there is no model."""

    def save(self, trial: Trial, curve: Curve, folder: Path) -> None:
        """Writes the model, or the embeddings of a training function, into a folder."""


def retraining(horizon: Horizon, dataset: Dataset, protocol: str) -> Retraining:
    """How the configurations of a horizon's space are retrained."""
    if user_code.function(horizon.space.method) is not None:
        assert protocol != PUBLISHED, "refused before the search"
        return _OfFunction(horizon, dataset)
    return (_Published if protocol == PUBLISHED else _OfMethod)(horizon, dataset)


def _basis(horizon: Horizon, dataset: Dataset, protocol: str) -> str:
    return retraining_basis(dataset.digest, protocol, user_code.code_of(horizon.space.method))


def _trial(horizon: Horizon, basis: str, config: Mapping[str, Value], seed: int, epochs: int) -> Trial:
    return Trial(0, horizon.space.method, config, seed, epochs, horizon=horizon.schedule(config), basis=basis)


class _OfMethod:
    """A method: the weights are saved, and scored here."""

    stage = "retraining"
    precision = "fp32"
    about: Mapping[str, str] = {}
    _protocol = VALIDATION

    def __init__(self, horizon: Horizon, dataset: Dataset) -> None:
        self._horizon = horizon
        self._method = horizon.space.method
        self._dataset = dataset
        self._basis = _basis(horizon, dataset, self._protocol)
        self._objective = objective(horizon.space.search.objective, dataset.views)
        self.data, self._scalers = for_retraining(dataset)
        self._dims = (dataset.audio_dim, dataset.visual_dim, dataset.num_classes)

    def trial(self, config: Mapping[str, Value], seed: int, epochs: int, trained: int) -> Trial:
        return _trial(self._horizon, self._basis, config, seed, epochs)

    def best_epoch(self, trial: Trial, curve: Curve) -> int:
        return trial.epochs

    def scores(self, trial: Trial, curve: Curve) -> RetrievalScores:
        return score(self._model(trial, curve), self._dataset.test, self._objective)

    def embeddings(self, trial: Trial, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
        return self._model(trial, curve).embed(self._dataset.test.audio, self._dataset.test.visual)

    def untrained(self, config: Mapping[str, Value], seed: int) -> RetrievalScores | None:
        fresh = untrained(self._method, config, self._dims, seed)
        model = Model(
            self._method, config, fresh, self._scalers, self._dataset.class_names, {}, views=self._dataset.views
        )
        return score(model, self._dataset.test, self._objective)

    def save(self, trial: Trial, curve: Curve, folder: Path) -> None:
        self._model(trial, curve).save(folder)

    def _model(self, trial: Trial, curve: Curve) -> Model:
        assert trial.save_to is not None
        trained = load_weights(Path(trial.save_to), trial, self._dims)
        about = {"dataset": self._dataset.name, "seed": trial.seed, "run": training_key(trial), **self.about}
        return Model(
            trial.method,
            trial.config,
            trained,
            self._scalers,
            self._dataset.class_names,
            about,
            views=self._dataset.views,
        )


class _Published(_OfMethod):
    """The test split takes the place of validation rows; each run keeps the weights of its best epoch on it."""

    stage = f"retraining, {SELECTED_ON_TEST}"
    about: Mapping[str, str] = {"epoch": SELECTED_ON_TEST}
    _protocol = PUBLISHED

    def __init__(self, horizon: Horizon, dataset: Dataset) -> None:
        super().__init__(horizon, dataset)
        self.data = replace(self.data, validation=self._scalers.apply(dataset.test))

    def trial(self, config: Mapping[str, Value], seed: int, epochs: int, trained: int) -> Trial:
        return replace(super().trial(config, seed, trained, trained), keep_best=True)

    def best_epoch(self, trial: Trial, curve: Curve) -> int:
        return max(curve, key=lambda epoch: (curve[epoch], -epoch))


class _OfFunction:
    """A training function: it keeps its model to itself and leaves embeddings of the test features, whose labels it
    never sees."""

    stage = "retraining"
    precision = "as the function has it"
    about: Mapping[str, str] = {}

    def __init__(self, horizon: Horizon, dataset: Dataset) -> None:
        self._horizon = horizon
        self._labels = dataset.test.labels
        self._basis = _basis(horizon, dataset, VALIDATION)
        self._objective = objective(horizon.space.search.objective, dataset.views)
        data, scalers = for_retraining(dataset)
        test = scalers.apply(dataset.test)
        self.data = replace(data, unlabelled=(test.audio, test.visual))

    def trial(self, config: Mapping[str, Value], seed: int, epochs: int, trained: int) -> Trial:
        return _trial(self._horizon, self._basis, config, seed, epochs)

    def best_epoch(self, trial: Trial, curve: Curve) -> int:
        return trial.epochs

    def scores(self, trial: Trial, curve: Curve) -> RetrievalScores:
        return retrieval_scores(*_embeddings(trial), self._labels, exact=True, objective=self._objective)

    def embeddings(self, trial: Trial, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
        return _embeddings(trial)

    def untrained(self, config: Mapping[str, Value], seed: int) -> RetrievalScores | None:
        return None

    def save(self, trial: Trial, curve: Curve, folder: Path) -> None:
        audio, visual = _embeddings(trial)
        out = io.BytesIO()
        run = np.array(training_key(trial))
        np.savez(out, allow_pickle=False, audio=audio, visual=visual, labels=self._labels, run=run)
        write_bytes(folder / EMBEDDINGS, out.getvalue())


def _embeddings(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    assert trial.save_to is not None
    path = Path(trial.save_to)
    if not is_left_by(path, trial):
        raise UserError(f"{path} was not left by this training run; delete it, and the run is done again")
    tensors = load(path.read_bytes())
    return tensors["audio"], tensors["visual"]
