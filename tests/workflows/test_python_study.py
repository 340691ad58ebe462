"""What Python sees of a study, a model and scores; and code of the user's own, given as an object."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from toy import SPACE, toy_dataset, write_toy

import avtune
from avtune.study.folder import StudyFolder
from avtune.workflows.python_errors import in_python

TRIALS = "trial,state,epochs,best_epoch,val_map,mining,lr,seconds\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished study of the toy dataset, as the folder of studies."""
    results = tmp_path_factory.mktemp("made")
    options = {
        "trials": 3,
        "set": {"final.finalists": 1, "final.seeds": 2, "final.reference": "none"},
        "keep": 1,
        "runner": "inline",
        "gpus": 0,
    }
    avtune.search(toy_dataset(), space=yaml.safe_load(SPACE), results=results, quiet=True, **options)
    return results


@pytest.fixture
def folder(tmp_path):
    """A study that has begun, whose files a test writes."""
    folder = StudyFolder(tmp_path / "results" / "one")
    space = {"method": "triplet", "space": {}, "search": {"trials": 4}}
    facts = {"dataset": {"name": "<b>toy</b>", "digest": "0" * 64}, "space": space}
    folder.create({**facts, "deterministic": False, "precision": "fp32", "format": 1}, {})
    return folder


def write_curves(folder, *lines):
    folder.curves.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_study_that_has_only_begun_has_empty_tables(folder):
    study = avtune.load_study(folder.root)
    assert (len(study.trials), len(study.curves), len(study.finalists), study.best) == (0, 0, 0, None)
    assert list(study.trials) == ["trial", "state", "epochs", "best_epoch", "val_map", "seconds"]
    assert study.state == "stopped"
    assert repr(study).splitlines()[0] == f"study one: stopped, in {folder.root}"


def test_curves_hold_the_epochs_that_count(folder):
    epochs = [{"trial": 0, "epoch": epoch, "val_map": epoch / 10, "loss": 1.0} for epoch in (1, 2, 3)]
    other = {"trial": 1, "epoch": 1, "val_map": 0.5}
    failed = {"trial": 1, "state": "FAIL", "epochs": 1, "reason": "no"}
    write_curves(folder, *epochs, other, {"trial": 0, "state": "PRUNED", "epochs": 2}, failed, {"again": [1]}, other)
    curves = avtune.load_study(folder.root).curves
    assert curves[["trial", "epoch", "val_map"]].to_numpy().tolist() == [[0, 1, 0.1], [0, 2, 0.2], [1, 1, 0.5]]


def test_a_choice_that_looks_like_nothing_stays_a_word(folder):
    folder.trials_csv.write_text(f"{TRIALS}0,RUNNING,0,,,none,0.1,0.000\n1,COMPLETE,2,1,0.25,NA,0.1,1.5\n")
    trials = avtune.load_study(folder.root).trials
    assert list(trials["mining"]) == ["none", "NA"]
    assert trials["best_epoch"].isna().tolist() == [True, False]
    assert trials["val_map"].isna().tolist() == [True, False]
    best = avtune.load_study(folder.root).best
    assert (best.trial, best.epoch, best.val_map, best.winner) == (1, 1, 0.25, False)
    assert best.config == {"mining": "NA", "lr": 0.1}


def test_columns_keep_the_kind_that_their_axes_have(folder):
    """Words that look like numbers are words; whole numbers of a condition that does not hold are no fractions."""
    code = {"type": "choice", "values": ["01", "1"]}
    count = {"type": "int", "low": 1, "high": 9, "when": {"code": ["01"]}}
    settings = yaml.safe_load(folder.study_yaml.read_text())
    settings["space"]["space"] = {"code": code, "count": count}
    folder.study_yaml.write_text(yaml.safe_dump(settings))
    head = "trial,state,epochs,best_epoch,val_map,code,count,seconds\n"
    folder.trials_csv.write_text(f"{head}0,COMPLETE,1,1,0.2,01,6,1.5\n1,COMPLETE,1,1,0.1,1,,1.5\n")
    study = avtune.load_study(folder.root)
    assert list(study.trials["code"]) == ["01", "1"]
    assert study.trials["count"].isna().tolist() == [False, True]
    assert study.best.config == {"code": "01", "count": 6}
    assert isinstance(study.best.config["count"], int)
    folder.trials_csv.write_text(f"{head}0,COMPLETE,1,1,0.2,01,6,1.5\n1,COMPLETE,1,1,0.3,1,,1.5\n")
    assert avtune.load_study(folder.root).best.config == {"code": "1"}


def test_a_notebook_may_change_its_folder(tmp_path, monkeypatch):
    """What was read or searched by a relative path is found from elsewhere."""
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    write_toy(tmp_path / "a")
    data = avtune.load_dataset("toy.h5")
    more = {"trials": 1, "epochs": 1, "set": {"final.finalists": 1, "final.seeds": 1, "final.reference": "none"}}
    more |= {"runner": "inline", "gpus": 0, "quiet": True, "space": yaml.safe_load(SPACE)}
    monkeypatch.chdir(tmp_path)
    study = avtune.search(data, name="one", results="r", **more)
    assert yaml.safe_load((tmp_path / "r/one/study.yaml").read_text())["dataset"]["spec"] == str(tmp_path / "a/toy.h5")
    monkeypatch.chdir(tmp_path / "a")
    assert study.state == "finished"
    assert len(study.trials) == 1
    assert avtune.retrain(study, runner="inline", gpus=0, quiet=True).path.is_dir()
    (tmp_path / "r/one/study.yaml").unlink()
    with pytest.raises(avtune.UserError, match="there is no study at"):
        study.state  # noqa: B018  a property that looks


def test_an_array_whose_name_has_a_comma(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = toy_dataset()
    splits = {"train": data.train, "test": data.test}
    arrays = {f"au,dio {name}": split.audio for name, split in splits.items()}
    arrays |= {f"v {name}": split.visual for name, split in splits.items()}
    arrays |= {f"y {name}": split.labels for name, split in splits.items()}
    np.savez(tmp_path / "odd.npz", **arrays)
    roles = {"audio": "au,dio", "visual": "v", "lab": "y"}
    keys = {f"{role}_{name}": f"{key} {name}" for name in splits for role, key in roles.items()}
    read = avtune.load_dataset("odd.npz", map=keys)
    more = {"trials": 1, "epochs": 1, "set": {"final.finalists": 1, "final.seeds": 1, "final.reference": "none"}}
    more |= {"runner": "inline", "gpus": 0, "quiet": True, "space": yaml.safe_load(SPACE)}
    study = avtune.search(read, name="one", **more)
    assert avtune.retrain(study, runner="inline", gpus=0, quiet=True).path.is_dir()


def test_the_home_folder_is_meant_by_a_tilde(made, monkeypatch):
    monkeypatch.setenv("HOME", str(made.parent))
    assert avtune.load_study("toy", results=f"~/{made.name}").path == made / "toy"


def test_a_study_is_shown_with_its_state_its_winner_and_its_best_trials(made):
    study = avtune.load_study("toy", results=made)
    text = repr(study).splitlines()
    assert text[0] == f"study toy: finished, in {study.path}"
    assert text[1].startswith("triplet on toy, 3 trials: ")
    assert text[2].startswith(f"winner: trial {study.best.trial}, validation MAP ")
    assert text[3].startswith(f"test MAP {study.results.test.map.mean:.4f} ± ")
    assert "margin" in text[5]
    assert "hidden_dim" not in text[5], "it is the same in all trials"
    assert "<table" in study._repr_html_()


def test_nothing_in_html_is_markup_of_a_file(folder):
    folder.trials_csv.write_text(f"{TRIALS}0,COMPLETE,1,1,0.5,<script>,0.1,1\n1,COMPLETE,1,1,0.4,all,0.2,1\n")
    write_curves(folder, *({"trial": trial, "epoch": 1, "val_map": 0.5} for trial in (0, 1)))
    html = avtune.load_study(folder.root)._repr_html_()
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt;toy&lt;/b&gt;" in html
    assert "<script" not in html
    assert "<b>" not in html


@pytest.mark.parametrize("damage", ["trials_csv", "curves", "best_yaml", "metrics"])
def test_damage_is_a_user_error_and_a_repr_says_it(folder, damage):
    folder.final.mkdir()
    path = getattr(folder, damage)
    path.write_text(f"{TRIALS}x,COMPLETE\n" if damage == "trials_csv" else "{broken\n")
    study = avtune.load_study(folder.root)
    name = {"trials_csv": "trials", "best_yaml": "finalists", "metrics": "results"}.get(damage, damage)
    with pytest.raises(avtune.UserError, match=path.name):
        getattr(study, name)
    if damage != "curves":  # the last line of which may be torn by a kill
        assert str(path) in repr(study)
        assert path.name in study._repr_html_()


def test_a_running_study_says_so(folder):
    with folder.locked():
        assert avtune.load_study(folder.root).state == "running"
    assert avtune.load_study(folder.root).state == "stopped"


def test_a_study_that_is_not_there_is_refused_with_those_that_are(made):
    with pytest.raises(avtune.UserError) as caught:
        avtune.load_study("tou", results=made)
    assert str(caught.value) == f"no study is called 'tou' in {made}; did you mean 'toy'?\nstudies in {made}: toy"


def test_of_many_studies_the_first_are_named_and_the_others_counted(tmp_path):
    for number in range(12):
        (tmp_path / f"s{number:02}").mkdir()
        (tmp_path / f"s{number:02}" / "study.yaml").write_text("format: 1\n")
    with pytest.raises(avtune.UserError, match=f"studies in {tmp_path}: s00, .*, s09 and 2 more$"):
        avtune.load_study("none", results=tmp_path)


def test_a_model_is_loaded_from_a_study_its_name_or_a_folder(made):
    study = avtune.load_study("toy", results=made)
    kept = next((study.path / "checkpoints").iterdir())
    models = [avtune.load_model("toy", results=made), avtune.load_model(study), avtune.load_model(study.path / "final")]
    audio = toy_dataset().test.audio
    first, *others = [model.embed(audio=audio) for model in models]
    assert all((first == other).all() for other in others)
    assert avtune.load_model(kept).embed(audio=audio).shape == first.shape
    assert repr(models[0]).startswith("<Model triplet: audio 10-d, visual 7-d, 3 classes, trained for ")
    with pytest.raises(avtune.UserError, match="holds no model"):
        avtune.load_model(made)


def test_one_view_is_embedded_as_with_the_other(made):
    model, test = avtune.load_model("toy", results=made), toy_dataset().test
    audio, visual = model.embed(audio=test.audio, visual=test.visual)
    assert audio.dtype == np.float32
    assert (model.embed(audio=test.audio.astype(float)) == audio).all()
    assert (model.embed(visual=test.visual.tolist()) == visual).all()
    assert model.embed(test.audio[:5]) == pytest.approx(audio[:5], abs=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "nothing to embed; give audio=, visual= or both"),
        ({"audio": np.zeros((3, 9))}, "the audio features have 9 dimensions; this model takes 10"),
        ({"audio": np.zeros(10)}, "audio has shape (10,); features are [clips, dims]"),
        ({"audio": np.full((3, 10), np.nan)}, "audio"),
        ({"visual": [[1.0], [2.0, 3.0]]}, "visual cannot be made an array"),
        ({"audio": np.zeros((3, 10)), "visual": np.zeros((2, 7))}, "audio has 3 rows and visual has 2"),
    ],
)
def test_features_that_do_not_fit_are_refused(made, given, said):
    with pytest.raises(avtune.UserError) as caught:
        avtune.load_model("toy", results=made).embed(**given)
    assert said in str(caught.value)


def test_scores_are_typed_and_shown():
    draw = np.random.default_rng(0)
    audio, visual, labels = draw.normal(size=(12, 4)), draw.normal(size=(12, 4)), np.arange(12) % 3
    scores = avtune.evaluate(audio=audio, visual=visual, labels=labels, at=(1, 5, 500), curve=True)
    assert scores.bootstrap95[0] <= scores.map <= scores.bootstrap95[1]
    assert scores.map == pytest.approx((scores.map_a2v + scores.map_v2a) / 2)
    assert [row["k"] for row in scores.at] == [1, 5]
    assert len(scores.curve["levels"]) == len(scores.curve["curve_a2v"])
    assert repr(scores).startswith("<Evaluation of 12 clips of 3 classes>\n  MAP ")
    assert "audio-&gt;visual" in scores._repr_html_()
    same = avtune.evaluate(audio=audio, visual=visual, labels=labels, at=np.array([5, 1]), confusion=np.int64(3))
    assert [row["k"] for row in same.at] == [1, 5]
    words = avtune.evaluate(audio=audio, visual=visual, labels=[["dog", "rain", "siren"][label] for label in labels])
    assert words.map == scores.map
    column = pd.Series(["dog", "rain", "siren"] * 4)
    for same in (column, column.astype("category"), column.astype(object), labels.astype(float)):
        assert avtune.evaluate(audio=audio, visual=visual, labels=same).map == scores.map


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"audio": np.zeros(4)}, "audio is float64 (4,); a table of numbers [clips, dimensions] is needed"),
        ({"labels": [0.5, 1.5]}, "labels: 2 labels are not whole, the first in row 0: 0.5"),
        ({"labels": [0]}, "audio (2, 3), visual (2, 3) and labels (1,) do not match"),
        ({"audio": np.full((2, 3), np.inf)}, "audio embeddings hold NaN or infinity"),
        ({"at": (0,)}, "at is (0,); allowed: whole numbers from 1"),
        ({"at": 5}, "at is 5; allowed: whole numbers from 1"),
        ({"at": None}, "at is None; allowed: whole numbers from 1"),
        ({"split": "train"}, "split goes with a model and a dataset; embeddings hold everything"),
        ({"classes": "c.csv"}, "classes goes with a model and a dataset"),
        ({"method": "m:M"}, "method goes with a model and a dataset"),
        ({"visual": [[1], [1, 2]]}, "visual cannot be made an array"),
        ({"audio": np.zeros((0, 3)), "visual": np.zeros((0, 3)), "labels": np.zeros(0, int)}, "there are no clips"),
    ],
)
def test_embeddings_that_cannot_be_scored_are_refused(more, said):
    with pytest.raises(avtune.UserError) as caught:
        avtune.evaluate(**{"audio": np.ones((2, 3)), "visual": np.ones((2, 3)), "labels": [0, 1], **more})
    assert said in str(caught.value)


SMALL = {
    "trials": 1,
    "epochs": 1,
    "set": {"final.finalists": 1, "final.seeds": 1, "final.reference": "none"},
    "runner": "inline",
    "gpus": 0,
}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"views": 3}, "views is 3; give names"),
        ({"pool": 3}, "pool is 3; give names"),
        ({"map": 5}, "map is 5; give WHAT=KEY, as texts or a mapping"),
        ({"map": ["a", 3]}, "map is ['a', 3]; give WHAT=KEY"),
        ({"classes": 5}, "classes is a int; give a name or a path"),
    ],
)
def test_options_of_a_file_that_are_none_are_refused(more, said):
    with pytest.raises(avtune.UserError) as caught:
        avtune.load_dataset("demo", **more)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("views", [5, "ab", ("a",), ("a", 3), ("a", " ")])
def test_views_that_are_no_two_names_are_refused(views):
    data = toy_dataset()
    parts = [(one.audio, one.visual, one.labels) for one in (data.train, data.test)]
    with pytest.raises(avtune.UserError, match=r"give two different names, e\.g\. \('image', 'text'\)"):
        avtune.Dataset.from_arrays(train=parts[0], test=parts[1], views=views)


def test_a_method_of_the_users_own_is_given_by_name_or_as_the_class(workplace, monkeypatch):
    monkeypatch.syspath_prepend(workplace)
    import own_method  # one of the examples, in the current folder

    data, _ = write_toy(workplace)
    more = {**SMALL, "quiet": True, "set": {**SMALL["set"], "space.batch_size": 16, "space.hidden_dim": 8}}
    by_name = avtune.search(data, method="own_method:CrossContrast", name="by_name", **more)
    by_class = avtune.search(data, method=own_method.CrossContrast, name="by_class", **more)
    assert by_name.results.test == by_class.results.test
    assert avtune.load_model(by_class, method=own_method.CrossContrast).method == "own_method:CrossContrast"
    again = avtune.search(data, method=own_method.CrossContrast, name="by_name", **more)
    assert again.results.test == by_name.results.test


def test_a_method_that_comes_with_avtune_may_be_given_as_its_class(workplace):
    from avtune.methods import METHODS

    data, space = write_toy(workplace)
    study = avtune.search(data, space=space, method=METHODS["triplet"], name="class", quiet=True, **SMALL)
    assert study.results.method == "triplet"


def test_a_training_function_is_given_as_the_function(workplace, monkeypatch, forget):
    monkeypatch.syspath_prepend(workplace)
    import own_training

    data, _ = write_toy(workplace)
    study = avtune.search(data, train=own_training.train, space="own_training.yaml", quiet=True, **SMALL)
    assert study.results.method == "own_training:train"
    forget()  # as another process would
    with pytest.raises(avtune.UserError, match="code of your own, which only a call may name"):
        avtune.search(data, quiet=True, **SMALL)


def test_code_that_no_other_process_can_import_is_refused(tmp_path):
    class Mine:
        pass

    def train(config, data, report):
        pass

    here = {"results": tmp_path / "results", "quiet": True}
    with pytest.raises(avtune.UserError) as caught:
        avtune.search(toy_dataset(), method=Mine, **here)
    assert "which the processes that train cannot import" in str(caught.value)
    Mine.__module__ = "__main__"
    with pytest.raises(avtune.UserError) as caught:
        avtune.search(toy_dataset(), method=Mine, **here)
    assert "of this notebook or script, which the processes that train cannot import" in str(caught.value)
    assert str(caught.value).endswith("e.g. my_code.py, and give method='my_code:Mine'")
    with pytest.raises(avtune.UserError, match="put the function into a file of its own"):
        avtune.search(toy_dataset(), train=train, **here)


@pytest.mark.parametrize(
    ("said", "spelt"),
    [
        ("--runner is 'x'; allowed: inline", "runner is 'x'; allowed: inline"),
        ("lower --cpus or --lanes, or take --runner inline", "lower cpus or lanes, or take runner='inline'"),
        ("--retry-failed: the trials", "retry_failed: the trials"),
        ("with --gpus 0 trials run", "with gpus=0 trials run"),
        ("try --set validation.folds=2, or add clips", "try set={'validation.folds': 2}, or add clips"),
        ("it goes with --train a:b; see", "it goes with train='a:b'; see"),
        ("a -- b, x--y and -v stay", "a -- b, x--y and -v stay"),
        ("try it\navtune evaluate --embeddings a.npz", "try it\navtune evaluate --embeddings a.npz"),
        ("the same command continues", "the same call continues"),
        ("add --test-fraction 0.2 to set a fifth aside", "add test_fraction=0.2 to set a fifth aside"),
        ("choose two: --views audio,ids", "choose two: views='audio,ids'"),
        ("try --map a=x,labels=y.T", "try map='a=x,labels=y.T'"),
        ("--views names 'x'; --pool is 3; leave --map out", "views names 'x'; pool is 3; leave map out"),
    ],
)
def test_messages_spell_options_as_arguments(said, spelt):
    assert in_python(said) == spelt
