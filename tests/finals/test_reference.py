"""The reference row of a search: trained, counted, shown, verified, and not trained twice."""

import json
from dataclasses import replace

import numpy as np
import pytest
from command import call
from toy import SPACE, write_toy

import avtune.finals.reference as reference
from avtune.cli.main import main
from avtune.core.run_key import run_key
from avtune.methods import METHODS
from avtune.study.folder import StudyFolder
from avtune.study.results import read_results
from avtune.workflows.open_study import open_space

WITH = SPACE.replace("reference: none", "reference: classifiers").replace("trials: 5", "trials: 1")


def words(folder, *more, name="one"):
    return [
        "search", folder / "toy.h5", "--space", folder / "space.yaml", "--name", name,
        "--results", folder / "results", "--runner", "inline", "--gpus", "0", *more,
    ]  # fmt: skip


def small(monkeypatch):
    """A reference of few weights: the shipped space is for real data."""
    usual = reference.load

    def load(name, **more):
        assert name == "classifiers"
        return usual(name, **more, overrides=["space.hidden_dim=8", "space.batch_size=16", "space.lr=0.05"])

    monkeypatch.setattr(reference, "load", load)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished search with a reference."""
    folder = tmp_path_factory.mktemp("reference")
    write_toy(folder)
    (folder / "space.yaml").write_text(WITH)
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        assert main([str(word) for word in words(folder)]) == 0
    return folder


def metrics_of(folder, name="one"):
    return json.loads((folder / "results" / name / "final" / "metrics.json").read_text())


def test_the_row_is_in_the_results_the_table_the_card_and_the_report(done, capsys):
    metrics = metrics_of(done)
    assert metrics["reference_method"] == "classifiers"
    row = metrics["reference"]
    assert len(row["map"]["seeds"]) == 2
    assert row["epochs"] >= 1
    printed = call(capsys, *words(done))
    assert "reference: classifiers" in printed
    assert f"{row['map']['mean']:.4f}" in printed
    study = StudyFolder(done / "results" / "one")
    assert "| reference: classifiers |" in study.model_card.read_text()
    assert "The reference (classifiers, not tuned) scores" in study.report_html.read_text()


def test_its_scores_are_those_of_its_queries_and_it_beats_chance(done):
    study = StudyFolder(done / "results" / "one")
    with np.load(study.query_ap) as ap:
        mean = (ap["reference_a2v"].mean() + ap["reference_v2a"].mean()) / 2
    metrics = metrics_of(done)
    assert metrics["reference"]["map"]["mean"] == pytest.approx(mean)
    assert mean > metrics["untrained"]["map"]["mean"] + 0.1


def test_it_counts_as_a_look_once(done, capsys):
    study = StudyFolder(done / "results" / "one")
    lines = [json.loads(line) for line in study.scored.read_text().splitlines()]
    metrics = metrics_of(done)
    assert lines[0]["trial"] is None
    assert lines[0]["what"][2] == "classifiers"
    assert metrics["trial"] in [line["trial"] for line in lines[1:]]
    assert len(lines) == metrics["times_test_was_scored"] == metrics["scored_together"]
    assert "configurations of this study have been scored" not in call(capsys, *words(done))


def test_verify_makes_it_again(done, capsys, monkeypatch):
    small(monkeypatch)
    verify = ["verify", "one", "--results", done / "results"]
    assert "reference, made again from repeats.jsonl" in call(capsys, *verify)
    metrics = StudyFolder(done / "results" / "one").metrics
    before = metrics.read_text()
    try:
        from avtune.study.results import digest_of

        facts = json.loads(before)
        facts["reference"]["epochs"] += 1
        metrics.write_text(json.dumps({**facts, "sha256": digest_of(facts)}))
        assert main([str(word) for word in verify]) == 1
        assert "it is classifiers after" in capsys.readouterr().out
    finally:
        metrics.write_text(before)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("runs", [3, 5])
def test_a_kill_among_its_runs_costs_no_run_that_was_done(tmp_path, capsys, monkeypatch, done, runs):
    """The runs: 2 of the finalist, 2 of the default; 2 of the reference, and 2 of its retraining; 4 retrainings."""
    import avtune.finals.run_record as run_record

    small(monkeypatch)
    write_toy(tmp_path)
    (tmp_path / "space.yaml").write_text(WITH)
    append, written = run_record.append_line, []

    def until(path, line, **more):
        if len(written) == 2 + runs:
            raise Killed
        written.append(line["run"])
        append(path, line, **more)

    monkeypatch.setattr(run_record, "append_line", until)
    with pytest.raises(Killed):
        main([str(word) for word in words(tmp_path)])
    monkeypatch.setattr(run_record, "append_line", lambda path, line, **more: append(path, line, **more))
    call(capsys, *words(tmp_path))
    repeats = [json.loads(line)["run"] for line in (tmp_path / "results/one/repeats.jsonl").read_text().splitlines()]
    assert len(repeats) == len(set(repeats))
    whole, killed = (metrics_of(folder) for folder in (done, tmp_path))
    for name in ("test", "reference", "reference_method", "times_test_was_scored"):
        assert killed[name] == whole[name]


def test_one_that_fails_leaves_no_row_and_does_not_end_the_search(tmp_path, capsys, monkeypatch):
    small(monkeypatch)
    write_toy(tmp_path)
    (tmp_path / "space.yaml").write_text(WITH)

    def loss(self, *given):
        raise RuntimeError("no loss today")

    monkeypatch.setattr(METHODS["classifiers"], "loss", loss)
    call(capsys, *words(tmp_path))
    assert "reference" not in metrics_of(tmp_path)
    assert "the reference classifiers has no row" in (tmp_path / "results/one/log.txt").read_text()


def test_no_reference_leaves_it_out(tmp_path, capsys):
    write_toy(tmp_path)
    (tmp_path / "space.yaml").write_text(WITH)
    printed = call(capsys, *words(tmp_path, "--no-reference"))
    assert "classifiers" not in printed
    metrics = metrics_of(tmp_path)
    assert "reference" not in metrics
    assert metrics["times_test_was_scored"] == 1 + (not metrics.get("default_is_winner", False))


def test_a_study_of_the_method_itself_and_one_without_rows_have_none():
    from avtune.methods import hypers_of
    from avtune.space.files import load
    from avtune.study.horizon import Horizon

    known = {"hypers_of": hypers_of, "method_names": METHODS}
    assert reference.reference_horizon(Horizon(load("classifiers", **known), 100)) is None
    made = reference.reference_horizon(Horizon(load("psd", **known), 1330))
    assert made.space.fixed["hidden_dim"] == 512
    assert made.open
    closed = load("cca", **known, overrides=["early_stopping.epochs=1"])
    assert reference.reference_horizon(Horizon(closed)) is None, "an old study: its rows are not known"
    assert reference.reference_horizon(Horizon(closed, 100)).open, "one epoch is what a closed form needs"
    ten = load("triplet", **known, overrides=["early_stopping.epochs=10"])
    assert reference.reference_horizon(Horizon(ten, 100)).epochs({"batch_size": 10}) == 10


def test_its_runs_have_names_of_their_own(done):
    assert len({run_key(trial) for trial in _runs(done)}) == 2


def _runs(done):
    from avtune.data import load
    from avtune.workflows.open_study import open_space, open_study

    folder = StudyFolder(done / "results" / "one")
    dataset = load(str(done / "toy.h5"))
    study = open_study(folder, open_space(folder), dataset)
    study.close()
    seen = []

    def do(trials):
        seen.extend(trials)
        from avtune.finals.run_record import Result

        return [Result({1: 0.5}, 1.0) for _ in trials]

    reference.repeat_reference(reference.reference_horizon(study.horizon), dataset, study.precision, do)
    return seen


def _names(dataset, *overrides, older=False, do=None):
    from avtune.finals.run_record import Result
    from avtune.methods import hypers_of
    from avtune.space.files import load
    from avtune.study.horizon import Horizon

    given = ["final.seeds=1", "early_stopping.epochs=1", *overrides]
    space = load("psd", hypers_of=hypers_of, method_names=METHODS, overrides=given)
    horizon, seen = Horizon(space, 100), []

    def note(trials):
        seen.extend(trials)
        return [Result({1: 0.5}, 1.0) for _ in trials]

    reference.repeat_reference(reference.reference_horizon(horizon), dataset, "fp32", note, older=older)
    return horizon, seen


def test_the_rows_of_its_validation_have_a_part_in_the_names_of_its_runs():
    from types import SimpleNamespace

    from avtune.core.run_key import search_basis

    data = SimpleNamespace(digest="d")
    ways = [(), ("validation.equal_rows=together",), ("validation.split=given",), ("search.objective=ndcg",)]
    bases = [_names(data, *way)[1][0].basis for way in ways]
    assert len(set(bases)) == len(ways)
    assert bases[0] == search_basis("d", 0.2, None, 0), "studies without either keep their names"
    assert bases[3] == search_basis("d", 0.2, None, 0, "", "ndcg")
    assert _names(data, *ways[1], older=True)[1][0].basis == bases[0]


def test_verify_takes_runs_by_the_names_that_they_had_before(done, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from avtune.core.files import append_line
    from avtune.data import load
    from avtune.workflows.verify_reference import check_reference

    small(monkeypatch)
    dataset, folder = load(str(done / "toy.h5")), StudyFolder(tmp_path)
    horizon, runs = _names(dataset, "validation.equal_rows=together", older=True)
    for run in runs:
        append_line(folder.repeats, {"run": run_key(run), "curve": {1: 0.5}, "seconds": 1.0})
    results = SimpleNamespace(reference=SimpleNamespace(epochs=1), reference_method="classifiers")
    study = SimpleNamespace(horizon=horizon, precision="fp32")
    (found,) = check_reference(folder, study, dataset, results, "validation")
    assert found.problem == ""


def test_the_default_configuration_counts_as_a_look_where_it_is_another(tmp_path, capsys):
    write_toy(tmp_path)
    (tmp_path / "space.yaml").write_text(WITH)
    point = tmp_path / "point.yaml"
    point.write_text("{lr: 0.05, margin: 0.9}")
    printed = call(capsys, *words(tmp_path, "--start", point))
    study, metrics = StudyFolder(tmp_path / "results/one"), metrics_of(tmp_path)
    default = open_space(study).defaults()
    configs = [dict(json.loads(line)["what"][0]) for line in study.scored.read_text().splitlines()]
    assert "default" in metrics
    assert configs.count(default) == 1
    assert len(configs) == metrics["times_test_was_scored"] == metrics["scored_together"]
    assert "have been scored on its test split" not in printed, "no more than one search scores"
    results = read_results(study)
    assert results.further_looks == 0
    assert replace(results, times_test_was_scored=len(configs) + 1).further_looks == 1
    old = replace(results, scored_together=None, times_test_was_scored=3)  # of before: winner, reference and one more
    assert old.further_looks == 1
    assert "no difference" in call(capsys, "verify", "one", "--results", tmp_path / "results")
