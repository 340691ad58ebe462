"""What the sampler sees: everything while that is little, then a bounded part that is the same after reopening."""

import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from avtune.core.hyper import Hyper
from avtune.space.parse import parse
from avtune.study import window
from avtune.study.grid import grid_size, values_of
from avtune.study.optuna_private import good_trials
from avtune.study.sampler import Sampler
from avtune.study.window import Window

SEEN, BEST = 12, 4
RESULTS = st.lists(
    st.tuples(
        st.sampled_from(["COMPLETE", "PRUNED", "FAIL", "RUNNING"]), st.integers(0, 9), st.sampled_from([1, 3, 9])
    ),
    min_size=1,
    max_size=40,
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(window, "SEEN", SEEN)
    monkeypatch.setattr(window, "BEST", BEST)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def frozen(state, value, epoch):
    """A trial as a journal gives it back."""
    return optuna.trial.create_trial(
        state=TrialState[state],
        value=float(value) if state in ("COMPLETE", "PRUNED") else None,
        intermediate_values={epoch: float(value)} if state != "RUNNING" else {},
    )


def opened(results):
    """A window on a study that has ended as given."""
    made = Window()
    optuna.create_study(storage=made, direction="maximize")
    for result in results:
        made.create_new_trial(0, frozen(*result))
    return made


def lived(results, order):
    """The same, trial by trial, with ends in that order."""
    made = Window()
    study = optuna.create_study(storage=made, direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in results:
        study.ask()
    for number in order:
        state, value, epoch = results[number]
        if state != "RUNNING":
            made.set_trial_intermediate_value(number, epoch, float(value))
            values = None if state == "FAIL" else [float(value)]
            made.set_trial_state_values(number, TrialState[state], values)
    return made


def goodness(results, number):
    """TPE's order: complete trials first, by value; then stopped ones, later ones first, by value; lowest number."""
    state, value, epoch = results[number]
    return (state == "COMPLETE", 0 if state == "COMPLETE" else epoch, value, -number)


@settings(deadline=None, max_examples=100)
@given(RESULTS)
def test_sees_all_then_the_best_and_the_most_recent(results):
    ended = [number for number, result in enumerate(results) if result[0] in ("COMPLETE", "PRUNED")]
    running = [number for number, result in enumerate(results) if result[0] == "RUNNING"]
    best = sorted(ended, key=lambda number: goodness(results, number), reverse=True)[:BEST]
    recent = [number for number in ended if number not in best][-(SEEN - len(best)) :]
    wanted = ended if len(ended) <= SEEN else best + recent
    assert opened(results).seen() == sorted(wanted + running)


@settings(deadline=None, max_examples=50)
@given(RESULTS, st.randoms(use_true_random=False))
def test_does_not_depend_on_the_order_of_ends(results, draw):
    order = list(range(len(results)))
    draw.shuffle(order)
    assert lived(results, order).seen() == opened(results).seen()


@settings(deadline=None, max_examples=50)
@given(RESULTS)
def test_what_tpe_counts_as_good_is_what_it_would_be_of_all_trials(results):
    made = opened(results)
    study = optuna.load_study(storage=made, study_name=None)
    shown = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    every = optuna.storages.InMemoryStorage.get_all_trials(made, 0, False, (TrialState.COMPLETE, TrialState.PRUNED))
    split = optuna.samplers._tpe.sampler._split_trials
    good = [[trial.number for trial in split(study, trials, BEST)[0]] for trials in (shown, every)]
    assert good[0] == good[1]


def test_one_trial_in_twenty_counts_as_good_and_no_more_than_the_window_keeps(monkeypatch):
    monkeypatch.undo()
    assert [good_trials(ended) for ended in (0, 1, 20, 21, 64)] == [0, 1, 1, 2, 4]
    assert max(good_trials(ended) for ended in range(10 * window.SEEN)) == window.BEST


# --- the suggestions


def space(text="x: {type: float, low: 0.0, high: 1.0}, y: {type: float, low: 0.0, high: 1.0}"):
    hypers = {name: Hyper(name, "float", 0.5, 0.0, 1.0) for name in "xy"} | {"n": Hyper("n", "int", 1, 1, 9)}
    return parse(
        f"method: toy\nspace: {{{text}}}\nsearch: {{trials: 99, startup_trials: 4}}\n",
        file="toy.yaml",
        hypers_of=lambda name: hypers,
        method_names=["toy"],
    )


def suggestions(journal, count, *, reopened=(), running=3):
    """So many suggestions with some trials running, the sampler opened again before the given ones."""
    found = []
    sampler = Sampler(journal, space())
    for number in range(count):
        if number in reopened:
            sampler = Sampler(journal, space())
        found.append(sampler.ask(number))
        ended = number - running
        if ended >= 0:
            value = found[ended]["x"] - found[ended]["y"] ** 2
            sampler.tell(ended, ("COMPLETE", "PRUNED", "PRUNED", "FAIL")[ended % 4], value, {1: value - 0.1, 3: value})
    return found


def test_a_reopened_study_suggests_the_same_at_every_size(tmp_path):
    whole = suggestions(tmp_path / "whole", 30)
    assert suggestions(tmp_path / "parts", 30, reopened=range(1, 30)) == whole
    assert len({str(config) for config in whole}) == 30


def test_up_to_the_limit_tpe_suggests_what_it_does_with_all_trials(tmp_path, monkeypatch):
    bounded = suggestions(tmp_path / "bounded", 40)
    monkeypatch.setattr(window, "SEEN", 1000)
    every = suggestions(tmp_path / "every", 40)
    first = next(number for number, (one, other) in enumerate(zip(bounded, every, strict=True)) if one != other)
    ended = [number for number in range(first - 3) if number % 4 != 3]  # every fourth fails and does not count
    assert len(ended) > SEEN


def test_tpe_is_optunas(tmp_path, monkeypatch):
    """Against Optuna's own TPE on Optuna's own storage, with the seeds and the share of good trials that we give it."""
    monkeypatch.setattr(window, "SEEN", 1000)
    ours = suggestions(tmp_path / "ours", 25, running=0)
    from avtune.core.seeds import mix

    study = optuna.create_study(direction="maximize")
    for number, config in enumerate(ours):
        if number == 4:  # after the random ones
            study.enqueue_trial({"x": 0.5, "y": 0.5})
        with pytest.warns(FutureWarning, match="gamma"):
            study.sampler = optuna.samplers.TPESampler(
                seed=mix(0, "suggest", number, 0) % 2**32,
                n_startup_trials=4,
                multivariate=True,
                constant_liar=True,
                gamma=lambda ended: min(math.ceil(ended / 20), 25),
            )
        trial = study.ask(space().distributions())
        assert trial.params == {name: config[name] for name in "xy"}
        value = config["x"] - config["y"] ** 2
        for epoch, seen in {1: value - 0.1, 3: value}.items():
            trial.report(seen, epoch)
        state = ("COMPLETE", "PRUNED", "PRUNED", "FAIL")[number % 4]
        study.tell(trial, value if state == "COMPLETE" else None, state=TrialState[state])


def test_a_suggestion_is_one_line_of_the_journal(tmp_path):
    sampler = Sampler(tmp_path / "journal", space())
    for number in range(6):
        lines = (tmp_path / "journal").read_bytes().count(b"\n")
        sampler.ask(number)
        assert (tmp_path / "journal").read_bytes().count(b"\n") == lines + 1


def test_a_proposal_that_never_became_a_trial_is_left_out(tmp_path):
    """Of a journal that was written in smaller steps."""
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(storage=storage, study_name="avtune", direction="maximize")
    study.ask(space().distributions())
    trial = study.ask(space().distributions())
    trial.set_user_attr("trial", 0)
    sampler = Sampler(tmp_path / "journal", space())
    assert sampler.past() == [trial.params | {"n": 1}]
    sampler.tell(0, "COMPLETE", 0.5, {1: 0.5})
    assert sampler.ask(1) is not None
    assert len(Sampler(tmp_path / "journal", space()).past()) == 2


@pytest.mark.parametrize("size", [2, 7, 9])
def test_a_finite_space_is_walked_through_without_a_repetition(tmp_path, size):
    sampler = Sampler(tmp_path / "journal", space(f"n: {{type: int, low: 1, high: {size}}}"))
    found = []
    while (config := sampler.ask(len(found))) is not None:
        found.append(config["n"])
        sampler.tell(len(found) - 1, "COMPLETE", 1.0 / config["n"], {})
    assert sorted(found) == list(range(1, size + 1))


@pytest.mark.parametrize("sampler", [optuna.samplers.RandomSampler, optuna.samplers.TPESampler])
@pytest.mark.parametrize(("low", "high", "step"), [(0.1, 0.3, 0.1), (0.0, 1.0, 0.05), (-0.7, 0.35, 0.15)])
def test_stepped_values_are_those_that_samplers_write(sampler, low, high, step):
    axis = optuna.distributions.FloatDistribution(low, high, step=step)
    study = optuna.create_study(sampler=sampler(seed=1))
    for number in range(40):
        trial = study.ask({"x": axis})
        assert trial.params["x"] in values_of(axis)
        study.tell(trial, float(number % 5))
    assert grid_size({"x": axis}) == round((high - low) / step) + 1
