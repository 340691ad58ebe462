"""`avtune search --repeat`: whole searches with other seeds, and what they say together."""

import json
import shutil
from dataclasses import replace

import pytest
import yaml
from command import call
from toy import SPACE, write_toy

from avtune.cli.main import main
from avtune.cli.repeat import lines
from avtune.metrics import mean_interval
from avtune.study.folder import StudyFolder
from avtune.workflows.open_study import open_space
from avtune.workflows.repeat import repeats_of

SMALL = ["--trials", "2", "--set", "final.finalists=1", "--set", "final.seeds=1", "--set", "early_stopping.epochs=2"]


def words(folder, *more):
    return [
        "search", folder / "toy.h5", "--space", folder / "space.yaml", "--name", "one", *SMALL,
        "--results", folder / "results", "--runner", "inline", "--gpus", "0", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Three finished searches, and what was printed of them."""
    folder = tmp_path_factory.mktemp("repeat")
    write_toy(folder)
    (folder / "space.yaml").write_text(SPACE)
    assert main([str(word) for word in words(folder, "--repeat", "3")]) == 0
    return folder


def found(folder):
    return json.loads((folder / "results/one/repeated.json").read_text())


def test_each_search_is_a_study_with_a_seed_of_its_own(done):
    names = ["one", "one-seed2", "one-seed3"]  # the space says seed 1
    assert [one["study"] for one in found(done)["searches"]] == names
    seeds = [yaml.safe_load((done / "results" / name / "study.yaml").read_text())["space"]["search"] for name in names]
    assert [one["seed"] for one in seeds] == [1, 2, 3]
    tried = [(done / "results" / name / "trials.csv").read_text() for name in names]
    assert len(set(tried)) == 3


def test_the_interval_is_over_the_searches_and_the_gain_search_by_search(done):
    facts = found(done)
    maps, gains = [], []
    for one in facts["searches"]:
        metrics = json.loads((done / "results" / one["study"] / "final/metrics.json").read_text())
        maps.append(metrics["test"]["map"]["mean"])
        gains.append(maps[-1] - metrics["default"]["map"]["mean"])
    for told, values in ((facts["map"], maps), (facts["gain"], gains)):
        mean, half = mean_interval(values)
        assert told["mean"] == pytest.approx(mean)
        assert told["ci95"] == pytest.approx([mean - half, mean + half])
        assert told["seeds"] == pytest.approx(values)
    margin = facts["winners"]["margin"]
    assert margin["share_of_range"] == pytest.approx((max(margin["values"]) - min(margin["values"])) / 0.9)
    assert facts["over_reference"] is None


def test_the_same_command_shows_it_again_and_goes_on_with_more(done, capsys):
    before = (done / "results/one/repeated.json").read_text()
    printed = call(capsys, *words(done, "--repeat", "3"))
    assert printed.count("this study is finished") == 3
    assert "3 searches with other search seeds" in printed
    assert "test MAP over the searches, 95 % interval: 0." in printed or "interval: 1." in printed
    assert (done / "results/one/repeated.json").read_text() == before


def test_scores_that_were_selected_on_test_say_so(tmp_path, capsys):
    write_toy(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    printed = call(capsys, *words(tmp_path, "--repeat", "2", "--protocol", "published"))
    summary = printed[printed.index("2 searches with other search seeds") :]
    assert summary.count("selected on test") == 3, "each search, and all of them together"
    assert {one["selected_on"] for one in found(tmp_path)["searches"]} == {"test"}


def test_one_is_no_repetition_and_slurm_takes_one(done, capsys):
    assert "--slurm submits one" in call(capsys, *words(done, "--repeat", "2", "--slurm", "nodes=2"), code=2)
    assert "--repeat is 1; allowed: a whole number from 2" in call(capsys, *words(done, "--repeat", "1"), code=2)


def test_a_search_that_goes_on_takes_what_all_said_away(done, tmp_path, capsys):
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    both = [tmp_path / "results/one/repeated.json", tmp_path / "results/one-seed3/repeated.json"]
    both[1].write_text(json.dumps({"searches": [{"study": "others"}]}))  # of other searches: it stays
    more = [word if word != "2" else "3" for word in words(tmp_path)[:10]] + words(tmp_path)[10:]
    call(capsys, *more, "--name", "one-seed3", "--set", "search.seed=3")
    assert [path.exists() for path in both] == [False, True]
    call(capsys, *words(tmp_path, "--repeat", "2"))
    assert len(found(tmp_path)["searches"]) == 2
    call(capsys, *more)
    assert not both[0].exists()


def test_a_default_that_failed_says_so_and_one_that_was_left_out_does_not(done):
    folders = [StudyFolder(done / "results" / one["study"]) for one in found(done)["searches"]]
    whole = repeats_of(folders, [open_space(folder) for folder in folders])
    first = whole.searches[0]
    (default,) = [row for row in first.best.finalists if row.is_default]
    others = tuple(row for row in first.best.finalists if row is not default)

    def shown(*finalists):
        results, best = replace(first.results, default=None), replace(first.best, finalists=finalists)
        search = replace(first, results=results, best=best)
        return next(line for line in lines(replace(whole, searches=(search,))) if line.startswith("one "))

    assert "failed" in shown(*others, replace(default, failure="no luck"))
    assert "–" in shown(*others)
    assert "failed" not in shown(*others)


def test_verify_compares_it_with_the_searches(done, tmp_path, capsys):
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "results/one/repeated.json"
    written = path.read_text()

    def verified():
        ended = main(["verify", str(tmp_path / "results/one")])
        return ended, capsys.readouterr().out

    ended, printed = verified()
    assert (ended, printed.count("made again from the results of its searches")) == (0, 1)
    for changed, problem in (
        (written.replace('"default_won": ', '"default_won": 1'), "default_won is 1"),
        ("{}", "it cannot be read"),
        ("[" * 100_000, "it cannot be read"),
        (written.replace('"one-seed2"', '"../results/one"'), "it cannot be read"),
    ):
        path.write_text(changed)
        ended, printed = verified()
        assert ended == 1
        assert problem in printed
    path.write_text(written)
    shutil.rmtree(tmp_path / "results/one-seed2")
    ended, printed = verified()
    assert ended == 0
    assert "one-seed2 is not beside this study" in printed
