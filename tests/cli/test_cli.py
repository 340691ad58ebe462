"""The command line on a toy dataset, in this process and without Ray. Long: every verb is here once."""

import contextlib
import csv
import json
import re
import shutil
import signal

import numpy as np
import pytest
import yaml
from slow_scores import slow_average_precision
from toy import SPACE, toy_dataset, write_toy

from avtune.cli import main as cli
from avtune.cli.main import main
from avtune.core.errors import UserError
from avtune.data.formats import write_hdf5


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished search."""
    folder = tmp_path_factory.mktemp("done")
    data, space = write_toy(folder)
    where = ["--name", "one", "--results", str(folder / "results")]
    code = main(["search", str(data), "--space", str(space), *where, "--runner", "inline", "--gpus", "0"])
    assert code == 0
    return folder


def call(capsys, *words, code=0):
    """Runs a command; returns what it printed, or the error lines when it fails."""
    assert main([str(word) for word in words]) == code
    captured = capsys.readouterr()
    if code:
        lines = captured.err.strip().splitlines()
        assert 1 <= len(lines) <= 2, captured.err
        assert lines[0].startswith("avtune: ")
        assert "Traceback" not in captured.err
        return captured.err
    return captured.out


def search(folder, *words):
    data, space = folder / "toy.h5", folder / "space.yaml"
    return [
        "search",
        data,
        "--space",
        space,
        "--results",
        folder / "results",
        "--runner",
        "inline",
        "--gpus",
        "0",
        *words,
    ]


def test_a_search_leaves_everything_that_the_design_lists(done):
    study = done / "results" / "one"
    for name in [
        "study.yaml",
        "environment.json",
        "journal.log",
        "curves.jsonl",
        "trials.csv",
        "tensorboard",
        "best.yaml",
        "report.html",
        "final/model.safetensors",
        "final/config.yaml",
        "final/metrics.json",
        "final/by_class.json",
        "final/MODEL_CARD.md",
    ]:
        assert (study / name).exists(), name
    assert not (study / "final" / "seeds").exists(), "the other seeds' weights are gone"


def test_metrics_have_means_and_intervals_and_references(done):
    metrics = json.loads((done / "results" / "one" / "final" / "metrics.json").read_text())
    for row in ("test", "default", "untrained"):
        for name in ("map", "map_a2v", "map_v2a", "map_running"):
            value = metrics[row][name]
            assert len(value["seeds"]) == 2
            assert value["mean"] == pytest.approx(np.mean(value["seeds"]))
            assert value["ci95"][0] <= value["mean"] <= value["ci95"][1]
    assert metrics["test"]["map"]["mean"] > metrics["untrained"]["map"]["mean"] + 0.2
    assert metrics["times_test_was_scored"] == metrics["scored_together"] == 1 + ("default_is_winner" not in metrics)


def test_status_without_a_study_lists_all_of_them(done, tmp_path, capsys):
    shutil.copytree(done / "results" / "one", tmp_path / "sound")
    shutil.copytree(done / "results" / "one", tmp_path / "broken")
    (tmp_path / "broken" / "study.yaml").write_text("space: [")
    shutil.rmtree(tmp_path / "sound" / "final")
    printed = call(capsys, "status", "--results", tmp_path).splitlines()
    assert " ".join(printed[0].split()) == "study dataset method state trials val MAP test MAP changed"
    assert printed[1].split()[:5] == ["sound", "toy", "triplet", "interrupted", "5/5"]
    assert printed[1].endswith(" s ago")
    assert printed[2].startswith("broken: ")
    assert "study.yaml" in printed[2]
    listed = json.loads(call(capsys, "status", "--results", done / "results", "--json"))
    assert [(one["study"], one["state"], one["running"]) for one in listed] == [("one", "finished", None)]
    assert "no studies in" in call(capsys, "status", "--results", tmp_path / "empty")


def test_the_average_precision_of_every_query_is_kept(done):
    final = done / "results" / "one" / "final"
    metrics = json.loads((final / "metrics.json").read_text())
    with np.load(final / "query_ap.npz") as kept:
        assert kept["test_a2v"].shape == (2, 24)
        for way in ("a2v", "v2a"):
            assert kept[f"test_{way}"].mean(1) == pytest.approx(metrics["test"][f"map_{way}"]["seeds"])


def test_best_yaml_and_trials_csv_agree(done):
    study = done / "results" / "one"
    best = yaml.safe_load((study / "best.yaml").read_text())
    with (study / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    row = rows[best["trial"]]
    assert row["state"] in ("COMPLETE", "PRUNED")
    assert (int(row["best_epoch"]), float(row["val_map"])) == (best["epoch"], pytest.approx(best["val_map"], abs=1e-6))
    for name, value in best["config"].items():
        assert row[name] == str(value)


def test_the_report_stands_alone_and_shows_the_scores(done):
    page = (done / "results" / "one" / "report.html").read_text()
    metrics = json.loads((done / "results" / "one" / "final" / "metrics.json").read_text())
    assert f"{metrics['test']['map']['mean']:.4f}" in page
    assert "default-src 'none'" in page
    assert not re.search(
        r"<script[^>]* src=|<(link|img|iframe)", re.sub(r"(<script[^>]*>).*?</script>", r"\1", page, flags=re.S)
    )


def test_the_same_command_shows_a_finished_study_again(done, capsys):
    before = (done / "results" / "one" / "final" / "metrics.json").read_text()
    printed = call(capsys, *search(done, "--name", "one"))
    assert "finished" in printed
    assert "retrained winner" in printed
    assert (done / "results" / "one" / "final" / "metrics.json").read_text() == before


def test_status_of_a_finished_study(done, capsys):
    files = list((done / "results" / "one").rglob("*"))
    before = [path.stat().st_mtime_ns for path in files]
    printed = call(capsys, "status", "one", "--results", done / "results")
    assert [path.stat().st_mtime_ns for path in files] == before
    assert "running now" not in printed
    assert "trials     5 of 5 ended" in printed
    assert "retrained winner" in printed
    facts = json.loads(call(capsys, "status", "one", "--results", done / "results", "--json"))
    assert facts["finished"]
    assert sum(facts["states"].values()) == 5


def test_evaluate_scores_the_model_as_the_search_did(done, capsys):
    facts = json.loads(
        call(capsys, "evaluate", "one", done / "toy.h5", "--results", done / "results", "--json", "--curve")
    )
    metrics = json.loads((done / "results" / "one" / "final" / "metrics.json").read_text())
    assert facts["map"] == pytest.approx(metrics["test"]["map"]["seeds"][0], abs=1e-9)
    assert facts["map_running"] == pytest.approx(metrics["test"]["map_running"]["seeds"][0], abs=1e-9)
    assert len(facts["curve"]["levels"]) == 101
    said = call(capsys, "evaluate", done / "results" / "one" / "final", done / "toy.h5", "--at", "1,3")
    assert re.search(r"\naudio->visual +\d\.\d{4}\n", said)


def test_embed_writes_what_evaluate_reads(done, capsys, tmp_path):
    out = tmp_path / "e.npz"
    call(capsys, "embed", "one", done / "toy.h5", "--results", done / "results", "--out", out)
    from_file = json.loads(call(capsys, "evaluate", "--embeddings", out, "--json"))
    from_model = json.loads(call(capsys, "evaluate", "one", done / "toy.h5", "--results", done / "results", "--json"))
    assert from_file == from_model
    assert "exists" in call(
        capsys, "embed", "one", done / "toy.h5", "--results", done / "results", "--out", out, code=2
    )


def test_embed_writes_csv(done, capsys, tmp_path):
    words = ["embed", "one", done / "toy.h5", "--results", done / "results", "--out"]
    for name in ("e.npz", "e.CSV"):
        call(capsys, *words, tmp_path / name)
    with (tmp_path / "e.CSV").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["clip", "label", *(f"audio_{at}" for at in range(4)), *(f"visual_{at}" for at in range(4))]
    with np.load(tmp_path / "e.npz") as kept:
        assert [row[0] for row in rows] == [str(clip) for clip in range(24)]
        assert np.array([row[1] for row in rows], np.int64).tolist() == kept["labels"].tolist()
        numbers = np.array([row[2:] for row in rows], np.float32)
        np.testing.assert_array_equal(numbers, np.concatenate([kept["audio"], kept["visual"]], axis=1))


@pytest.mark.parametrize("name", ["e.pkl", "e.h5", "e", "e.npz.gz"])
def test_embed_writes_no_other_format(name, done, capsys, tmp_path):
    words = ["embed", "one", done / "toy.h5", "--results", done / "results", "--out", tmp_path / name]
    assert "allowed: .csv, .npy, .npz or .parquet" in call(capsys, *words, code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["my features (v2)", ".hidden", "Gefühle", "x" * 110])
def test_a_study_gets_a_legal_name_from_any_file(name, tmp_path, capsys):
    write_toy(tmp_path)
    data = (tmp_path / "toy.h5").rename(tmp_path / f"{name}.h5")
    words = search(tmp_path, "--trials", "1")
    words[1] = data
    printed = call(capsys, *words)
    (study,) = (tmp_path / "results").iterdir()
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", study.name)
    assert f"study      {study}\n" in printed
    assert "finished" in call(capsys, *words), "and the same one again"


def test_two_files_of_one_made_name_are_told_apart(tmp_path, capsys):
    write_toy(tmp_path)
    first = (tmp_path / "toy.h5").rename(tmp_path / "my toy.h5")
    write_toy(tmp_path, seed=5)
    second = (tmp_path / "toy.h5").rename(tmp_path / "my-toy.h5")
    words = search(tmp_path, "--trials", "1")
    words[1] = first
    call(capsys, *words)
    words[1] = second
    refused = call(capsys, *words, code=2)
    assert "dataset content" in refused
    assert "(my toy)" in refused
    assert "add --name my-toy-2" in refused


def test_curves_and_bench_take_such_files_too(tmp_path, capsys):
    write_toy(tmp_path)
    data = (tmp_path / "toy.h5").rename(tmp_path / "my toy.h5")
    where = ["--results", tmp_path / "results", "--runner", "inline", "--gpus", "0", "--epochs", "1", "--seeds", "1"]
    call(capsys, "curves", data, "--methods", "triplet", "--mining", "all", *where)
    call(capsys, "bench", data, "--methods", "cca", "--trials", "1", *where)
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["bench-my-toy", "curves-my-toy"]


def test_too_few_clips_name_the_setting_that_helps(tmp_path, capsys):
    write_toy(tmp_path, classes=20)
    words = search(tmp_path, "--trials", "1", "--set", "validation.fraction=0.1")
    refused = call(capsys, *words, code=2)
    found = re.search(r"--set (validation\.fraction=[0-9.]+), or --set validation\.folds=3, or merge classes", refused)
    call(capsys, *words, "--set", found[1])
    bench = call(capsys, "bench", *words[1:2], "--methods", "cca", *words[4:8], code=2)
    assert "--set" not in bench
    assert "merge classes or add clips" in bench


def slow_map(audio, visual, labels):
    """The plain double loop."""
    unit = [view / np.linalg.norm(view, axis=1, keepdims=True) for view in (audio, visual)]
    total = 0.0
    for queries, gallery in (unit, unit[::-1]):
        ap, _ = slow_average_precision((queries @ gallery.T).round(11), labels, labels)
        total += ap.mean()
    return total / 2


@pytest.mark.parametrize("kind", ["random", "tied"])
def test_evaluate_embeddings_is_the_double_loop(kind, capsys, tmp_path):
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 4, 60)
    views = [draw.normal(size=(60, 5)) for _ in range(2)]
    if kind == "tied":
        views = [np.round(view[:, :2]) + np.array([0.0, 3.0]) for view in views]
    np.savez(tmp_path / "e.npz", audio=views[0], visual=views[1], labels=labels)
    facts = json.loads(call(capsys, "evaluate", "--embeddings", tmp_path / "e.npz", "--json"))
    assert facts["map"] == pytest.approx(slow_map(*views, labels), abs=1e-6)


def test_embeddings_that_collapsed_score_alike_in_any_order_of_the_file(capsys, tmp_path):
    found = []
    labels = np.arange(150) // 10
    for number, order in enumerate((labels, np.arange(150) % 15, np.random.default_rng(0).permutation(labels))):
        file = tmp_path / f"{number}.npz"
        np.savez(file, audio=np.ones((150, 8)), visual=np.ones((150, 8)), labels=order)
        found.append(json.loads(call(capsys, "evaluate", "--embeddings", file, "--json", "--curve")))
    assert found[0] == found[1] == found[2]
    assert found[0]["map"] == pytest.approx(0.0954, abs=5e-5)
    assert found[0]["tied_queries"] == 1
    assert found[0]["at"][0]["precision_a2v"] == pytest.approx(10 / 150)
    printed = call(capsys, "evaluate", "--embeddings", file)
    assert "100 % of the queries have ties; their scores are means over the orders" in printed


def test_ties_on_the_test_split_are_said_wherever_its_scores_are(capsys, done, tmp_path):
    dataset = toy_dataset()
    for view in (dataset.test.audio, dataset.test.visual):
        view[1] = view[0]  # clips of two classes
    write_hdf5(dataset, tmp_path / "toy.h5")
    (tmp_path / "space.yaml").write_text(SPACE)
    printed = call(capsys, *search(tmp_path, "--name", "one", "--trials", "2"))
    folder = tmp_path / "results" / "one"
    # 16 of the 24 clips are of the two classes.
    assert json.loads((folder / "final" / "metrics.json").read_text())["tied_queries"] == pytest.approx(2 / 3)
    said = "66.7 % of the queries have ties; their scores are means over the orders"
    for text in (printed, (folder / "report.html").read_text(), (folder / "final" / "MODEL_CARD.md").read_text()):
        assert said in text
    assert "have ties" not in (done / "results" / "one" / "report.html").read_text()
    assert "tied_queries" not in json.loads((done / "results" / "one" / "final" / "metrics.json").read_text())


def test_retrain_another_trial(done, capsys, tmp_path):
    out = tmp_path / "again"
    words = ["retrain", "one", "--results", done / "results", "--trial", "0", "--epochs", "2", "--seeds", "3"]
    killed = done / "results" / "one" / ".retrained_trial_0-abc_1234"
    killed.mkdir()
    printed = call(capsys, *words, "--out", out, "--runner", "inline", "--gpus", "0")
    assert "retrained" in printed
    assert not killed.exists(), "what a kill left of another one"
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["trial"], metrics["epochs"], len(metrics["seeds"])) == (0, 2, 3)
    of_search = json.loads((done / "results" / "one" / "final" / "metrics.json").read_text())["scored_together"]
    assert metrics["times_test_was_scored"] == of_search + 1, "what the search scored, and this one"
    assert "chosen by hand" in printed
    card = (out / "MODEL_CARD.md").read_text()
    assert "retrained trial 0" in card
    assert "winner" not in card
    assert "map" in call(capsys, "evaluate", out, done / "toy.h5")
    assert "exists" in call(capsys, *words, "--out", out, code=2)


def test_a_refused_retrain_changes_nothing(tmp_path, capsys):
    """Also where a kill left no trials.csv, which a study that is opened to be changed gets."""
    write_toy(tmp_path)
    call(capsys, *search(tmp_path, "--name", "one", "--trials", "1"))
    study = tmp_path / "results" / "one"
    (study / "trials.csv").unlink()

    def held():
        """But for the lock, which says who held it last."""
        return {path: path.read_bytes() for path in study.rglob("*") if path.is_file() and path.name != "lock"}

    before = held()
    words = ["retrain", "one", "--results", tmp_path / "results", "--runner", "inline", "--gpus", "0"]
    assert "has the trials 0 to 0" in call(capsys, *words, "--trial", "99", code=2)
    assert "--epochs is 0" in call(capsys, *words, "--trial", "0", "--epochs", "0", code=2)
    assert "--seeds is 0" in call(capsys, *words, "--trial", "0", "--seeds", "0", code=2)
    assert "exists" in call(capsys, *words, "--trial", "0", "--out", study / "final", code=2)
    assert held() == before


def test_more_trials_continue_a_study(tmp_path, capsys):
    write_toy(tmp_path)
    call(capsys, *search(tmp_path, "--name", "one", "--trials", "3"))
    printed = call(capsys, *search(tmp_path, "--name", "one", "--trials", "6"))
    assert "continues" in printed
    assert "continues" in printed
    settings = yaml.safe_load((tmp_path / "results" / "one" / "study.yaml").read_text())
    assert settings["changes"] == ["search.trials: 3 -> 6"]


def test_the_test_split_counts_once_for_each_configuration_scored(tmp_path, capsys):
    write_toy(tmp_path)
    final = tmp_path / "results" / "one" / "final"
    call(capsys, *search(tmp_path, "--name", "one", "--trials", "3"))
    first = json.loads((final / "metrics.json").read_text())
    (final / "metrics.json").unlink()
    call(capsys, *search(tmp_path, "--name", "one", "--trials", "3"))
    again = json.loads((final / "metrics.json").read_text())
    assert again["test"] == first["test"], "the same winner trained the same way is no second look"
    assert again["times_test_was_scored"] == first["times_test_was_scored"]
    words = ["retrain", "one", "--results", tmp_path / "results", "--runner", "inline", "--gpus", "0", "--seeds", "3"]
    call(capsys, *words, "--out", tmp_path / "other")
    assert json.loads((tmp_path / "other" / "metrics.json").read_text())["times_test_was_scored"] == (
        first["times_test_was_scored"] + 1
    )


def test_continuing_with_other_settings_is_refused_with_the_difference(done, capsys):
    printed = call(capsys, *search(done, "--name", "one", "--set", "search.seed=7"), code=2)
    assert "search.seed: 1 -> 7" in printed
    printed = call(capsys, *search(done, "--name", "one", "--set", "space.margin.high=0.9"), code=2)
    assert "margin" in printed
    printed = call(capsys, *search(done, "--name", "one", "--trials", "2"), code=2)
    assert "search.trials: 5 -> 2" in printed


def test_other_data_under_the_same_name_is_refused(done, capsys, tmp_path):
    write_toy(tmp_path, seed=5)
    words = search(done, "--name", "one")
    words[1] = tmp_path / "toy.h5"
    assert "dataset content" in call(capsys, *words, code=2)


def test_an_interrupted_search_continues(tmp_path, capsys, monkeypatch):
    import avtune.runners.work as work

    write_toy(tmp_path)
    train, calls = work.train, []

    def interrupted(*arguments, **more):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **more)

    monkeypatch.setattr(work, "train", interrupted)
    assert main([str(word) for word in search(tmp_path, "--name", "one")]) == 130
    assert "continues" in capsys.readouterr().err
    assert (tmp_path / "results" / "one" / "report.html").exists()
    assert "interrupted; to continue: avtune search " in call(
        capsys, "status", "one", "--results", tmp_path / "results"
    )
    call(capsys, *search(tmp_path, "--name", "one"))
    metrics = json.loads((tmp_path / "results" / "one" / "final" / "metrics.json").read_text())
    whole = tmp_path / "whole"
    whole.mkdir()
    write_toy(whole)
    call(capsys, *search(whole, "--name", "one"))
    undisturbed = json.loads((whole / "results" / "one" / "final" / "metrics.json").read_text())
    assert metrics["test"] == undisturbed["test"]


def test_a_study_whose_every_trial_fails_says_the_first_cause(tmp_path, capsys, monkeypatch):
    import avtune.runners.work as work

    def broken(*arguments, **more):
        raise RuntimeError("the sky fell")

    write_toy(tmp_path)
    monkeypatch.setattr(work, "train", broken)
    printed = call(capsys, *search(tmp_path, "--name", "one"), code=1)
    assert "every trial failed" in printed
    assert "the sky fell" in printed
    assert "Traceback" in (tmp_path / "results" / "one" / "log.txt").read_text()


def test_after_a_sigterm_what_fails_meanwhile_is_no_mistake_of_ours(capsys, monkeypatch):
    """A job scheduler ends all processes of a job: Ray's errors about its own may come before the interrupt does."""

    def loses_the_interrupt(given, log):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("a process of Ray's has gone")

    monkeypatch.setitem(cli._VERBS, "doctor", loses_the_interrupt)
    assert main(["doctor"]) == 143
    assert capsys.readouterr().err == "avtune: terminated; the same command continues\n"


SIGNALS = {signal.SIGTERM: "terminated", signal.SIGHUP: "the terminal has gone (SIGHUP)"}
SIGNALS |= {signal.SIGUSR1: "ended by SIGUSR1", signal.SIGINT: "interrupted"}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_command_in_order(number, capsys, monkeypatch):
    ended = []

    def working(given, log):
        try:
            signal.raise_signal(number)
        finally:
            ended.append(True)

    monkeypatch.setitem(cli._VERBS, "doctor", working)
    before = [
        signal.signal(one, signal.default_int_handler if one == signal.SIGINT else signal.SIG_DFL) for one in SIGNALS
    ]
    try:
        assert main(["doctor"]) == 128 + number
        assert [signal.getsignal(one) for one in SIGNALS] == [signal.SIG_DFL] * 3 + [signal.default_int_handler]
    finally:
        for one, handler in zip(SIGNALS, before, strict=True):
            signal.signal(one, handler)
    assert ended
    assert capsys.readouterr().err == f"avtune: {SIGNALS[number]}; the same command continues\n"


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    """As `nohup` has it."""

    def working(given, log):
        signal.raise_signal(signal.SIGHUP)
        return 0

    monkeypatch.setitem(cli._VERBS, "doctor", working)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["doctor"]) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_has_gone_changes_no_exit_code(monkeypatch, tmp_path):
    def gone(*words, **more):
        raise OSError(5, "Input/output error")

    moved = []
    monkeypatch.setattr("avtune.core.streams.error", gone)
    monkeypatch.setattr(cli.os, "dup2", lambda *handles: moved.append(handles))
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored, where the tests run under nohup
    with contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGHUP, before)
        out = stack.enter_context((tmp_path / "out").open("w"))
        monkeypatch.setattr(cli.sys, "stdout", out)
        monkeypatch.setattr(cli.sys, "stderr", out)
        monkeypatch.setitem(cli._VERBS, "doctor", lambda given, log: signal.raise_signal(signal.SIGHUP))
        assert main(["doctor"]) == 129
    assert len(moved) == 2


def test_our_own_mistakes_exit_with_1_and_a_traceback_in_the_log(tmp_path, capsys, monkeypatch):
    import avtune.workflows.search

    write_toy(tmp_path)
    monkeypatch.setattr(avtune.workflows.search, "finish", lambda *arguments: 1 / 0)
    printed = call(capsys, *search(tmp_path, "--name", "one"), code=1)
    assert "ZeroDivisionError" in printed
    assert "Traceback" in (tmp_path / "results" / "one" / "log.txt").read_text()


def broken_data(folder, kind):
    """A dataset with one fault; returns its path."""
    whole = toy_dataset()
    arrays = {
        "audio_train": whole.train.audio,
        "visual_train": whole.train.visual,
        "lab_train": whole.train.labels,
        "audio_test": whole.test.audio,
        "visual_test": whole.test.visual,
        "lab_test": whole.test.labels,
    }
    if kind == "missing key":
        del arrays["visual_train"]
    elif kind == "NaN":
        arrays["audio_train"][5, 3] = np.nan
    elif kind == "labels":
        arrays["lab_train"] = arrays["lab_train"][:-4]
    elif kind == "one clip":
        arrays["lab_train"] = np.where(np.arange(60) == 59, 7, arrays["lab_train"])
    np.savez(folder / "broken.npz", **arrays)
    return folder / "broken.npz"


@pytest.mark.parametrize(
    ("kind", "said"),
    [("missing key", "visual_train"), ("NaN", "NaN"), ("labels", "lab_train"), ("one clip", "too few clips")],
)
def test_bad_data_leaves_two_helpful_lines_and_no_study(kind, said, tmp_path, capsys):
    words = search(tmp_path)
    words[1] = broken_data(tmp_path, kind)
    (tmp_path / "space.yaml").write_text(SPACE)
    assert said.lower() in call(capsys, *words, code=2).lower()
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "vegass"], "did you mean 'vegas'"),
        (["search", "no/such/file.h5"], "no/such/file.h5"),
        (["search", "demo", "--space", "nope"], "nope"),
        (["search", "demo", "--set", "search.trails=3"], "did you mean 'trials'"),
        (["search", "demo", "--trials", "0"], "search.trials"),
        (["search", "demo", "--trials", "many"], "many"),
        (["search", "demo", "--runner", "inlin"], "did you mean 'inline'"),
        (["search", "demo", "--gpus", "99"], "--gpus is 99"),
        (["search", "demo", "--gpus", "0", "--trials-per-gpu", "2"], "needs a GPU"),
        (
            ["search", "demo", "--gpus", "0", "--precision", "tf32"],
            "and this search uses none; allowed: bf16 or fp32",
        ),
        (["search", "demo", "--gpus", "0", "--precision", "fp23"], "allowed: bf16, tf32 or fp32"),
        (["search", "demo", "--gpus", "0", "--keep", "-1"], "--keep is -1; allowed: a whole number from 0"),
        (["search", "demo", "--name", "../up"], "--name"),
        (["search", "demo", "--sete", "a=1"], "--sete is no option of avtune search; did you mean '--set'"),
        (["data", "info", "demo", "--jsn"], "did you mean '--json'"),
        (["serch", "demo"], "did you mean 'search'"),
        (["space", "chek", "demo"], "did you mean 'check'"),
        (["status", "nothing"], "no study is called"),
        (["methods", "psdd"], "did you mean 'psd'"),
        (["evaluate"], "--embeddings"),
        (["evaluate", "nothing", "demo"], "nothing"),
        (["evaluate", "--embeddings", "no.npz", "--at", "0"], "--at"),
        (["evaluate", "--embeddings", "no.npz"], "does not exist"),
        (["tensorboard", "nothing"], "no study"),
        ([], "VERB"),
    ],
)
def test_wrong_words_get_two_helpful_lines(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in call(capsys, *words, code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"audio": np.ones((3, 2)), "visual": np.ones((3, 2))}, "labels"),
        ({"audio": np.ones((3, 2)), "visual": np.ones((3, 3)), "labels": np.arange(3)}, "do not match"),
        ({"audio": np.ones((3, 2)), "visual": np.ones((2, 2)), "labels": np.arange(3)}, "do not match"),
        ({"audio": np.full((3, 2), np.nan), "visual": np.ones((3, 2)), "labels": np.arange(3)}, "NaN"),
        ({"audio": np.ones((3, 2)), "visual": np.ones((3, 2)), "labels": np.ones(3) / 2}, "labels"),
        ({"audio": np.array(["a", "b", "c"]), "visual": np.ones((3, 2)), "labels": np.arange(3)}, "audio"),
        ({"audio": np.ones((0, 2)), "visual": np.ones((0, 2)), "labels": np.arange(0)}, "no clips"),
    ],
)
def test_bad_embeddings_are_refused(arrays, said, tmp_path, capsys):
    np.savez(tmp_path / "e.npz", **arrays)
    assert said in call(capsys, "evaluate", "--embeddings", tmp_path / "e.npz", code=2)


def test_damaged_embeddings_are_refused(tmp_path, capsys):
    np.savez(tmp_path / "e.npz", audio=np.ones((30, 2)), visual=np.ones((30, 2)), labels=np.arange(30))
    data = (tmp_path / "e.npz").read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 3):
        (tmp_path / "e.npz").write_bytes(data[:cut])
        assert "npz" in call(capsys, "evaluate", "--embeddings", tmp_path / "e.npz", code=2)


def test_damaged_models_are_refused(done, tmp_path, capsys):
    import shutil

    good = done / "results" / "one" / "final"
    weights, config = (good / "model.safetensors").read_bytes(), (good / "config.yaml").read_text()

    def attempt(new_weights, new_config):
        shutil.rmtree(tmp_path / "m", ignore_errors=True)
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "model.safetensors").write_bytes(new_weights)
        (tmp_path / "m" / "config.yaml").write_text(new_config)
        return call(capsys, "evaluate", tmp_path / "m", done / "toy.h5", code=2)

    assert "safetensors" in attempt(weights[: len(weights) // 2], config)
    assert "safetensors" in attempt(b"", config)
    assert "is damaged" in attempt(weights, "")
    assert "cannot be read" in attempt(weights, "method: [")
    assert "do not fit" in attempt(weights, config.replace("hidden_dim: 8", "hidden_dim: 9"))
    assert "do not fit" in attempt(weights, config.replace("hidden_dim: 8", "hidden_dim: 16384"))
    assert "did you mean 'triplet'" in attempt(weights, config.replace("method: triplet", "method: triplett"))
    assert "legal" not in attempt(weights, config.replace("margin:", "margn:"))


def test_a_model_for_other_features_is_refused(done, tmp_path, capsys):
    write_toy(tmp_path, dims=(10, 8))
    printed = call(capsys, "evaluate", "one", tmp_path / "toy.h5", "--results", done / "results", code=2)
    assert "8 dimensions; this model takes 7" in printed


def test_space_verbs(capsys, tmp_path):
    assert "searches" in call(capsys, "space", "check", "demo")
    shown = call(capsys, "space", "show", "ave", "--set", "search.trials=7")
    assert "trials: 7" in shown
    (tmp_path / "s.yaml").write_text(shown)
    assert call(capsys, "space", "show", tmp_path / "s.yaml") == shown
    assert {"demo", "ave", "vegas", "psd"} <= set(call(capsys, "space", "list").split())


@pytest.mark.parametrize("name", ["demo", "ave", "vegas", "psd"])
def test_the_spaces_that_come_with_avtune_are_legal_and_hold_the_defaults(name, capsys):
    printed = call(capsys, "space", "check", name)
    assert "note:" not in printed
    assert "margin" in printed


def test_methods_verbs(capsys):
    assert "psd" in call(capsys, "methods")
    printed = call(capsys, "methods", "psd")
    for word in ("margin", "r_shrink", "reading", "semihard"):
        assert word in printed


def test_data_verbs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVTUNE_DATA", raising=False)
    data, _ = write_toy(tmp_path)
    printed = call(capsys, "data", "info", data)
    assert "60 training and 24 test clips, 3 classes, audio 10-d, visual 7-d" in printed
    facts = json.loads(call(capsys, "data", "info", data, "--json"))
    assert facts["classes"][0] == {"name": "class 0", "train": 20, "test": 8}
    call(capsys, "data", "convert", data, tmp_path / "copy.h5")
    again = json.loads(call(capsys, "data", "info", tmp_path / "copy.h5", "--json"))
    assert again["digest"] == facts["digest"]
    assert "exists" in call(capsys, "data", "convert", data, tmp_path / "copy.h5", code=2)
    assert "allowed endings: .h5 or .hdf5" in call(capsys, "data", "convert", data, tmp_path / "copy.npz", code=2)
    assert "vegas_feature_norm.h5" in call(capsys, "data", "list")


def test_folds_train_every_fold(tmp_path, capsys):
    write_toy(tmp_path)
    call(capsys, *search(tmp_path, "--name", "one", "--trials", "2", "--set", "validation.folds=3"))
    assert (
        json.loads((tmp_path / "results" / "one" / "final" / "metrics.json").read_text())["test"]["map"]["mean"] > 0.6
    )


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert re.fullmatch(r"avtune \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_an_error_after_a_signal_has_the_code_of_the_signal(monkeypatch, capsys):
    """It is what ended meanwhile, e.g. Ray; a job of SLURM is not queued again after the code 2."""

    def ended(given, log):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise UserError("Ray has gone")

    monkeypatch.setitem(cli._VERBS, "status", ended)
    assert main(["status"]) == 128 + signal.SIGTERM
    said = capsys.readouterr().err
    assert "Ray has gone" in said
    assert "terminated; the same command continues" in said
