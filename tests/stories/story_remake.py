"""Trains runs of a study again, one at a time, from what the files say decided them: what every number is compared
with. Each run is trained once and remembered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avtune.core.trial import Trial
from avtune.data.dataset import Dataset
from avtune.data.prepare import Prepared, for_retraining, for_search
from avtune.engine.model import Model, untrained
from avtune.engine.trainer import Trained, embed, train
from avtune.metrics import RetrievalScores, retrieval_scores
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.workflows.open_study import horizon_of, open_space

SCORES = ("map", "map_a2v", "map_v2a", "map_running", "map_running_a2v", "map_running_v2a")


class Remake:
    """What the runs of studies of one dataset come to.

    Args:
        dataset: theirs.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._whole, self._scalers = for_retraining(dataset)
        self._folds: dict[str, tuple[Prepared, ...]] = {}
        self._known: dict[str, Any] = {}

    def horizon(self, root: Path, settings: Mapping[str, Any]) -> Horizon:
        """How long the trials of a study train."""
        return horizon_of(open_space(StudyFolder(root)), settings.get("rows", 0))

    def curve(
        self,
        settings: Mapping[str, Any],
        horizon: Horizon,
        config: Mapping[str, Any],
        seed: int,
        epochs: int,
        precision: str,
    ) -> list[float]:
        """Validation MAP of a configuration by epoch."""
        values: list[float] = []

        def made() -> list[float]:
            trial = self._trial(settings, horizon, config, seed, epochs, precision)
            train(trial, self.folds(settings), lambda epoch, metrics: values.append(metrics["val_map"]) or True)
            return values

        key = ["curve", self._key(settings), config, seed, epochs, horizon.schedule(config), precision]
        return self._once(key, made)

    def retrained(
        self,
        settings: Mapping[str, Any],
        horizon: Horizon,
        config: Mapping[str, Any],
        seed: int,
        epochs: int,
        *,
        published: bool = False,
    ) -> Trained:
        """The weights of a configuration trained on the whole training set.

        Args:
            published: the best of the epochs on the test split, instead of the last one.
        """

        def made() -> Trained:
            trial = self._trial(settings, horizon, config, seed, epochs, "fp32")
            data = self._whole
            if published:
                trial = replace(trial, keep_best=True)
                data = replace(data, validation=self._scalers.apply(self.dataset.test))
            return train(trial, data, lambda epoch, metrics: True)

        return self._once(["retrained", config, seed, epochs, horizon.schedule(config), published], made)

    def checkpoint(
        self, settings: Mapping[str, Any], horizon: Horizon, about: Mapping[str, Any], config: Mapping[str, Any], n: int
    ) -> Trained:
        """The weights of a trial after `n` epochs on the search's training rows."""
        trial = self._trial(settings, horizon, config, about["seed"], n, about["precision"])
        key = [
            "checkpoint",
            self._key(settings),
            config,
            about["seed"],
            n,
            horizon.schedule(config),
            about["precision"],
        ]
        return self._once(key, lambda: train(trial, self.folds(settings)[:1], lambda epoch, metrics: True))

    def untrained(self, method: str, config: Mapping[str, Any], seed: int) -> Trained:
        """The weights that a retraining starts from."""
        data = self.dataset
        return untrained(method, config, (data.audio_dim, data.visual_dim, data.num_classes), seed)

    def scores(self, trained: Trained) -> RetrievalScores:
        """Test scores of weights, scaled as a retraining scales."""
        test = self._scalers.apply(self.dataset.test)
        return retrieval_scores(*embed(trained, test.audio, test.visual), test.labels, exact=True)

    def scaled_alike(self, model: Model) -> bool:
        """Whether a model's scalers are those of the whole training set."""
        pairs = ((model.scalers.audio, self._scalers.audio), (model.scalers.visual, self._scalers.visual))
        return all(np.array_equal(a.mean, b.mean) and np.array_equal(a.std, b.std) for a, b in pairs)

    def folds(self, settings: Mapping[str, Any]) -> tuple[Prepared, ...]:
        space, key = settings["space"], self._key(settings)
        if key not in self._folds:
            rows = space["validation"]
            found = for_search(
                self.dataset, fraction=rows.get("fraction"), folds=rows.get("folds"), seed=space["search"]["seed"]
            )
            self._folds[key] = found
        return self._folds[key]

    def _key(self, settings: Mapping[str, Any]) -> str:
        return json.dumps([settings["space"]["validation"], settings["space"]["search"]["seed"]], sort_keys=True)

    def _trial(
        self,
        settings: Mapping[str, Any],
        horizon: Horizon,
        config: Mapping[str, Any],
        seed: int,
        epochs: int,
        precision: str,
    ) -> Trial:
        method = settings["space"]["method"]
        return Trial(0, method, config, seed, epochs, precision, horizon=horizon.schedule(config))

    def _once(self, key: Sequence[Any], made: Any) -> Any:
        name = json.dumps(key, sort_keys=True)
        if name not in self._known:
            self._known[name] = made()
        return self._known[name]


def same_weights(one: Trained, other: Trained, *, exact: bool) -> bool:
    """Whether two runs left the same weights; `exact` to the bit, else as far as the order of sums allows."""
    for mine, theirs in ((one.params, other.params), (one.buffers, other.buffers)):
        if mine.keys() != theirs.keys():
            return False
        for name, value in mine.items():
            there = theirs[name].float()
            if not (torch.equal(value, there) if exact else torch.allclose(value, there, rtol=1e-2, atol=1e-3)):
                return False
    return True
