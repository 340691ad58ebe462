"""How long trials train and where they are compared: numbers of epochs, and the open horizon in steps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper
from avtune.space.parse import parse
from avtune.study.horizon import GRACE_STEPS, PATIENCE_STEPS, Horizon

HYPERS = {
    "x": Hyper("x", "float", 0.5, 0.0, 1.0),
    "batch_size": Hyper("batch_size", "int", 256, 8, 65536, static=True),
}


def space_of(stopping, batch="256", hypers=HYPERS):
    taken = f", batch_size: {batch}" if batch else ""
    return parse(
        f"method: toy\nspace: {{x: {{type: float, low: 0.0, high: 1.0}}{taken}}}\nearly_stopping: {stopping}",
        file="toy.yaml",
        hypers_of=lambda name: hypers,
        method_names=["toy"],
    )


def test_a_number_of_epochs_means_what_it_says_for_every_trial():
    horizon = Horizon(space_of("{epochs: 27, grace: 3, factor: 3}"))
    for batch in (8, 256, 65536):
        config = {"x": 0.1, "batch_size": batch}
        assert (horizon.epochs(config), horizon.rungs(config)) == (27, (3, 9))
        assert (horizon.schedule(config), horizon.patience(config), horizon.least(config)) == (27, 0, 0)


@pytest.mark.parametrize(
    ("rows", "batch", "rungs", "epochs", "patience", "schedule"),
    [
        (924, 256, (5, 15, 45, 135, 405), 667, 27, 45),  # 1,155 clips: 3 steps an epoch
        (1330, 256, (3, 9, 27, 81, 243), 400, 16, 27),  # AVE's size: 5
        (17985, 256, (3, 9, 27), 29, 3, 27),  # VEGAS's size: 70
        (200_000, 256, (3, 9), 27, 3, 27),
    ],
)
def test_an_open_horizon_counts_steps(rows, batch, rungs, epochs, patience, schedule):
    horizon = Horizon(space_of("{epochs: auto, grace: 3, factor: 3}"), rows)
    config = {"x": 0.1, "batch_size": batch}
    assert (horizon.rungs(config), horizon.epochs(config)) == (rungs, epochs)
    assert (horizon.patience(config), horizon.schedule(config)) == (patience, schedule)


def test_the_steps_are_those_of_the_space():
    horizon = Horizon(space_of("{epochs: auto, grace: 3, factor: 3, steps: 300}"), 1330)
    assert horizon.epochs({"batch_size": 256}) == 60


@settings(deadline=None)
@given(
    st.integers(16, 100_000),
    st.integers(8, 4096),
    st.integers(8, 4096),
    st.integers(1, 9),
    st.integers(2, 5),
)
def test_rungs_ascend_and_lie_as_many_steps_from_the_start_for_every_batch_size(rows, usual, batch, grace, factor):
    horizon = Horizon(space_of(f"{{epochs: auto, grace: {grace}, factor: {factor}}}", batch=str(usual)), rows)
    config = {"batch_size": batch}
    rungs, steps = horizon.rungs(config), horizon.steps(config)
    assert list(rungs) == sorted(set(rungs))
    assert all(0 < rung < horizon.epochs(config) for rung in rungs)
    assert horizon.patience(config) * steps >= PATIENCE_STEPS
    first = max(GRACE_STEPS, grace * horizon.steps({"batch_size": usual}))
    for place, rung in enumerate(rungs):
        assert rung * steps >= first * factor**place
        assert rung == 1 or (rung - 1) * steps < first * factor**place or rung == rungs[place - 1] + 1


def test_a_method_that_takes_no_steps_has_one_epoch():
    hypers = {"x": HYPERS["x"]}
    horizon = Horizon(space_of("{epochs: auto}", batch="", hypers=hypers), 1000)
    assert (horizon.epochs({"x": 1.0}), horizon.rungs({"x": 1.0}), horizon.patience({"x": 1.0})) == (1, (), 0)


def test_a_schedule_is_gone_through_before_a_trial_can_be_flat():
    horizon = Horizon(space_of("{epochs: auto}"), 1330, lambda config: True)
    assert horizon.least({"batch_size": 256}) == 27
    assert Horizon(space_of("{epochs: auto}"), 1330).least({"batch_size": 256}) == 0


def test_a_space_without_early_stopping_has_an_open_horizon():
    space = parse("method: toy", file="toy.yaml", hypers_of=lambda name: HYPERS, method_names=["toy"])
    assert space.early_stopping.open
    assert space.as_dict()["early_stopping"] == {"epochs": "auto", "grace": 3, "factor": 3, "steps": 2000}


@pytest.mark.parametrize(
    ("stopping", "words"),
    [
        ("{epochs: aut}", "allowed: auto, or a whole number from 1 to 100000; did you mean 'auto'?"),
        ("{epochs: 27, steps: 100}", "early_stopping.steps goes with epochs: auto"),
        ("{epochs: auto, schedule: 27}", "early_stopping.schedule goes with a number of epochs"),
        ("{epochs: 0}", "early_stopping.epochs is 0"),
    ],
)
def test_settings_of_the_other_kind_are_refused(stopping, words):
    with pytest.raises(UserError) as error:
        space_of(stopping)
    assert words in str(error.value)


@pytest.mark.parametrize("text", ["", "early_stopping:", "early_stopping: {grace: 2}"])
def test_a_training_function_has_a_number_of_epochs(text):
    space = parse(f"method: f\n{text}", file="f.yaml", hypers_of=lambda name: None, method_names=["f"])
    assert space.early_stopping.epochs == 81
    with pytest.raises(UserError, match="a training function takes a number"):
        parse(
            "method: f\nearly_stopping: {epochs: auto}",
            file="f.yaml",
            hypers_of=lambda name: None,
            method_names=["f"],
        )


def test_another_number_of_epochs_takes_the_place_of_the_steps():
    text = "method: toy\nearly_stopping: {epochs: auto, steps: 300}"

    def parsed(*overrides):
        return parse(
            text, file="t.yaml", hypers_of=lambda name: HYPERS, method_names=["toy"], overrides=overrides
        ).early_stopping

    assert parsed("early_stopping.epochs=9").epochs == 9
    assert parsed("early_stopping.epochs=9", "early_stopping.epochs=auto").steps == 2000
    assert parsed("early_stopping.epochs=auto").steps == 300
