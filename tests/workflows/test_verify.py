"""`avtune verify` makes numbers again, and names the file that does not agree."""

import functools
import hashlib
import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import call
from toy import toy_dataset, write_toy
from user_code import function_search

from avtune.cli.main import main
from avtune.study.folder import StudyFolder
from avtune.workflows.verify import verify_study
from avtune.workflows.verify_model import check_model

FIXTURE = Path(__file__).parents[1] / "fixtures" / "study_v1"
SEARCH = ("search", "toy.h5", "--space", "space.yaml", "--runner", "inline", "--gpus", "0")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study with a checkpoint and a retrained trial, below a folder with its dataset."""
    place = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_toy(place)
        assert main([*SEARCH, "--name", "one", "--keep", "1"]) == 0
        assert main(["retrain", "one", "--trial", "1", "--seeds", "1", "--runner", "inline", "--gpus", "0"]) == 0
        shutil.move("toy.h5", "data.h5")  # so that no copy of the study finds this one
    return place


@pytest.fixture
def study(finished, tmp_path, monkeypatch, capsys):
    """A copy of it, the current folder."""
    shutil.copytree(finished, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    capsys.readouterr()
    return StudyFolder(Path("results/one"))


def digests(root):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


def verify(capsys, *words, code=0):
    assert main(["verify", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def wrong(found):
    return {one["file"]: one["problem"] for one in found["checks"] if one["problem"]}


def test_a_finished_study_agrees_with_itself_and_stays_as_it_is(study, capsys):
    before = digests(study.root)
    printed = call(capsys, "verify", "one", "data.h5", "--retrain")
    assert "no difference" in printed
    assert "trained once more" in printed
    assert "retrained_trial_1/model.safetensors" in printed
    assert "not compared" not in printed
    assert digests(study.root) == before


def test_wherever_it_and_its_dataset_have_gone(study, capsys):
    shutil.move("results/one", "results/two")
    shutil.move("data.h5", "moved.h5")
    said = call(capsys, "verify", "two", code=2)
    assert "avtune verify two DATASET" in said
    assert verify(capsys, "two", "moved.h5")["ok"]
    assert verify(capsys, Path("results/two").resolve(), "moved.h5")["ok"]


def test_a_models_folder_is_checked_alone(study, capsys):
    assert "scored again" in str(verify(capsys, study.final, "data.h5"))
    assert "scored again" not in str(verify(capsys, study.final))
    found = verify(capsys, next(study.checkpoints.glob("trial_*")), "data.h5")
    assert "this model was never scored" in str(found), "and is not scored now, which would be a look at the test split"
    assert "--retrain goes with a study" in call(capsys, "verify", study.final, "--retrain", code=2)


def test_what_there_is_not_is_named(study, capsys):
    assert "did you mean 'one'" in call(capsys, "verify", "ome", code=2)


def test_of_an_unfinished_study_what_is_there_is_checked(study, capsys):
    shutil.rmtree(study.final)
    with study.curves.open("a") as file:
        file.write('{"trial": 3, "ep')  # a kill in the middle of a line
    found = verify(capsys, "one", "data.h5")
    assert any(one["skipped"] == "the study is not finished" for one in found["checks"])
    study.curves.write_bytes(study.curves.read_bytes().replace(b'"val_map":0.', b'"val_map":0.0', 1))
    assert set(wrong(verify(capsys, "one", "data.h5", code=1))) == {"curves.jsonl"}


def test_a_study_of_the_old_format_is_checked_as_far_as_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_toy(tmp_path)
    shutil.copytree(FIXTURE, "results/study_v1")
    found = verify(capsys, "study_v1", "toy.h5")
    assert "scored again on the test split" in str(found)
    with open("results/study_v1/trials.csv", "a") as file:
        file.write("one more\n")
    assert set(wrong(verify(capsys, "study_v1", "toy.h5", code=1))) == {"trials.csv"}


def test_an_old_model_whose_queries_are_missing_or_damaged_is_no_traceback(tmp_path):
    """Its metrics have no digest of them."""
    folder = tmp_path / "final"
    shutil.copytree(FIXTURE / "final", folder)
    assert not any(one.problem for one in check_model(folder, None))
    file = folder / "query_ap.npz"
    held = dict(np.load(file))
    numbers, one_way = io.BytesIO(), io.BytesIO()
    np.save(numbers, np.ones(3))
    np.savez(one_way, **{key: value for key, value in held.items() if key != "test_v2a"})
    for content, said in (
        (b"nothing", "cannot be read"),
        (file.read_bytes()[:-30], "cannot be read"),
        (numbers.getvalue(), "cannot be read"),
        (one_way.getvalue(), "lacks test_v2a"),
    ):
        file.write_bytes(content)
        assert said in " ".join(one.problem for one in check_model(folder, None))
    np.savez(file, **held | {"test_a2v": np.ones(3)})
    assert "is needed" in " ".join(one.problem for one in check_model(folder, None))
    file.unlink()
    found = check_model(folder, None)
    assert not any(one.problem for one in found)
    assert "query_ap.npz is missing" in [one.skipped for one in found]


def test_a_study_that_is_worked_on_is_left_alone(study, capsys):
    with study.locked():
        assert "is being worked on" in call(capsys, "verify", "one", "data.h5", code=2)


@pytest.mark.parametrize("name", ["final/model.safetensors", "final/metrics.json", "curves.jsonl", "repeats.jsonl"])
def test_a_byte_that_changes_a_value_is_found_wherever_it_is(study, name):
    draw, dataset = random.Random(name), toy_dataset()
    path = study.root / name
    whole, tried = path.read_bytes(), 0
    while tried < 50:
        content = bytearray(whole)
        at = draw.randrange(len(content))
        content[at] = draw.choice([byte for byte in range(32, 127) if byte != content[at]])
        if _same_values(name, whole, bytes(content)):
            continue
        tried += 1
        path.write_bytes(content)
        found = {one.file for one in verify_study(study, dataset) if not one.ok}
        assert found == {name}, (at, content[max(0, at - 20) : at + 20])


def test_a_damaged_name_of_the_digest_makes_no_file_of_before_there_were_any(study, capsys):
    study.metrics.write_bytes(study.metrics.read_bytes().replace(b'"sha256":', b'"sha257":'))
    assert wrong(verify(capsys, "one", "data.h5", code=1)).keys() == {"final/metrics.json"}


def _same_values(name, before, after):
    if name.endswith(".safetensors"):
        return False
    try:
        one, other = (
            [json.loads(line) for line in ([text] if name.endswith(".json") else text.splitlines())]
            for text in (before, after)
        )
    except ValueError:
        return False
    known = [{key: line.get(key) for key in old if key != "crc"} for line, old in zip(other, one, strict=True)]
    return known == [{key: value for key, value in old.items() if key != "crc"} for old in one]


def test_results_of_another_winner_are_found(study, capsys):
    """Every file of `final/` fits the others, but not the study: they are those of a trial retrained by hand."""
    shutil.rmtree(study.final)
    shutil.move(study.root / "retrained_trial_1", study.final)
    assert set(wrong(verify(capsys, "one", "data.h5", code=1))) == {"final/metrics.json", "final/model.safetensors"}


def test_other_files_that_are_made_again(study, capsys):
    for path, found in ((study.trials_csv, "trials.csv"), (study.best_yaml, "best.yaml")):
        text = path.read_text()
        path.write_text(text.replace("0.", "0.1", 1))
        assert set(wrong(verify(capsys, "one", "data.h5", code=1))) == {found}
        path.write_text(text)
    looks = study.scored.read_bytes()
    study.scored.unlink()
    assert set(wrong(verify(capsys, "one", "data.h5", code=1))) == {"final/metrics.json"}
    study.scored.write_bytes(looks)
    shutil.rmtree(study.root / "retrained_trial_1")
    study.query_ap.unlink()
    assert wrong(verify(capsys, "one", "data.h5", code=1)) == {"final/query_ap.npz": "it is missing"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda best: best.update(note=1), "note is 1; made again there is none"),
        (lambda best: best["finalists"][1].update(note="x"), "finalists[1].note is 'x'; made again there is none"),
        (lambda best: best["finalists"][0]["seeds"].insert(0, 0.5), "finalists[0].seeds is [0.5, "),
        (lambda best: best["finalists"][0].pop("seeds"), "finalists[0].seeds is missing; made again it is "),
        (lambda best: best["finalists"].pop(), "finalists is "),
        (lambda best: best["config"].update(margin=0.123), "config.margin is 0.123; made again it is "),
    ],
)
def test_whatever_differs_in_best_yaml_is_named_with_its_place(study, change, said):
    best = yaml.safe_load(study.best_yaml.read_text())
    change(best)
    study.best_yaml.write_text(yaml.safe_dump(best))
    (problem,) = [one.problem for one in verify_study(study, toy_dataset()) if not one.ok]
    assert problem.startswith(said)


def test_another_dataset_is_no_difference_of_the_files(study, capsys):
    write_toy(Path.cwd(), seed=9)
    assert set(wrong(verify(capsys, "one", "toy.h5", code=1))) >= {"study.yaml"}


def test_a_training_function_s_embeddings(workplace, capsys):
    call(capsys, *function_search("pass", "--trials", "3"))
    printed = call(capsys, "verify", "one", "--train", "mine:train", "--retrain")
    assert "no difference" in printed
    assert "final/test_embeddings.npz  trained once more" in printed


def test_a_bench_and_its_leaderboard(workplace, capsys):
    write_toy(workplace)
    words_of_bench = ["--methods", "triplet,cca", "--trials", "2", "--epochs", "2", "--seeds", "2"]
    call(capsys, "bench", "toy.h5", *words_of_bench, "--runner", "inline", "--gpus", "0", "--name", "board")
    assert verify(capsys, "board")["ok"]
    board = Path("results/board/leaderboard.md")
    now = board.read_text()
    words = {"audio-&gt;visual": "A to V", "visual-&gt;audio": "V to A", "other view": "other modality"}
    before = functools.reduce(lambda text, word: text.replace(word, words[word]), words, now)
    assert all(word in before for word in words.values())
    board.write_text(before)
    assert verify(capsys, "board")["ok"], "that an earlier version wrote"
    board.write_text(now)
    table = Path("results/board/leaderboard.csv")
    rows = [line.split(",") for line in table.read_text().splitlines()]
    (reference,) = (row for row in rows if row[1] == "classifiers (reference)")
    reference[rows[0].index("trials")] = "2"  # as earlier versions said of it, too
    for earlier in (rows[0].index("selected_on"), rows[0].index("problems") + 1):  # columns of earlier versions
        table.write_text("".join(",".join(row[:earlier]) + "\n" for row in rows))
        assert verify(capsys, "board")["ok"], "that an earlier version wrote"
    rows[1][rows[0].index("map")] = "0.5"
    table.write_text("".join(",".join(row[:earlier]) + "\n" for row in rows))
    assert set(wrong(verify(capsys, "board", code=1))) == {"leaderboard.csv"}
    call(capsys, "bench", "toy.h5", *words_of_bench, "--runner", "inline", "--gpus", "0", "--name", "board")
    files = [board.with_suffix(end) for end in (".md", ".html")]
    named = "configuration, epochs or seeds: triplet"
    assert not any(named in file.read_text() for file in files)
    call(capsys, "retrain", "results/board/triplet", "--trial", "0", "--epochs", "1", "--seeds", "1")
    assert all(named in file.read_text() for file in files), "a look is told by the leaderboard too"
    assert verify(capsys, "board")["ok"]
    board.write_text(board.read_text().replace("| 1 ", "| 2 ", 1) + "\n")
    assert set(wrong(verify(capsys, "board", code=1))) == {"leaderboard.md"}
