"""The demo is there to show that hyper-parameters matter: a good configuration must stand out from random ones."""

import numpy as np
import optuna
import pytest

from avtune.core.trial import Trial
from avtune.data import demo
from avtune.data.prepare import for_retraining
from avtune.engine.trainer import embed, train
from avtune.methods import METHODS, hypers_of
from avtune.metrics import retrieval_scores
from avtune.space.files import load

GOOD = {"lr": 6e-3, "w_dis": 0.02, "w_cross": 2.0, "margin": 0.3, "dropout": 0.1}


@pytest.mark.slow
@pytest.mark.long
def test_a_good_configuration_beats_the_median_of_random_ones_by_a_tenth():
    space = load("demo", hypers_of=hypers_of, method_names=METHODS)
    dataset = demo()
    rows, scalers = for_retraining(dataset)
    clips = scalers.apply(dataset.test)

    def test_map(config):
        trained = train(Trial(0, space.method, space.fixed | config, 0, 12), rows, lambda epoch, metrics: True)
        return retrieval_scores(*embed(trained, clips.audio, clips.visual), clips.labels).map

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    random = [test_map(study.ask(space.distributions()).params) for _ in range(5)]
    good = test_map(space.defaults() | GOOD)
    assert good - np.median(random) > 0.10, (good, random)
    assert good < 0.95
