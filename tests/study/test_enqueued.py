"""Configurations that a user's script puts into the journal with Optuna's own `enqueue_trial`."""

import re
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from test_known_first import folder  # noqa: F401
from test_study import HYPERS, drive, make_space

from avtune.space.parse import parse
from avtune.study.horizon import Horizon
from avtune.study.study import Study

BOTH = "x: {type: float, low: 0.0, high: 1.0}, kind: {type: choice, values: [a, b]}"


@pytest.fixture
def enqueue(folder):  # noqa: F811
    """As a script would; Optuna warns of nothing."""

    def enqueue(params):
        storage = JournalStorage(JournalFileBackend(str(folder.journal)))
        optuna.load_study(study_name="one", storage=storage).enqueue_trial(params)

    return enqueue


def asked(study, count=1):
    return [study.ask().config["x"] for _ in range(count)]


def test_they_come_next_while_the_search_runs_once_and_not_again_after_a_kill(folder, enqueue):  # noqa: F811
    space = make_space(BOTH, startup_trials=4)
    study = Study(folder, space)
    asked(study, 2)
    enqueue({"x": 0.125, "kind": "b"})
    enqueue({"x": 0.375})  # the rest is the sampler's
    assert asked(study, 2) == [0.125, 0.375]
    enqueue({"x": 0.625, "kind": "a"})
    again = Study(folder, space)
    assert again.enqueued == 1
    asked(again, 4)  # those that were running
    assert asked(again) == [0.625]
    assert again.records[2].trial.config["kind"] == "b"
    again = Study(folder, space)
    drive(again)
    assert again.exhausted
    values = [record.trial.config["x"] for record in Study(folder, space).records]
    assert [values.count(one) for one in (0.125, 0.375, 0.625)] == [1, 1, 1]


def test_one_that_is_not_in_the_space_is_left_out_in_words_and_once_in_the_log(folder, enqueue):  # noqa: F811
    space = make_space(BOTH, startup_trials=0)
    study = Study(folder, space)
    asked(study)  # the default: 0.5, a
    for params in ({"x": 3.0}, {"xx": 0.5}, {"kind": "c"}, {"fixed": 4}, {"x": True}, {"x": 0.5, "kind": "a"}):
        enqueue(params)
    enqueue({"x": 0.25, "fixed": 3})
    assert asked(study) == [0.25]
    asked(study)
    reasons = [text.partition("is left out: ")[2] for text in study.left_out]
    assert reasons == [
        "x is 3.0; searched: 0 to 1",
        "xx is 0.5, and it is not searched; did you mean 'x'?",
        "kind is 'c'; searched: a or b",
        "fixed is 4, and it is not searched",
        "x is True; searched: 0 to 1",
        "a trial has had that configuration",
    ]
    log = folder.log.read_text()
    assert log.count("as Optuna's trial 1 is left out: x is 3.0") == 1
    assert log.count("is left out") == 6


def test_without_any_the_journal_is_not_read_again(folder, monkeypatch):  # noqa: F811
    study = Study(folder, make_space())
    monkeypatch.setattr(JournalStorage, "get_all_trials", None)
    asked(study, 5)


def test_what_it_leaves_out_is_chosen_so_that_it_is_new(folder, enqueue):  # noqa: F811
    space = make_space("kind: {type: choice, values: [a, b]}, fixed: {type: int, low: 1, high: 4}", trials=8)
    study = Study(folder, space)
    study.ask()
    for _ in range(4):
        enqueue({"kind": "b"})
    found = [study.ask().config for _ in range(3)]
    assert [config["kind"] for config in found] == ["b"] * 3
    assert len({config["fixed"] for config in found}) == 3


@pytest.mark.parametrize("why", ["seen", "illegal"])
def test_one_that_cannot_be_completed_is_refused_in_words_and_tried_no_more(folder, enqueue, why):  # noqa: F811
    space = make_space("kind: {type: choice, values: [a, b]}, fixed: {type: int, low: 1, high: 2}", startup_trials=0)
    if why == "illegal":  # whatever the sampler chooses for x
        axes = "x: {type: float, low: 0.0, high: 1.0}, fixed: {type: int, low: 1, high: 9}"
        text = f"method: toy\nspace: {{{axes}}}\nsearch: {{trials: 9, startup_trials: 0}}\nconstraints: [fixed < x + 3]"
        space = parse(text, file="toy.yaml", hypers_of=lambda name: HYPERS, method_names=["toy"])
    study = Study(folder, space, horizon=Horizon(space, 100))
    if why == "seen":
        for fixed in (1, 2):
            enqueue({"kind": "b", "fixed": fixed})
            study.ask()
    enqueue({"kind": "b"} if why == "seen" else {"fixed": 9})
    later = study.ask().config
    assert later["fixed" if why == "illegal" else "kind"] != (9 if why == "illegal" else "b")
    (text,) = study.left_out
    assert text.endswith(
        "is left out: in 21 suggestions for the values that it leaves out none was new and fulfilled the constraints"
    )
    assert folder.log.read_text().count(text) == 1
    assert study.enqueued == 0
    again = Study(folder, space, horizon=Horizon(space, 100))
    assert (again.left_out, again.enqueued, len(again.records)) == ([text], 0, len(study.records))
    storage = JournalStorage(JournalFileBackend(str(folder.journal)))
    states = [trial.state.name for trial in optuna.load_study(study_name="one", storage=storage).trials]
    assert states.count("FAIL") == 1


def test_a_choice_that_a_value_needs_is_drawn_so_that_the_value_is_tried(folder, enqueue):  # noqa: F811
    axes = (
        "kind: {type: choice, values: [a, b, c]}, x: {type: float, low: 0.0, high: 1.0, when: {kind: [b, c]}}, "
        "fixed: {type: int, low: 1, high: 9, when: {kind: a}}"
    )
    space = make_space(axes, trials=12, startup_trials=0)
    study = Study(folder, space, horizon=Horizon(space, 100))
    study.ask()
    for number in range(8):
        enqueue({"x": 0.3 + number / 100})
    enqueue({"x": 0.9, "fixed": 3})
    found = [study.ask().config for _ in range(8)]
    assert [config["x"] for config in found] == [0.3 + number / 100 for number in range(8)]
    assert {config["kind"] for config in found} == {"b", "c"}
    study.ask()
    (text,) = study.left_out
    assert text.endswith("is left out: no value of kind has all of x, fixed searched")


def test_another_one_that_waits_takes_the_place_of_one_that_is_refused(folder, enqueue):  # noqa: F811
    space = make_space("kind: {type: choice, values: [a, b]}, fixed: {type: int, low: 1, high: 3}", startup_trials=0)
    study = Study(folder, space)
    study.ask()
    for params in ({"kind": "b", "fixed": 1}, {"kind": "b", "fixed": 2}, {"kind": "b", "fixed": 3}):
        enqueue(params)
        study.ask()
    enqueue({"kind": "b"})
    enqueue({"kind": "a", "fixed": 1})
    config = study.ask().config
    assert (config["kind"], config["fixed"]) == ("a", 1)
    assert len(study.left_out) == 1


def test_the_script_of_the_documentation_runs_as_it_stands(folder, tmp_path, monkeypatch):  # noqa: F811
    Study(folder, make_space(BOTH, startup_trials=4))
    page = (Path(__file__).parents[2] / "docs/budgets.md").read_text()
    script = next(one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "enqueue_trial" in one)
    monkeypatch.chdir(tmp_path)
    script = script.replace("results/first/journal.log", str(folder.journal)).replace('"first"', '"one"')
    exec(script.replace("margin", "x"), {})
    assert Study(folder, make_space(BOTH, startup_trials=4)).ask().config["x"] == 0.3
