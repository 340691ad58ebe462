"""Where a search begins: `--start`, `--around`, and a space of one configuration."""

import pytest
import yaml
from command import call
from test_continue import interrupted
from toy import SPACE, toy_dataset, write_toy

import avtune

SMALL = ["--set", "final.finalists=1", "--set", "final.seeds=1", "--trials", "4", "--epochs", "2"]


@pytest.fixture
def toy(tmp_path):
    write_toy(tmp_path)
    return tmp_path


def words(folder, *more, name="one"):
    where = ["--name", name, "--results", folder / "results", "--gpus", "0", "--runner", "inline"]
    return ["search", folder / "toy.h5", "--space", folder / "space.yaml", *where, *SMALL, *more]


def settings(folder, name="one"):
    return yaml.safe_load((folder / "results" / name / "study.yaml").read_text())


def margins(folder, name="one"):
    return list(avtune.load_study(name, results=folder / "results").trials["margin"])


def test_configurations_are_tried_recorded_and_continued_as_they_were(toy, capsys):
    (toy / "my.yaml").write_text("margin: 0.5\nlr: 0.02")
    (toy / "more.yaml").write_text("- {margin: 0.75, lr: 0.02}\n- {margin: 0.5, lr: 0.02}")
    start = ["--start", f"{toy}/my.yaml,{toy}/more.yaml"]
    with interrupted(2):
        assert "Traceback" not in call(capsys, *words(toy, *start), code=130) + ""
    before = settings(toy)
    assert before["start"] == [{"margin": 0.5, "lr": 0.02}, {"margin": 0.75, "lr": 0.02}]
    (toy / "my.yaml").unlink()
    printed = call(capsys, *words(toy))  # without the option: it is on record
    assert "note: 1 configuration of --start come" not in printed
    assert settings(toy) == before
    assert margins(toy)[:2] == [0.5, 0.75]
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")
    # A study's name stands for its best.yaml, and one configuration more is a change.
    call(capsys, *words(toy, "--set", "search.seed=4", name="two"))
    printed = call(capsys, *words(toy, "--start", "two", "--trials", "5"))
    assert "changed: start: 1 configuration of the user's to try next" in printed
    best = avtune.load_study("two", results=toy / "results").best.config["margin"]
    assert margins(toy)[4] == best


def test_what_cannot_be_started_with_is_said_and_leaves_no_study(toy, capsys):
    (toy / "my.yaml").write_text("margin: 7\nlr: 0.02")
    said = call(capsys, *words(toy, "--start", toy / "my.yaml"), code=2)
    assert said.endswith("my.yaml:1: margin is 7; searched: 0.1 to 1; the nearest value is 1.0\n")
    (toy / "cca.yaml").write_text("method: cca\nconfig: {margin: 0.5}")
    assert "of cca; the search is of triplet" in call(capsys, *words(toy, "--start", toy / "cca.yaml"), code=2)
    (toy / "five.yaml").write_text("\n".join(f"- {{margin: 0.{n}, lr: 0.02}}" for n in range(2, 7)))
    assert "5 configurations, more than the 4 trials" in call(capsys, *words(toy, "--start", toy / "five.yaml"), code=2)
    assert "an empty name among the files" in call(capsys, *words(toy, "--start", f"{toy}/five.yaml,"), code=2)
    assert not (toy / "results").exists()


@pytest.mark.parametrize("option", ["--start", "--around"])
def test_a_study_that_there_is_not_or_that_has_no_winner_is_said(toy, capsys, option):
    with interrupted(2):
        call(capsys, *words(toy, name="first"), code=130)
    said = call(capsys, *words(toy, option, "first"), code=2)
    assert "study first has no best.yaml yet, since no configuration has won; `avtune finish first` ends its" in said
    call(capsys, *words(toy, name="first"))
    said = call(capsys, *words(toy, option, "frist"), code=2)
    assert "no file and no study is called 'frist'; did you mean 'first'?; give a study's best.yaml, a mapping" in said
    assert not (toy / "results" / "one").exists()


def test_python_takes_mappings_and_paths(toy):
    (toy / "my.yaml").write_text("margin: 0.75\nlr: 0.02")
    small = {"trials": 2, "epochs": 1, "set": {"final.finalists": 1, "final.seeds": 1}}
    how = {"space": yaml.safe_load(SPACE), "results": toy / "results", "quiet": True, "runner": "inline", "gpus": 0}
    start = [{"margin": 0.5, "lr": 0.02}, toy / "my.yaml"]
    study = avtune.search(toy_dataset(), start=start, **how, **small)
    assert list(study.trials["margin"]) == [0.5, 0.75]
    with pytest.raises(avtune.UserError, match=r"^start is 3; give a file"):
        avtune.search(toy_dataset(), start=3, name="other", **how, **small)


def test_a_best_yaml_is_a_space_of_one_configuration(toy, capsys):
    shown = call(capsys, *words(toy))
    best = toy / "results" / "one" / "best.yaml"
    config = yaml.safe_load(best.read_text())["config"]
    shown = yaml.safe_load(call(capsys, "space", "show", best))
    assert (shown["method"], shown["space"]) == ("triplet", config)
    assert (shown["search"]["trials"], shown["final"]["finalists"]) == (1, 1)
    where = ["--results", toy / "results", "--gpus", "0", "--runner", "inline", "--epochs", "2"]
    call(capsys, "search", toy / "toy.h5", "--space", best, "--name", "two", "--set", "final.seeds=1", *where)
    study = avtune.load_study("two", results=toy / "results")
    assert [len(study.trials), dict(study.best.config)] == [1, config]


@pytest.mark.parametrize("older", [False, True])
def test_a_winner_of_another_method_is_refused_where_its_names_would_fit(toy, capsys, older):
    call(capsys, *words(toy, name="first"))
    best = toy / "results" / "first" / "best.yaml"
    if older:
        best.write_text(best.read_text().replace("method: triplet\n", ""))
    assert yaml.safe_load(best.read_text()).get("method") == (None if older else "triplet")
    assert "no difference" in call(capsys, "verify", "first", "--results", toy / "results")
    (toy / "space.yaml").write_text(SPACE.replace("method: triplet", "method: hard_triplet"))
    for option in (["--start", "first"], ["--start", best], ["--around", best]):
        said = call(capsys, *words(toy, *option, name="two"), code=2)
        assert "holds a configuration of triplet; the search is of hard_triplet" in said
    (toy / "loose.yaml").write_text(best.read_text())
    shown = call(capsys, "space", "check", toy / "loose.yaml")
    assert ("is a legal space for triplet" in shown, "names no method" in shown) == (not older, older)


def test_which_method_is_assumed_is_said(toy, capsys):
    (toy / "mine.yaml").write_text("margin: 0.5")
    shown = call(capsys, "space", "check", toy / "mine.yaml")
    assert "mine.yaml names no method; it is taken for psd; --method NAME says otherwise" in " ".join(shown.split())
    assert "names no method" not in call(capsys, "space", "check", toy / "mine.yaml", "--method", "triplet")


def test_a_mapping_of_values_is_one_too(toy, capsys):
    (toy / "mine.yaml").write_text("margin: 0.5\nlr: 0.02")
    shown = yaml.safe_load(call(capsys, "space", "show", toy / "mine.yaml", "--method", "triplet"))
    assert (shown["space"]["margin"], shown["space"]["lr"], shown["search"]["trials"]) == (0.5, 0.02, 1)
    assert shown["space"]["mining"] == "all", "what is left out takes the method's default"
    (toy / "wrong.yaml").write_text("margin: 0.5\nmarginn: 1")
    said = call(capsys, "space", "show", toy / "wrong.yaml", "--method", "triplet", code=2)
    assert "wrong.yaml:2: method triplet has no hyper-parameter 'marginn'; did you mean 'margin'?" in said
    (toy / "wrong.yaml").write_text("margin: 77")
    assert "wrong.yaml:1: margin is 77; allowed" in call(capsys, "space", "show", toy / "wrong.yaml", code=2)
    (toy / "train.yaml").write_text("method: psd\nmargin: 1")  # no configuration: it says that it is a space
    assert "unknown key 'margin'" in call(capsys, "space", "show", toy / "train.yaml", code=2)


def test_ranges_around_a_configuration_are_said_tried_at_their_centre_and_continued(toy, capsys):
    (toy / "centre.yaml").write_text("margin: 0.5\nlr: 0.02")
    around = ["--around", toy / "centre.yaml", "--width", "0.1"]
    with interrupted(2):
        call(capsys, *words(toy, *around), code=130)
    before = settings(toy)
    axes = before["space"]["space"]
    assert (axes["margin"]["low"], axes["margin"]["high"]) == (0.455, 0.545)
    assert axes["lr"]["low"] == pytest.approx(0.02 / 10**0.05, rel=1e-3)
    printed = call(capsys, *words(toy, *around))
    assert "note: ranges around" in printed
    assert "margin 0.455 to 0.545, lr 0.01783 to 0.02244" in " ".join(printed.split())
    assert settings(toy) == before
    assert margins(toy)[0] == 0.5
    assert all(0.455 <= one <= 0.545 for one in margins(toy))
    said = call(capsys, *words(toy, "--around", toy / "centre.yaml"), code=2)
    assert "was made with other settings: space.margin" in said


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--width", "0.1"], "--width says how wide ranges around a configuration are; add --around"),
        (["--around", "centre.yaml", "--width", "2"], "--width is 2; allowed: a share of each range"),
        (["--around", "two.yaml"], "--around names 2 configurations; give one"),
        (["--around", "wrong.yaml"], "wrong.yaml:1: lr is 7; allowed: a number from"),
    ],
)
def test_what_cannot_be_searched_around_is_said(toy, capsys, monkeypatch, more, message):
    monkeypatch.chdir(toy)
    (toy / "centre.yaml").write_text("margin: 0.5")
    (toy / "two.yaml").write_text("[{margin: 0.5}, {margin: 0.6}]")
    (toy / "wrong.yaml").write_text("lr: 7")
    assert message in call(capsys, *words(toy, *more), code=2)
    assert not (toy / "results").exists()


def test_a_value_that_is_set_takes_the_place_of_the_centres(toy, capsys):
    (toy / "centre.yaml").write_text("margin: 0.5\nlr: 0.02")
    around = ["--around", toy / "centre.yaml", "--set", "space.margin=0.3"]
    call(capsys, *words(toy, *around))
    assert settings(toy)["space"]["space"]["margin"] == 0.3
    assert settings(toy)["start"] == [{"lr": 0.02}]


def test_python_searches_around_a_mapping(toy):
    small = {"trials": 2, "epochs": 1, "set": {"final.finalists": 1, "final.seeds": 1}}
    how = {"space": yaml.safe_load(SPACE), "results": toy / "results", "quiet": True, "runner": "inline", "gpus": 0}
    study = avtune.search(toy_dataset(), around={"margin": 0.5, "lr": 0.02}, width=0.5, **how, **small)
    assert study.trials["margin"][0] == 0.5
    assert study.trials["margin"].between(0.275, 0.725).all()
    with pytest.raises(avtune.UserError, match=r"^width is 'wide'; allowed: a share"):
        avtune.search(toy_dataset(), around={"margin": 0.5}, width="wide", name="other", **how, **small)
    one = avtune.search(
        toy_dataset(), method="triplet", name="one", **how | {"space": {"margin": 0.5, "batch_size": 16}}, epochs=1
    )
    assert len(one.trials) == 1
