"""The Python interface: the same search as the command line's, in a process that is the caller's."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from command import call
from toy import SPACE, toy_dataset, write_toy

import avtune
import avtune.runners.work as work

SMALL = {
    "trials": 3,
    "set": {"final.finalists": 1, "final.seeds": 1, "final.reference": "none"},
    "runner": "inline",
    "gpus": 0,
}
HEAVY = ("torch", "ray", "numpy", "optuna", "pandas", "matplotlib", "h5py")


def fresh(program, **more):
    """A program in a Python of its own."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **more)


def arrays(split):
    return split.audio, split.visual, split.labels


@pytest.fixture
def toy():
    made = toy_dataset()
    return avtune.Dataset.from_arrays(train=arrays(made.train), test=arrays(made.test), name="toy")


@pytest.fixture
def search(toy, tmp_path):
    """`avtune.search` of the toy dataset."""

    def run(data=toy, **more):
        options = {"space": yaml.safe_load(SPACE), "results": tmp_path / "results", "name": "one", "quiet": True}
        return avtune.search(data, **{**options, **SMALL, **more})

    return run


@contextlib.contextmanager
def at_training(number, act):
    """Does something when the n-th training begins."""
    train, calls = work.train, []

    def planted(*words, **more):
        calls.append(1)
        if len(calls) == number:
            act()
        return train(*words, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "train", planted)
        yield calls


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("line", ["import avtune", "import avtune; avtune.UserError; dir(avtune); avtune.__version__"])
def test_the_import_alone_takes_nothing_heavy(line):
    ended = fresh(f"{line}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])")
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_every_public_name_is_there_and_no_other():
    assert set(avtune.__all__) <= set(dir(avtune))
    for name in avtune.__all__:
        assert getattr(avtune, name) is not None
    with pytest.raises(AttributeError, match="module 'avtune' has no attribute 'serach'"):
        avtune.serach  # noqa: B018
    assert (Path(avtune.__file__).parent / "py.typed").is_file()


def test_a_search_from_arrays_to_a_model_that_scores_as_it_was_published(search, toy):
    study = search()
    assert (study.state, study.name) == ("finished", "one")
    assert list(study.trials["trial"]) == [0, 1, 2]
    assert study.trials["state"].isin(["COMPLETE", "PRUNED"]).all()
    assert study.trials["margin"].dtype == np.float64
    counted = study.curves.groupby("trial")["epoch"].max()
    assert list(counted) == list(study.trials["epochs"])
    assert study.curves.groupby("trial")["val_map"].max().round(6).equals(study.trials["val_map"].round(6))
    assert {"loss", "lr", "seconds"} < set(study.curves)
    assert "crc" not in study.curves
    assert study.best.winner
    assert study.best.config["batch_size"] == 16
    assert set(study.finalists["trial"]) >= {study.best.trial}
    assert study.finalists["val_map_mean"].between(0, 1).all()
    model = avtune.load_model(study)
    audio, visual = model.embed(audio=toy.test.audio, visual=toy.test.visual)
    scores = avtune.evaluate(audio=audio, visual=visual, labels=toy.test.labels)
    assert scores.map == pytest.approx(study.results.test.map.mean, abs=1e-6)
    assert avtune.load_study("one", results=study.path.parent).path == study.path
    assert avtune.load_study(study.path).results.test.map.mean == study.results.test.map.mean


def test_the_command_line_finds_the_same(search, tmp_path, capsys):
    data, space = write_toy(tmp_path)
    study = search(str(data), deterministic=True, precision="fp32")
    words = [
        "--space",
        space,
        "--name",
        "two",
        "--results",
        tmp_path / "results",
        "--trials",
        "3",
        "--runner",
        "inline",
    ]
    words += [
        "--set",
        "final.finalists=1",
        "--set",
        "final.seeds=1",
        "--set",
        "final.reference=none",
        "--gpus",
        "0",
        "--deterministic",
    ]
    call(capsys, "search", data, *words, "--precision", "fp32")
    other = avtune.load_study("two", results=tmp_path / "results")
    assert study.trials.drop(columns="seconds").equals(other.trials.drop(columns="seconds"))
    assert study.results.test == other.results.test
    one, two = (yaml.safe_load((of.path / "study.yaml").read_text()) for of in (study, other))
    assert one["dataset"] == two["dataset"]
    assert one["space"] == two["space"]
    assert sorted(one["overrides"]) == sorted(two["overrides"])


def test_quiet_prints_nothing_and_otherwise_it_is_what_the_command_line_prints(search, capsys):
    search()
    assert capsys.readouterr() == ("", "")
    search(quiet=False)
    assert "this study is finished; here is its result again" in capsys.readouterr().out


def test_verbose_shows_log_messages_and_only_then(search, capsys):
    search(verbose=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert "DEBUG avtune." in said.err
    search(trials=4)
    assert capsys.readouterr().err == ""


def test_a_study_of_arrays_does_not_say_where_its_dataset_is(search, tmp_path, capsys):
    study = search()
    assert "spec" not in yaml.safe_load((study.path / "study.yaml").read_text())["dataset"]
    said = call(capsys, "verify", study.path, code=2)
    assert "does not say where its dataset is; name it: avtune verify STUDY DATASET" in said
    said = call(capsys, "retrain", study.path, code=2)
    assert "does not say where its dataset is" in said
    data, _ = write_toy(tmp_path)
    assert "no difference" in call(capsys, "verify", study.path, data)


def test_arrays_that_change_later_change_nothing(tmp_path):
    made = toy_dataset()
    data = avtune.Dataset.from_arrays(train=arrays(made.train), test=arrays(made.test))
    before = data.train.audio.copy()
    made.train.audio[:] = 0
    assert (data.train.audio == before).all()
    assert data.name == "arrays"


def test_the_same_call_continues_after_ctrl_c(search):
    with at_training(2, interrupt), pytest.raises(KeyboardInterrupt) as caught:
        search()
    (note,) = caught.value.__notes__
    assert note.endswith("has been closed; the same call continues it")
    study = avtune.load_study("one", results=note.split()[2].rpartition(os.sep)[0])
    assert study.state == "stopped"
    assert list(study.trials["state"]) == ["COMPLETE", "RUNNING"]
    assert not study.best.winner
    with pytest.raises(avtune.UserError, match="has no results: the study is stopped; the same call continues it"):
        study.results  # noqa: B018
    assert study.finalists.empty
    assert "best so far: trial 0" in repr(study)
    with at_training(10**6, interrupt) as calls:
        done = search()
    assert done.state == "finished"
    assert len(calls) < len(done.trials) + 4, "the first trial is not trained again"


def test_called_again_it_extends_the_study(search):
    before = search().trials
    after = search(trials=5).trials
    assert len(after) == 5
    assert after.head(3).drop(columns="seconds").equals(before.drop(columns="seconds"))


def state():
    return {number: signal.getsignal(number) for number in (signal.SIGINT, *signals())}


def signals():
    return signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1


def test_signal_handlers_are_as_before_however_it_ends(search):
    def mine(number, frame):
        came.append(number)

    came = []
    original = signal.signal(signal.SIGTERM, mine)
    try:
        before = state()
        with at_training(2, lambda: os.kill(os.getpid(), signal.SIGTERM)):
            search()
        assert came == [signal.SIGTERM], "the caller's handler is asked, and the search goes on"
        assert state() == before
        with at_training(1, interrupt), pytest.raises(KeyboardInterrupt):
            search(name="two")
        with pytest.raises(avtune.UserError):
            search(name="three", lanes=2)
        assert state() == before
    finally:
        signal.signal(signal.SIGTERM, original)


def test_a_signal_without_a_handler_closes_the_study_and_then_ends_the_process(tmp_path):
    program = f"""
import os, signal, sys
sys.path.append({str(Path(__file__).parents[1])!r})
import yaml
from toy import SPACE, toy_dataset
import avtune
import avtune.runners.work as work

train, calls = work.train, []

def planted(*words, **more):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    return train(*words, **more)

work.train = planted
space, results = yaml.safe_load(SPACE), {str(tmp_path)!r}
avtune.search(toy_dataset(), space=space, runner="inline", gpus=0, results=results, quiet=True)
"""
    ended = fresh(program)
    assert (ended.returncode, ended.stderr) == (-signal.SIGTERM, "")
    study = avtune.load_study("toy", results=tmp_path)
    assert study.state == "stopped"
    assert len(study.trials) == 3
    assert (study.path / "report.html").is_file()


WRONG = [
    ({"gpus": "2"}, "gpus is '2'; allowed: a whole number"),
    ({"gpus": 1000}, "gpus is 1000; "),
    ({"gpus": True}, "gpus is True; allowed: a whole number"),
    ({"deterministic": 1}, "deterministic is 1; allowed: True or False"),
    ({"name": "a b"}, "name is 'a b'; allowed: letters, digits"),
    ({"runner": "inlin"}, "runner is 'inlin'; allowed: inline, lanes or processes; did you mean 'inline'?"),
    ({"precision": "fp8"}, "precision is 'fp8'; allowed: bf16, tf32 or fp32"),
    ({"protocol": "other"}, "protocol is 'other'; allowed: "),
    ({"keep": -1}, "keep is -1; allowed: a whole number from 0"),
    ({"trials": "many"}, "set={'search.trials': 'many'}: search.trials is 'many'"),
    ({"set": {"search.trails": 2}}, "unknown key 'trails' in search"),
    ({"set": ["search.trials=2"]}, "give a mapping, for example set={'search.seed': 1}"),
    ({"set": {"search.seed": object()}}, "is no value of a space"),
    ({"space": 3}, "space is a int; give a name, a file, or a mapping"),
    ({"space": "vega"}, "did you mean 'vegas'?"),
    ({"space": {"method": "triplet", "space": {"margn": 1}}}, "no hyper-parameter 'margn'; did you mean 'margin'?"),
    ({"method": "tripelt", "space": None}, "did you mean 'triplet'?"),
    ({"method": 3}, "method is a int; give a name, 'module:Name', or the class itself"),
    ({"method": "triplet", "train": "a:b"}, "method and train are both given"),
    ({"trials_per_gpu": 2}, "trials_per_gpu needs a GPU, and this search uses none"),
    ({"trial_timeout": "1 h"}, "trial_timeout is '1 h'; allowed: seconds from 0.01 to 1e8"),
    ({"trial_timeout": True}, "trial_timeout is True; allowed: seconds from 0.01 to 1e8"),
    ({"trial_timeout": 1e10}, "trial_timeout is 1e+10; allowed: seconds from 0.01 to 1e8"),
    ({"cluster": "auto"}, "cluster goes with the runners lanes and processes"),
    ({"results": 3}, "results is a int; give a name or a path"),
    ({"classes": "classes.csv"}, "classes goes with the path of a file or folder"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_what_is_wrong_is_said_as_python_spells_it(search, tmp_path, options, said):
    with pytest.raises(avtune.UserError) as caught:
        search(**options)
    assert said in str(caught.value)
    assert "--" not in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_a_misspelt_runner_is_said_before_a_ray_that_is_in_the_way(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    with pytest.raises(avtune.UserError, match="runner is 'inlin'"):
        search(runner="inlin")


def test_a_dataset_that_is_none_is_refused(search):
    with pytest.raises(avtune.UserError, match="'vega' is no dataset; did you mean 'vegas'"):
        search("vega")
    with pytest.raises(avtune.UserError, match="data is a int; give a Dataset, a name or a path"):
        search(3)
    with pytest.raises(avtune.UserError, match=r"no_file\.h5"):
        avtune.load_dataset("no_file.h5")


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (np.zeros(3), "train is a ndarray; give (audio, visual, labels)"),
        ((np.zeros((4, 2)), np.zeros((4, 2))), "train is 2 items; give (audio, visual, labels)"),
        ((np.zeros((4, 2, 2)), np.zeros((4, 2)), [0, 0, 1, 1]), "arrays: audio of train has shape (4, 2, 2)"),
        (([[1], [2, 3]], np.zeros((4, 2)), [0, 0, 1, 1]), "arrays: audio of train cannot be made an array"),
        ((np.zeros((4, 2)), np.full((4, 2), np.nan), [0, 0, 1, 1]), "arrays: visual of train"),
        ((np.zeros((4, 2)), np.zeros((3, 2)), [0, 0, 1, 1]), "arrays: visual of train has 3 rows"),
    ],
)
def test_arrays_that_are_no_dataset_are_refused(train, said):
    test = (np.zeros((2, 2)), np.zeros((2, 2)), [0, 1])
    with pytest.raises(avtune.UserError) as caught:
        avtune.Dataset.from_arrays(train=train, test=test)
    assert said in str(caught.value)


def test_other_settings_for_a_study_that_exists_are_refused(search):
    search()
    with pytest.raises(avtune.UserError) as caught:
        search(set={**SMALL["set"], "space.batch_size": 32})
    first, second = str(caught.value).splitlines()
    assert first.endswith("was made with other settings: space.batch_size: 16 -> 32")
    assert second == "add name='one-2' for a new study, or give the old settings to continue this one"


def test_every_trial_failing_is_an_error_that_says_what_to_do(search):
    def fail():
        raise RuntimeError("the sky fell")

    train = work.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "train", lambda *words, **more: fail())
        with pytest.raises(avtune.UserError) as caught:
            search()
    said = str(caught.value)
    assert said.startswith("every trial failed; the first: ")
    assert said.endswith("the same call with retry_failed=True trains what failed again")
    assert work.train is train
    assert search(retry_failed=True).state == "finished"


def test_a_fault_of_ours_is_no_user_error(search):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("avtune.workflows.search.for_search", lambda *words, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            search()


def test_numpy_numbers_are_numbers(search):
    study = search(
        trials=np.int64(2),
        keep=np.int64(1),
        set={"final.seeds": np.int64(1), "final.reference": "none", "space.margin": np.float64(0.25)},
    )
    assert (study.trials["margin"] == 0.25).all()
    assert len(study.trials) == 2
