"""A retraining that ends early goes through the schedules of the search's trials, in every way that it is run."""

from dataclasses import replace

import numpy as np
import pytest
from toy import toy_dataset

from avtune.core.protocol import VALIDATION
from avtune.engine import user_code
from avtune.engine.engine import Engine
from avtune.engine.function_trainer import train_function
from avtune.engine.messages import Orders
from avtune.engine.trainer import train
from avtune.finals.retraining import retraining
from avtune.finals.run_record import RunRecord
from avtune.methods import METHODS, check_config, get, hypers_of
from avtune.space.parse import parse
from avtune.study.horizon import Horizon

# The second stage begins after 3 of 6 epochs, but after 1.5 of 3.
TEXT = """
method: two_stage
space: {margin: {type: float, low: 0.1, high: 1.0}, stage_share: 0.5, hidden_dim: 8, embedding_dim: 4, batch_size: 16}
early_stopping: {epochs: 6, grace: 1, factor: 2}
"""


@pytest.fixture
def early(tmp_path):
    """(data, a retraining for 3 of 6 epochs, all of them in the first stage)."""
    space = parse(TEXT, file="s.yaml", hypers_of=hypers_of, method_names=METHODS)
    config = check_config(get("two_stage"), space.defaults() | space.fixed)
    how = retraining(Horizon(space), toy_dataset(), VALIDATION)
    return how.data, replace(how.trial(config, 1, 3, 6), save_to=str(tmp_path / "weights"))


def test_the_trainer_and_a_lane_keep_to_it(early):
    data, trial = early
    stages = []
    trained = train(trial, data, lambda epoch, metrics: stages.append(metrics["stage"]) or True)
    assert stages == [1, 1, 1]
    saved = {}
    engine = Engine([data], capacity=1, device="cpu", save=lambda one, params, buffers, epochs: saved.update(params))
    message = engine.step(Orders([], [trial], False))
    while not message.ends:
        message = engine.step(Orders([], [], False))
    assert message.ends == [(0, None, "")]
    for name, value in trained.params.items():
        np.testing.assert_allclose(saved[name], value, atol=1e-6)


def test_a_training_function_may_count_on_all_epochs_and_is_told_to_stop(tmp_path, monkeypatch):
    seen = []

    def function(config, data, report):
        seen.append(data.epochs)
        for epoch in range(1, data.epochs + 1):
            seen.append(epoch)
            if not report(epoch, data.scores(embed)):
                break
        return embed

    def embed(audio, visual):
        return audio[:, :4], visual[:, :4]

    space = parse(TEXT, file="s.yaml", hypers_of=hypers_of, method_names=METHODS)
    monkeypatch.setattr(user_code, "function", lambda name: function)
    how = retraining(Horizon(space), toy_dataset(), VALIDATION)
    trial = how.trial({}, 1, 3, 6)
    left = train_function(function, trial, how.data, lambda epoch, metrics: True, device="cpu")
    assert seen == [6, 1, 2, 3]
    assert left is not None
    assert [len(view) for view in left] == [24, 24]


def test_a_run_on_record_of_another_horizon_is_another_run(early, tmp_path):
    def runs(one):
        return RunRecord(tmp_path / "repeats.jsonl", [one], on_done=lambda done, of: None, note=lambda text: None)

    trial = replace(early[1], save_to=None)
    runs(trial).tell(0, "failed")
    assert runs(trial).exhausted
    assert not runs(replace(trial, horizon=0)).exhausted
