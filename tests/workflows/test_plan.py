"""What a search would take: from curves that are written here, and from the seconds of a study."""

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from avtune.cli.main import main
from avtune.core.errors import UserError
from avtune.methods import METHODS, hypers_of
from avtune.runners._base import Placement
from avtune.runners.costs import DEVICES, Size
from avtune.space.files import load
from avtune.study.folder import StudyFolder
from avtune.study.recorded_curves import RecordedCurves, RecordedRun, write_curves
from avtune.study.study import Study
from avtune.workflows import plan as planning
from avtune.workflows import plan_costs, plan_curves, plan_steps
from avtune.workflows.plan import Data, PlanRequest, data_of, data_of_rows, plan
from avtune.workflows.plan_steps import slower_here
from avtune.workflows.search_request import usual_space

SMALL = ["search.trials=6", "search.startup_trials=6", "final.finalists=1", "final.seeds=2", "early_stopping.epochs=4"]


def space_of(name, *overrides):
    return load(name, hypers_of=hypers_of, method_names=METHODS, overrides=[*SMALL, *overrides])


def curve(config, length=12):
    return tuple(0.3 + 0.2 * config["dropout"] * (1 - 0.7 ** np.arange(1, length + 1)))


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """A file of recorded curves of the demo's space."""
    space, draw, runs = space_of("demo"), np.random.default_rng(0), []
    for number in range(8):
        config = {axis.name: float(draw.uniform(axis.low, axis.high)) for axis in space.axes}
        runs += [RecordedRun(number, config, seed, curve(config), (0.1,) * 12) for seed in range(2)]
    path = tmp_path_factory.mktemp("curves") / "demo.jsonl.xz"
    write_curves(path, RecordedCurves(space, 1413, "fp32", {"dataset": "demo"}, runs))
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch, curves):
    monkeypatch.setattr(planning, "_SECONDS", 0.0)
    monkeypatch.setattr(planning, "slower_here", lambda *given: 1.0)
    monkeypatch.setattr(plan_curves, "shipped", lambda: {"demo": curves})
    monkeypatch.setattr(planning, "usable_cores", lambda: 2)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No data folder."""
    monkeypatch.setenv("AVTUNE_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_a_dataset_and_gpus_that_are_not_here(nowhere):
    found = plan(PlanRequest(data_of("vegas"), space_of(usual_space("vegas")), gpus=8))
    assert found.placement == "8 at a time on 8 GPUs, 1 thread each"
    assert any("vegas is not here; its sizes are the registry's: 22482 training" in line for line in found.assumed)
    assert any(DEVICES["gpu"].name in line for line in found.assumed)
    assert any("at the same number of steps; vegas may learn faster" in line for line in found.assumed)
    assert any("tau, batch_size" in line for line in found.assumed)
    parts = [one.expected for name, one in found.seconds.items() if name != "whole command"]
    whole = found.seconds["whole command"]
    assert whole.expected == pytest.approx(sum(parts), rel=0.2)
    assert whole.low < whole.expected < whole.high
    assert found.epochs["search"].high <= 6 * 4
    assert found.epochs["retraining"].high <= 2 * 2 * 4


def slow_curves(path, dataset, length):
    """Curves of the demo's space that rise for so many epochs."""
    space, draw = space_of("demo"), np.random.default_rng(1)
    rising = tuple(float(value) for value in np.linspace(0.1, 0.6, length))
    configs = [{axis.name: float(draw.uniform(axis.low, axis.high)) for axis in space.axes} for _ in range(6)]
    runs = [RecordedRun(number, config, 0, rising, (0.1,) * length) for number, config in enumerate(configs)]
    write_curves(path, RecordedCurves(space, 1413, "fp32", {"dataset": dataset}, runs))
    return path


def test_a_new_dataset_is_planned_by_the_curves_of_all_others(monkeypatch, tmp_path, curves):
    """How fast it learns is not known: the range holds what the slowest and the fastest of them would take."""
    slow = slow_curves(tmp_path / "slow.jsonl.xz", "slow", 40)
    monkeypatch.setattr(plan_curves, "shipped", lambda: {"demo": curves, "slow": slow})
    asked = "early_stopping.epochs=40", "search.trials=8"

    def epochs(name, *given):
        found = plan(PlanRequest(Data(name, 1766, 189, (128, 1024), 15), space_of("demo", *asked), 0, curves=given))
        return found.epochs["retraining"], found.assumed

    new, said = epochs("mine")
    assert said[0] == (
        "curves: of 8 configurations of demo, 6 of slow, recorded with avtune, at the same number of steps; "
        "mine may learn faster or slower"
    )
    assert said[-1].startswith("ranges: eight in ten of 2 simulated searches, as many on each of the 2 sets of c")
    (fast, said_fast), (slow_alone, said_slow) = epochs("demo"), epochs("slow")
    assert said_fast[0] == "curves: of 8 configurations of demo, recorded with avtune"
    assert said_slow[0] == "curves: of 6 configurations of slow, recorded with avtune"
    assert fast.expected < new.expected < slow_alone.expected
    assert new.low < fast.expected + 0.2 * (slow_alone.expected - fast.expected)
    assert new.high > slow_alone.expected - 0.2 * (slow_alone.expected - fast.expected)
    both, said = epochs("mine", curves, slow)
    assert both == new
    assert said[0].startswith("curves: of 8 configurations of demo.jsonl.xz, 6 of slow.jsonl.xz, at the same number")


def test_an_axis_that_only_some_curves_have(tmp_path, curves):
    space = space_of("demo")
    narrow = replace(space, axes=[axis for axis in space.axes if axis.name != "margin"])
    file = tmp_path / "narrow.jsonl.xz"
    runs = [
        RecordedRun(n, {axis.name: axis.default for axis in narrow.axes}, 0, (0.1, 0.2), (1.0, 1.0)) for n in (0, 1)
    ]
    write_curves(file, RecordedCurves(narrow, 1413, "fp32", {"dataset": "demo"}, runs))
    _, said = plan_curves.curves_for([curves, file], "demo", space)
    assert said == [
        "curves: of 8 configurations of demo.jsonl.xz, 2 of narrow.jsonl.xz",
        "searched, and not in the curves of narrow.jsonl.xz, so that it changes nothing there: margin",
    ]


def test_more_devices_take_less_and_more_trials_take_more():
    data = Data("mine", 20_000, 5_000, (128, 1024), 10)

    def search(gpus, *more):
        return plan(PlanRequest(data, space_of("demo", *more), gpus=gpus, lanes=1)).seconds["search"].expected

    few, many = search(1), search(8)
    assert many < few
    assert search(1, "search.trials=24") > few
    assert search(0) > search(1) - DEVICES["gpu"].start


def study_with(folder, seconds):
    """A study of the demo's space, all of whose epochs took so long."""
    space = space_of("demo")
    settings = {"format": 1, "space": space.as_dict(), "deterministic": False, "precision": "fp32", "rows": 1413}
    settings["dataset"] = {"name": "demo", "digest": "", "audio_dim": 128, "visual_dim": 1024}
    settings["placement"] = "8 at a time on the CPU: 2 engines of 4 lanes"
    folder.create(settings, {})
    study = Study(folder, space)
    while (trial := study.ask()) is not None:
        for epoch, value in enumerate(curve(trial.config, 4), 1):
            if not study.report(trial.number, epoch, {"val_map": value, "seconds": seconds}):
                break
        study.tell(trial.number)
    study.close()
    return folder


def test_a_study_says_how_trials_learn_and_what_epochs_take(tmp_path):
    data = Data("demo", 1766, 189, (128, 1024), 15)

    def device_seconds(seconds):
        folder = study_with(StudyFolder(tmp_path / str(seconds)), seconds)
        request = PlanRequest(data, space_of("demo"), gpus=0, lanes=4, curves=[folder])
        found = plan(request)
        assert f"costs: the seconds of the study {seconds}" in found.assumed
        return found.device_seconds.expected, found

    once, found = device_seconds(0.5)
    twice, _ = device_seconds(1.0)
    assert twice == pytest.approx(2 * once)
    epochs = sum(part.expected for part in found.epochs.values())
    assert once == pytest.approx(0.5 * epochs, rel=0.35)  # other numbers of lanes, and retraining on all rows


def test_finals_are_planned_as_a_search_there_would_have_them():
    """A race on a CPU, all seeds where the lanes of a GPU train them together; or as it is said."""
    data = Data("mine", 2_000, 500, (128, 1024), 10)

    def finals(*more):
        found = plan(PlanRequest(data, space_of("demo", "final.finalists=3", "final.seeds=5", *more), gpus=0))
        (said,) = [line for line in found.assumed if line.startswith("finals: 3 finalists and the default")]
        assert said.endswith("; the plain reference beside them is not counted")
        return found.epochs["finals"].expected, said.partition("; ")[0].rpartition(", ")[2]

    race, full = finals(), finals("final.policy=full")
    assert (race[1], full[1]) == ("those that may still win (a race)", "every one (full)")
    assert race[0] < 0.95 * full[0]
    space = space_of("demo", "final.seeds=5")
    gpus, asked = Placement(8, 8, 1), replace(space, final=replace(space.final, policy="race"))
    assert not planning._with_policy(space, gpus).final.races
    assert planning._with_policy(asked, gpus).final.races


def test_folds_cost_as_many_epochs():
    data = Data("mine", 2_000, 500, (128, 1024), 10)
    split = plan(PlanRequest(data, space_of("demo"), gpus=0)).device_seconds.expected
    space = space_of("demo")
    folded = replace(space, validation=replace(space.validation, fraction=None, folds=5))
    assert plan(PlanRequest(data, folded, gpus=0)).device_seconds.expected > 2.5 * split


def test_the_command_line_says_it_in_words_and_in_json(capsys, nowhere, curves):
    words = ["plan", "ave", "--gpus", "0", "--curves", f"{curves},{curves}", "--trials", "4", "--epochs", "3"]
    assert main([*words, "--set", "search.startup_trials=4", "--set", "final.seeds=1"]) == 0
    said = capsys.readouterr().out
    assert "whole command" in said
    assert "stopped, of 4 trials" in said
    assert "ave is not here" in said
    assert main([*words, "--set", "search.startup_trials=4", "--set", "final.seeds=1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["trials"] == 4
    assert any("over 1 seeds, every one (full)" in line for line in facts["assumed"])
    assert facts["seconds"]["whole command"]["low"] < facts["seconds"]["whole command"]["high"]


def test_a_space_file_takes_rows(capsys, tmp_path, curves):
    file = tmp_path / "mine.yaml"
    file.write_text(space_of("demo").to_yaml())
    assert main(["plan", str(file), "--rows", "5000", "--gpus", "0", "--curves", str(curves)]) == 0
    assert "5000 clips are not here" in capsys.readouterr().out
    assert main(["plan", str(file), "--rows", "5000", "--final-seeds", "10", "--curves", str(curves), "--json"]) == 0
    assert any("over 10 seeds" in line for line in json.loads(capsys.readouterr().out)["assumed"])
    assert main(["plan", str(file), "--rows", "5000", "--no-default", "--curves", str(curves), "--json"]) == 0
    assert any("finalists over" in line for line in json.loads(capsys.readouterr().out)["assumed"])
    assert main(["plan", str(file), "--rows", "5000", "--finals", "half"]) == 2
    assert "final.policy is 'half'; allowed: one of full or race" in capsys.readouterr().err
    assert main(["plan", str(file)]) == 2
    assert "give --rows N" in capsys.readouterr().err
    assert data_of_rows(400).train == 400


def test_what_cannot_be_is_refused(monkeypatch, nowhere):
    with pytest.raises(UserError, match="did you mean 'vegas'"):
        data_of("vegsa")
    with pytest.raises(UserError, match="--gpus is -1"):
        plan(PlanRequest(data_of("vegas"), space_of("vegas"), gpus=-1))
    monkeypatch.setattr(plan_curves, "shipped", dict)
    with pytest.raises(UserError, match="no recorded curves come with this avtune"):
        plan(PlanRequest(data_of("vegas"), space_of("vegas"), gpus=0))


def test_products_of_twice_the_speed_do_not_halve_an_epoch(monkeypatch):
    """59 % of an epoch are products on the CPU that the costs are of, and the rest is taken to be the same here."""
    monkeypatch.setattr(plan_costs, "_products", lambda: 2 * plan_costs._REFERENCE_PRODUCTS)
    factor, why, _ = plan_costs.factor_here((), "cpu", "fp32", [], lambda: None)
    assert factor == pytest.approx(0.41 + 0.59 / 2)
    assert "products here run at 200% of its speed" in why


def test_steps_are_timed_here(monkeypatch):
    """The clock is one that goes on by a second with every look, so that an epoch takes one: two steps of two lanes."""
    monkeypatch.setattr(plan_steps, "time", SimpleNamespace(perf_counter=itertools.count(0.0, 1.0).__next__))
    space = space_of("demo", "space.batch_size=8", "space.hidden_dim=8", "space.embedding_dim=4")
    slower = slower_here(space, (4, 5), 3, 100, 2, "fp32")
    config = {"batch_size": 8, "hidden_dim": 8, "embedding_dim": 4}
    expected = Size(16, 0, (4, 5)).epoch(DEVICES["cpu"], config, fp32=True).seconds(2)
    assert slower == pytest.approx(1.0 / expected)
    factor, why, _ = plan_costs.factor_here((), "cpu", "fp32", [], lambda: slower)
    assert factor == slower
    assert why.startswith("costs: training steps here, which take ")


@pytest.mark.parametrize(
    ("method", "widths"),
    [("cca", (4, 5)), ("my_method:Mine", (4, 5)), ("psd", (200_000, 200_000))],
    ids=["closed-form", "own", "too-wide"],
)
def test_what_is_not_trained_in_steps_is_not_timed(method, widths):
    space = replace(space_of("ave"), method=method, axes=[], fixed={"hidden_dim": 512} if method == "psd" else {})
    assert slower_here(space, widths, 3, 100, 2, "fp32") is None
