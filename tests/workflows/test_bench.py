"""`avtune bench` on a toy dataset, in this process and without Ray. Long: one finished bench, made once, serves most of
its tests."""

import csv
import html
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations

import numpy as np
import pytest
import yaml
from command import call
from hypothesis import given, settings
from hypothesis import strategies as st
from made_studies import payload_of
from toy import toy_dataset, toy_results, write_toy

import avtune.runners.work as work
from avtune import load_bench
from avtune.cli import bench_console
from avtune.cli.main import main
from avtune.data.dataset import Dataset
from avtune.data.formats import write_hdf5
from avtune.metrics import detectable_over_seeds, holm, randomisation_test, welch_test
from avtune.study.folder import StudyFolder
from avtune.study.results import read_results, write_results, write_times_scored
from avtune.workflows.bench.board import LEVEL, Row, board
from avtune.workflows.bench.leaderboard import HEADER, detectable_text, escaped, title
from avtune.workflows.listening import Silent

METHODS = ["triplet", "cca", "hard_triplet"]
ALL = ",".join(METHODS)
BUDGET = ["--trials", "3", "--epochs", "4", "--seeds", "2"]


def words(folder, *more, methods=ALL, data="toy.h5", budget=BUDGET, name="b"):
    space = ["--space", f"triplet={folder / 'space.yaml'}"] if "triplet" in methods.split(",") else []
    return [
        "bench", folder / data, "--methods", methods, *budget, *space, "--name", name,
        "--results", folder / "results", "--runner", "inline", "--gpus", "0", "--no-reference", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished bench."""
    folder = tmp_path_factory.mktemp("done")
    write_toy(folder)
    assert main([str(word) for word in words(folder)]) == 0
    return folder


def metrics_of(folder, method, name="b"):
    return json.loads((folder / "results" / name / method / "final" / "metrics.json").read_text())


def csv_rows(folder, name="b"):
    with (folder / "results" / name / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def markdown_table(text):
    """The cells of the first table, as a reader sees them."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    plain = [re.sub(r"\\(.)", r"\1", html.unescape(line)) for line in lines[: 1 + len(METHODS)]]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in plain]


class Tables(HTMLParser):
    """The cells of every table of a page, and the names of its tags."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.tags, self._cell = [], set(), None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self._cell.strip())
            self._cell = None


def test_the_table_holds_what_the_studies_found(done):
    rows = csv_rows(done)
    assert sorted(row["method"] for row in rows) == sorted(METHODS)
    maps = [float(row["map"]) for row in rows]
    assert maps == sorted(maps, reverse=True)
    for row in rows:
        metrics = metrics_of(done, row["method"])
        for name in ("map", "map_a2v", "map_v2a", "map_running", "map_running_a2v", "map_running_v2a"):
            assert float(row[name]) == metrics["test"][name]["mean"]
            assert [float(row[f"{name}_{end}"]) for end in ("low", "high")] == metrics["test"][name]["ci95"]
        assert float(row["default_map"]) == metrics["default"]["map"]["mean"]
        assert float(row["untrained_map"]) == metrics["untrained"]["map"]["mean"]
        assert float(row["gain"]) == pytest.approx(float(row["map"]) - float(row["default_map"]))
        assert (row["gain_p"] == "") == metrics.get("default_is_winner", False)
        with (done / "results" / "b" / row["method"] / "trials.csv").open() as file:
            seconds = sum(float(trial["seconds"]) for trial in csv.DictReader(file))
        assert float(row["search_seconds"]) == pytest.approx(seconds, abs=0.05)
        assert float(row["search_seconds"]) > 0


def test_every_method_has_the_same_budget_and_protocol(done):
    found = {}
    for method in METHODS:
        study = done / "results" / "b" / method
        space = yaml.safe_load((study / "study.yaml").read_text())["space"]
        found[method] = {key: space[key] for key in ("search", "early_stopping", "validation", "final")}
        assert space["method"] == method
        assert len((study / "trials.csv").read_text().splitlines()) == 4
        metrics = metrics_of(done, method)
        assert metrics["times_test_was_scored"] == metrics["scored_together"] <= 2
    assert found["triplet"] == found["hard_triplet"]
    assert found["triplet"]["search"]["trials"] == 3
    assert found["triplet"]["early_stopping"] == {"epochs": 4, "grace": 3, "factor": 3}
    assert found["triplet"]["final"] == {"finalists": 3, "seeds": 2, "reference": "none"}
    assert found["cca"] == found["triplet"] | {"early_stopping": {"epochs": 1, "grace": 1, "factor": 3}}


def test_markdown_page_and_csv_agree(done):
    folder = done / "results" / "b"
    shown = markdown_table((folder / "leaderboard.md").read_text())
    assert shown[0] == list(HEADER)
    page = Tables((folder / "leaderboard.html").read_text())
    assert page.tables[0] == shown
    assert not re.search(r'(src|href)="http', (folder / "leaderboard.html").read_text())
    for cells, row in zip(shown[1:], csv_rows(done), strict=True):
        assert cells[:2] == [row["rank"], row["method"]]
        assert cells[-1] == row["group"]
        for cell, name in zip(cells[2:6], ("map", "map_a2v", "map_v2a", "map_running"), strict=True):
            assert cell.startswith(f"{float(row[name]):.4f} ± ")
        assert cells[6].startswith(f"{float(row['default_map']):.4f}")
        assert cells[8].startswith(f"{float(row['untrained_map']):.4f}")
    drawn = payload_of((folder / "leaderboard.html").read_text())["boards"][0]["rows"]
    assert [row["points"][0][0] for row in drawn] == [float(row["map"]) for row in csv_rows(done)]


def test_markdown_says_what_a_reader_must_know(done):
    text = (done / "results" / "b" / "leaderboard.md").read_text()
    settings = yaml.safe_load((done / "results" / "b" / "bench.yaml").read_text())
    for said in (
        "# Leaderboard: toy",
        settings["dataset"]["digest"],
        settings["begun"],
        "torch 2",
        "3, 4, 2",
        "3 configurations of its space",
        "scored once on the test split",
        "compared on validation rows only",
        "avtune bench toy.h5 --methods triplet,cca,hard_triplet",
        "--trials 3 --epochs 4 --seeds 2",
    ):
        assert said in text, said
    assert str(done) not in text, "no path of this machine"
    assert "YouTube" not in text


def test_groups_are_those_of_the_corrected_tests(done):
    rows = csv_rows(done)
    ap = {}
    for row in rows:
        with np.load(done / "results" / "b" / row["method"] / "final" / "query_ap.npz") as kept:
            ap[row["method"]] = (kept["test_a2v"] + kept["test_v2a"]).mean(0) / 2
    pairs = list(combinations(rows, 2))
    seeds = {row["method"]: metrics_of(done, row["method"])["test"]["map"]["seeds"] for row in rows}
    raw = []
    for one, other in ((one["method"], other["method"]) for one, other in pairs):
        over_seeds = welch_test(ap[one] - ap[other], seeds[one], seeds[other])
        raw.append(max(over_seeds, randomisation_test(ap[one], ap[other], seed=5)))
    page = Tables((done / "results" / "b" / "leaderboard.html").read_text())
    shown = {
        (row[0], name): p for row in page.tables[1][1:] for name, p in zip(page.tables[1][0][1:], row[1:], strict=True)
    }
    for (one, other), p in zip(pairs, holm(raw), strict=True):
        assert float(shown[one["method"], other["method"]].split()[0]) == pytest.approx(p, abs=0.03)
        if abs(p - LEVEL) > 0.02:
            assert bool(set(one["group"]) & set(other["group"])) == (p >= LEVEL)


def tree_of(folder):
    """What is in every file and folder but locks."""
    paths = [path for path in folder.rglob("*") if path.name != "lock"]
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in paths}


def snapshot(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_the_same_command_shows_a_finished_bench_and_changes_nothing(done, capsys, monkeypatch):
    monkeypatch.setattr(work, "train", lambda *arguments, **more: pytest.fail("it trained again"))
    before = snapshot(done / "results")
    printed = call(capsys, *words(done))
    assert "3 of 3 methods known" in printed
    for row in csv_rows(done):
        assert f"{row['method']}: test MAP {float(row['map']):.4f}" in printed
    assert snapshot(done / "results") == before


def copy_of(done, folder):
    """A bench of its own, as it was finished."""
    shutil.copytree(done, folder, dirs_exist_ok=True)
    return folder / "results" / "b"


def test_what_a_kill_left_in_a_finished_study_is_mended(done, tmp_path, capsys, monkeypatch):
    """The kill came after `metrics.json` and before the end of that study's search."""
    monkeypatch.setattr(work, "train", lambda *arguments, **more: pytest.fail("it trained again"))
    root = copy_of(done, tmp_path)
    before = tree_of(root)
    study = StudyFolder(root / "cca")
    study.report_html.with_name(".report.html-a1b2c3d4").write_text("<!doctype html>")
    study.report_html.write_text("<!doctype html><title>not finished</title></html>")
    study.trials_csv.write_text(study.trials_csv.read_text().splitlines(keepends=True)[0])
    study.metrics.with_name(".metrics.json-a1b2c3d4").write_text("{")
    write_times_scored(study, 0)
    for left in (study.lane(2), study.seeds / "0.safetensors"):
        left.parent.mkdir()
        left.write_bytes(b"weights")
    assert tree_of(root) != before
    assert "3 of 3 methods known" in call(capsys, *words(tmp_path))
    assert tree_of(root) == before


def test_a_trial_that_begins_again_keeps_a_study_from_being_taken_as_finished(done, tmp_path, capsys):
    """`--retry-failed` was killed after it had noted the trial and before it took the scores away."""
    root = copy_of(done, tmp_path)
    before = metrics_of(tmp_path, "cca")
    curves = root / "cca" / "curves.jsonl"
    kept = [line for line in curves.read_text().splitlines(keepends=True) if json.loads(line).get("trial") != 1]
    curves.write_text("".join(kept))
    printed = call(capsys, *words(tmp_path))
    assert "2 of 3 methods known" in printed
    assert "cca (2 of 3)" in printed
    assert [json.loads(line)["trial"] for line in curves.read_text().splitlines()[len(kept) :]] == [1, 1]
    assert metrics_of(tmp_path, "cca")["test"] == before["test"]
    assert metrics_of(tmp_path, "cca")["times_test_was_scored"] == before["times_test_was_scored"]


def test_a_study_that_another_process_works_on_is_shown_as_it_is(done, tmp_path, capsys):
    root = copy_of(done, tmp_path)
    with StudyFolder(root / "cca").locked():
        assert "3 of 3 methods known" in call(capsys, *words(tmp_path))


@pytest.mark.parametrize("at", [pytest.param(2, marks=pytest.mark.long), 14, pytest.param(30, marks=pytest.mark.long)])
def test_an_interrupted_bench_continues(at, done, tmp_path, capsys, monkeypatch):
    write_toy(tmp_path)
    train, calls = work.train, []

    def interrupted(*arguments, **more):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return train(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(work, "train", interrupted)
        assert main([str(word) for word in words(tmp_path)]) == 130
    assert "continues" in capsys.readouterr().err
    finished = [
        method for method in METHODS if (tmp_path / "results" / "b" / method / "final" / "metrics.json").is_file()
    ]
    assert len(finished) < 3
    if finished:
        assert sorted(row["method"] for row in csv_rows(tmp_path)) == sorted(finished)
        assert "Unfinished" in (tmp_path / "results" / "b" / "leaderboard.md").read_text()
    call(capsys, *words(tmp_path))
    assert "Unfinished" not in (tmp_path / "results" / "b" / "leaderboard.md").read_text()
    whole, again = ([{**row, "search_seconds": ""} for row in csv_rows(folder)] for folder in (done, tmp_path))
    assert whole == again


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"budget": ["--trials", "2", "--epochs", "4", "--seeds", "2"]}, "trials: 3 -> 2"),
        ({"budget": ["--trials", "3", "--epochs", "5", "--seeds", "2"]}, "epochs: 4 -> 5"),
        ({"budget": ["--trials", "3", "--epochs", "4", "--seeds", "1"]}, "seeds: 2 -> 1"),
        ({"methods": "triplet,cca"}, "methods: without hard_triplet"),
    ],
)
def test_other_settings_are_refused_with_the_difference(changed, said, done, capsys):
    before = snapshot(done / "results")
    assert said in call(capsys, *words(done, **changed), code=2)
    assert snapshot(done / "results") == before


def test_other_options_data_and_spaces_are_refused(done, capsys, tmp_path):
    assert "deterministic: False -> True" in call(capsys, *words(done, "--deterministic"), code=2)
    printed = call(capsys, *words(done, "--space", f"hard_triplet={other_space(tmp_path)}"), code=2)
    assert "hard_triplet space.margin.high: 0.8 -> 0.7" in printed
    write_toy(tmp_path, seed=5)
    changed = words(done)
    changed[1] = tmp_path / "toy.h5"
    assert "dataset content" in call(capsys, *changed, code=2)


@pytest.mark.parametrize(
    ("key", "value"), [("options", {"classes": "names.txt"}), ("views", ["image", "text"]), ("spec", None)]
)
def test_what_bench_yaml_says_of_some_datasets_only_is_no_damage(done, tmp_path, capsys, key, value):
    """Where the same content was read in another way, e.g. from arrays in Python, which have no place."""
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "results" / "b" / "bench.yaml"
    facts = yaml.safe_load(path.read_text())
    facts["dataset"] = {name: fact for name, fact in {**facts["dataset"], key: value}.items() if fact is not None}
    path.write_text(yaml.safe_dump(facts))
    assert "3 of 3 methods known" in call(capsys, *words(tmp_path))


def test_a_validation_split_of_the_data_set_gives_way_where_a_fraction_is_asked_for(tmp_path, capsys):
    whole = toy_dataset()
    held = np.arange(48, 60)
    data = Dataset("toy", whole.train, whole.test, whole.class_names, "generated", validation=held)
    write_hdf5(data, tmp_path / "toy.h5")
    budget = ["--trials", "1", "--epochs", "1", "--seeds", "1"]
    usual = words(tmp_path, methods="cca", budget=budget)
    call(capsys, *usual)
    text = (tmp_path / "results" / "b" / "leaderboard.md").read_text()
    assert "the data set's own validation split for validation" in text
    said = call(capsys, *usual, "--set", "validation.fraction=0.3", code=2)
    assert "validation rows: the data set's own split -> a fraction of 0.3" in said
    call(capsys, *words(tmp_path, "--set", "validation.fraction=0.2", methods="cca", budget=budget, name="asked"))
    assert "the same 20% of the training rows" in (tmp_path / "results" / "asked" / "leaderboard.md").read_text()
    assert yaml.safe_load((tmp_path / "results/asked/cca/study.yaml").read_text())["space"]["validation"] == {
        "fraction": 0.2
    }


def test_the_command_has_what_decides_the_numbers(tmp_path, capsys):
    write_toy(tmp_path)
    budget = ["--trials", "1", "--epochs", "1", "--seeds", "1"]
    command = words(tmp_path, "--deterministic", methods="cca", budget=budget)
    call(capsys, *command, "--precision", "bf16")
    path = tmp_path / "results" / "b" / "bench.yaml"
    assert "--precision bf16 --deterministic" in yaml.safe_load(path.read_text())["command"]
    command[command.index("cca")] = "cca,c_cca"
    call(capsys, *command)
    assert "--precision bf16 --deterministic" in yaml.safe_load(path.read_text())["command"], "it is as it was"


def other_space(folder):
    path = folder / "other.yaml"
    path.write_text(
        "method: hard_triplet\nspace:\n"
        "  margin: {type: float, low: 0.02, high: 0.7}\n"
        "  w_cross: {type: float, low: 0.2, high: 20.0, log: true}\n"
        "  w_dis: {type: float, low: 0.01, high: 1.0, log: true}\n"
        "  lr: {type: float, low: 2.0e-4, high: 5.0e-3, log: true}\n"
        "  dropout: {type: float, low: 0.0, high: 0.6}\n"
        "  batch_size: 256\n  hidden_dim: 512\n  embedding_dim: 64\n"
    )
    return path


def test_methods_may_be_added(tmp_path, capsys, monkeypatch):
    write_toy(tmp_path)
    call(capsys, *words(tmp_path, methods="cca"))
    before = (tmp_path / "results" / "b" / "cca" / "trials.csv").read_bytes()
    printed = call(capsys, *words(tmp_path, methods="c_cca,cca"))
    assert "1 of 2 methods known" in printed
    assert (tmp_path / "results" / "b" / "cca" / "trials.csv").read_bytes() == before
    assert sorted(row["method"] for row in csv_rows(tmp_path)) == ["c_cca", "cca"]
    settings = yaml.safe_load((tmp_path / "results" / "b" / "bench.yaml").read_text())
    assert settings["methods"] == ["cca", "c_cca"]
    assert "c_cca,cca" in settings["command"]


def test_a_method_that_fails_leaves_the_others_their_rows(tmp_path, capsys, monkeypatch):
    write_toy(tmp_path)
    train = work.train

    def broken(trial, *arguments, **more):
        if trial.method == "hard_triplet":
            raise RuntimeError("the sky fell")
        return train(trial, *arguments, **more)

    monkeypatch.setattr(work, "train", broken)
    for _ in range(2):
        assert main([str(word) for word in words(tmp_path, methods="hard_triplet,cca")]) == 1
        assert "hard_triplet has no row" in capsys.readouterr().out
        assert [row["method"] for row in csv_rows(tmp_path)] == ["cca"]
        text = (tmp_path / "results" / "b" / "leaderboard.md").read_text()
        assert "the sky fell" in text
        assert "Unfinished" not in text
    assert "the sky fell" in (tmp_path / "results" / "b" / "log.txt").read_text()


class Recorder:
    """A `BenchListener` that keeps what it is told."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        def take(*words):
            self.told.append((name, *words))
            return Silent() if name == "started" else None

        return take


def test_a_listener_is_told_what_happens(tmp_path, monkeypatch):
    write_toy(tmp_path)
    train = work.train

    def broken(trial, *arguments, **more):
        if trial.method == "c_cca":
            raise RuntimeError("the sky fell")
        return train(trial, *arguments, **more)

    monkeypatch.setattr(work, "train", broken)
    first, again = Recorder(), Recorder()
    for recorder in (first, again):
        monkeypatch.setattr(bench_console, "BenchConsole", lambda recorder=recorder: recorder)
        assert main([str(word) for word in words(tmp_path, methods="c_cca,cca")]) == 1
    assert [name for name, *_ in first.told] == ["planned", "started", "failed", "started", "finished", "done"]
    assert [name for name, *_ in again.told] == ["planned", "known", "started", "failed", "done"]
    assert [told[1].finished for told in (first.told[0], again.told[0])] == [None, 1]
    assert [told[1:] for told in first.told if told[0] == "started"] == [("c_cca", 1, 2), ("cca", 2, 2)]
    assert first.told[2][1] == "c_cca"
    assert "the sky fell" in first.told[2][2]
    assert first.told[4][1].method == again.told[1][1].method == "cca"
    board, files = first.told[-1][1:]
    assert [row.method for row in board.rows] == ["cca"]
    assert all(path.is_file() for path in files)


HOSTILE = "<img src=x onerror=alert(1)>|[a](javascript:b)`x` $y$ *z* __w__ &amp; \"q\" 'r' =1+1\n# h"


def test_a_hostile_dataset_name_stays_text(tmp_path, capsys):
    data, _ = write_toy(tmp_path)
    data.rename(tmp_path / f"{HOSTILE}.h5")
    call(capsys, *words(tmp_path, methods="cca", data=f"{HOSTILE}.h5"))
    folder = tmp_path / "results" / "b"
    assert csv_rows(tmp_path)[0]["dataset"] == HOSTILE
    page = (folder / "leaderboard.html").read_text()
    parsed = Tables(page)
    assert "img" not in parsed.tags
    assert html.escape(HOSTILE, quote=False).split("|")[0] in page
    text = (folder / "leaderboard.md").read_text()
    assert "<img" not in text
    assert "\n# h" not in text
    assert not re.search(r"(?<!\\)\[a\]", text)
    assert not re.search(r"(?<!\\)`", text)
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| 1")}
    assert widths == {len(HEADER) + 1}


@given(st.text())
@settings(deadline=None, max_examples=200)
def test_escaped_text_stays_in_its_cell_and_reads_the_same(words):
    made = escaped(words)
    assert not re.search(r"[<>\n\r]", made)
    assert not re.search(r"(?<!\\)(\\\\)*[|`\[\]*]", made)
    read = html.unescape(re.sub(r"\\(.)", r"\1", made))
    assert read == " ".join("".join(char if char.isprintable() else " " for char in words).split())


def test_youtube_files_are_named_as_such():
    assert title({"dataset": {"name": "yt8m_ave15"}}) == "YouTube-8M subset (yt8m_ave15)"
    assert title({"dataset": {"name": "ave"}}) == "ave"


def made_row(name, ap, default_ap=None):
    default = None if default_ap is None else toy_results(float(np.mean(default_ap))).test
    results = toy_results(float(np.mean(ap)), default=default)
    return Row(name, results, {}, {}, 1.0, np.asarray(ap), default_ap)


def test_rows_that_are_alike_share_a_letter_and_others_do_not():
    draw = np.random.default_rng(0)
    base = draw.uniform(0.3, 0.7, size=200)
    alike = base + draw.normal(size=200) * 1e-3 - 1e-5
    rows = [made_row("low", base - 0.2, base - 0.2), made_row("one", base), made_row("two", alike, base - 0.3)]
    known = {}
    found = board({}, rows, {}, [], known)
    assert found.rows[-1].method == "low"
    assert found.letters == ("a", "a", "b")
    assert found.p_values[0, 2] == found.p_values[2, 0] < 0.001
    gains = {row.method: p for row, p in zip(found.rows, found.gain_p, strict=True)}
    assert gains["one"] is None
    assert gains["low"] == 1.0
    assert gains["two"] < 0.001
    assert len(known) == 5
    marked = dict.fromkeys(known, 1.0)
    assert board({}, rows, {}, [], marked).letters == ("a", "a", "a"), "pairs that are known are not compared again"


def test_forty_methods_leave_room_for_a_clear_difference():
    """With the 10,000 swaps of a test by itself, no p-value corrected for the 780 pairs could be below 0.05."""
    draw = np.random.default_rng(0)
    base = draw.uniform(0.3, 0.7, size=60)
    rows = [made_row(f"m{place}", base + draw.normal(size=60) * 0.02) for place in range(39)]
    rows.append(made_row("clear", base - 0.1 + draw.normal(size=60) * 0.02))
    alike = sorted(row.method for row in rows[:-1])
    known = dict.fromkeys(combinations(alike, 2), 0.5)  # these need not be tried
    found = board({"methods": [row.method for row in rows]}, rows, {}, [], known)
    assert found.rows[-1].method == "clear"
    assert len(known) == 780
    assert (found.p_values[-1, :-1] < LEVEL).all()
    assert set(found.letters[-1]).isdisjoint("".join(found.letters[:-1]))
    assert found.rounds == 312_000


def test_a_pair_has_the_same_p_value_however_many_methods_have_finished():
    draw = np.random.default_rng(1)
    base = draw.uniform(0.3, 0.7, size=30)
    rows = [made_row(f"m{place}", base + draw.normal(size=30) * 0.1) for place in range(4)]
    about, at_once, one_by_one = {"methods": [row.method for row in rows]}, {}, {}
    board(about, rows, {}, [], at_once)
    for count in (2, 3, 4):
        board(about, rows[:count], {}, [], one_by_one)
    assert one_by_one == at_once


def test_the_smallest_difference_that_could_have_been_found_is_told(done, capsys):
    folder = done / "results" / "b"
    printed = call(capsys, *words(done))
    for said in (printed, (folder / "leaderboard.md").read_text(), (folder / "leaderboard.html").read_text()):
        assert "between rows that share a letter no difference was found at 0.05" in " ".join(said.split())
        assert "do not differ" not in said
    rows, arrays = csv_rows(done), {}
    for row in rows:
        with np.load(folder / row["method"] / "final" / "query_ap.npz") as kept:
            arrays[row["method"]] = (kept["test_a2v"] + kept["test_v2a"]).mean(0) / 2
    page = Tables((folder / "leaderboard.html").read_text())
    cells = {
        (row[0], name): cell
        for row in page.tables[1][1:]
        for name, cell in zip(page.tables[1][0][1:], row[1:], strict=True)
    }
    sizes = []
    for one, other in combinations([row["method"] for row in rows], 2):
        seeds = [metrics_of(done, method)["test"]["map"]["seeds"] for method in (one, other)]
        size = detectable_over_seeds(arrays[one] - arrays[other], *seeds, LEVEL / 3)
        if cells[one, other] != "< 0.001" and float(cells[one, other].split()[0]) >= LEVEL:
            assert cells[one, other].endswith(f"({size:.4f})")
            sizes.append(size)
        else:
            assert "(" not in cells[one, other]
    if sizes:
        assert f"would have shown a difference of {min(sizes):.4f}" in printed


def test_where_no_difference_could_be_found_the_table_says_so():
    rows = [made_row(name, [0.2, 0.4, 0.3 + at / 10]) for at, name in enumerate("ab")]
    found = board({"seeds": 1}, rows, {}, [], {})
    assert np.isinf(found.detectable[0, 1])
    assert detectable_text(found) == "so few test clips could not have shown any difference between them"


def test_a_board_may_be_empty():
    found = board({}, [], {"cca": "it failed"}, ["psd"], {})
    assert (found.rows, found.letters, found.gain_p) == ((), (), ())


@pytest.mark.parametrize("file", ["final/query_ap.npz", "final/metrics.json", "environment.json", "best.yaml"])
def test_damaged_results_are_refused(file, tmp_path, capsys):
    write_toy(tmp_path)
    call(capsys, *words(tmp_path, methods="cca"))
    path = tmp_path / "results" / "b" / "cca" / file
    whole = path.read_bytes()
    for content in (whole[:10], b"", b"[]", b"\xff"):
        path.write_bytes(content)
        assert path.name in call(capsys, *words(tmp_path, methods="cca"), code=2)
    path.write_bytes(whole)
    call(capsys, *words(tmp_path, methods="cca"))


def test_scores_of_another_dataset_are_refused(done, tmp_path, capsys):
    """With as many test clips; they were paired with those of the bench, clip by clip."""
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    folder = StudyFolder(tmp_path / "results" / "b" / "cca")
    results = read_results(folder)
    write_results(folder, replace(results, dataset=replace(results.dataset, digest="f" * 64)))
    said = call(capsys, "bench", "b", "--results", tmp_path / "results", "--format", "csv", code=2)
    assert "metrics.json is of another dataset (ffffffffffff) than the bench" in said


def test_average_precision_of_another_run_is_refused(tmp_path, capsys):
    write_toy(tmp_path)
    call(capsys, *words(tmp_path, methods="cca"))
    path = tmp_path / "results" / "b" / "cca" / "final" / "query_ap.npz"
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept}
    np.savez(path, **{**arrays, "test_a2v": arrays["test_a2v"] * 0.9})
    assert "does not belong" in call(capsys, *words(tmp_path, methods="cca"), code=2)


@pytest.mark.parametrize("content", ["", "[]", "format: 2", "format: 1", "a: [", "format: 1\nmethods: cca\n"])
def test_a_damaged_bench_file_is_refused(content, tmp_path, capsys):
    write_toy(tmp_path)
    (tmp_path / "results" / "b").mkdir(parents=True)
    (tmp_path / "results" / "b" / "bench.yaml").write_text(content)
    assert "bench.yaml" in call(capsys, *words(tmp_path, methods="cca"), code=2)


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    write_toy(tmp_path)
    (tmp_path / "results" / "b").mkdir(parents=True)
    (tmp_path / "results" / "b" / "mine.txt").write_text("x")
    assert "is no bench" in call(capsys, *words(tmp_path, methods="cca"), code=2)
    assert [path.name for path in (tmp_path / "results" / "b").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["demoo"], "did you mean 'demo'"),
        (["demo", "--methods", "psdd"], "did you mean 'psd'"),
        (["demo", "--methods", "cca,cca"], "twice"),
        (["demo", "--methods", "cca,,psd"], "--methods"),
        (["demo", "--trials", "0"], "--trials is 0"),
        (["demo", "--epochs", "0"], "--epochs is 0"),
        (["demo", "--seeds", "-1"], "--seeds is -1"),
        (["demo", "--space", "psd"], "METHOD=FILE"),
        (["demo", "--space", "psdd=ave"], "did you mean 'psd'"),
        (["demo", "--space", "psd=nope"], "nope"),
        (["demo", "--space", "psd=cca"], "is one of cca, not of psd"),
        (["demo", "--runner", "inlin"], "did you mean 'inline'"),
        (["demo", "--precision", "fp31"], "fp31"),
        (["demo", "--gpus", "99"], "--gpus is 99"),
        (["demo", "--name", "../up"], "--name"),
    ],
)
def test_wrong_words_get_two_helpful_lines(more, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in call(capsys, "bench", *more, code=2)
    assert list(tmp_path.iterdir()) == []


def test_too_few_clips_leave_no_bench(tmp_path, capsys):
    write_toy(tmp_path, classes=3, train=4, test=6)
    call(capsys, *words(tmp_path, methods="cca"), code=2)
    assert not (tmp_path / "results").exists()


def test_every_method_has_a_space():
    from avtune.methods import METHODS as REGISTERED
    from avtune.workflows.bench.rules import Rules, spaces_of

    spaces = spaces_of(None, [], Rules())
    assert list(spaces) == list(REGISTERED)
    for name, space in spaces.items():
        assert space.method == name
        assert space.axes, "something is searched"
    widths = {name: space.fixed.get("hidden_dim") for name, space in spaces.items()}
    assert widths["psd"] == widths["triplet"] == widths["hard_triplet"] == widths["aadml"] == widths["two_stage"]


def test_psd_has_the_width_of_the_others_in_a_bench_and_its_own_where_it_is_asked_for(capsys):
    from avtune.methods import METHODS as REGISTERED
    from avtune.methods import hypers_of
    from avtune.space.files import load
    from avtune.workflows.bench.rules import Rules, spaces_of

    read = {"hypers_of": hypers_of, "method_names": REGISTERED}
    assert spaces_of("psd", [], Rules())["psd"] == Rules().applied(load("ave", **read))
    assert spaces_of("psd", ["psd=psd"], Rules())["psd"].fixed["hidden_dim"] == 1024
    assert load("psd", **read).fixed["hidden_dim"] == 1024
    assert "hidden_dim: 1024" in call(capsys, "space", "show", "psd")
    assert "bench" not in call(capsys, "space", "show", "psd")


def test_a_method_of_the_users_own_gets_a_row(workplace, capsys):
    write_toy(workplace)
    printed = call(capsys, *words(workplace, methods="own_method:CrossContrast,cca"))
    assert "own_method:CrossContrast" in printed
    assert {row["method"] for row in csv_rows(workplace)} == {"own_method:CrossContrast", "cca"}
    assert (workplace / "results" / "b" / "own_method-CrossContrast" / "final" / "model.safetensors").is_file()
    assert "leaderboard" in call(capsys, *words(workplace, methods="own_method:CrossContrast,cca"))


def test_plain_classifiers_are_a_row_until_they_are_searched_themselves(tmp_path, capsys, monkeypatch):
    from avtune.workflows.bench import rules

    usual = rules._space_of

    def small(name, file):
        space = usual(name, file)
        return replace(space, fixed={**space.fixed, "hidden_dim": 8} if name == "classifiers" else space.fixed)

    monkeypatch.setattr(rules, "_space_of", small)
    write_toy(tmp_path)
    command = [word for word in words(tmp_path, methods="cca") if word != "--no-reference"]
    call(capsys, *command)
    row = next(row for row in csv_rows(tmp_path) if row["method"] == "classifiers (reference)")
    metrics = metrics_of(tmp_path, "classifiers-reference")
    assert metrics["default_is_winner"]
    assert "reference" not in metrics
    assert float(row["map"]) == metrics["test"]["map"]["mean"]
    text = (tmp_path / "results" / "b" / "leaderboard.md").read_text()
    assert "classifiers (reference): a plain method's default configuration, not searched" in text
    repeats = (tmp_path / "results" / "b" / "classifiers-reference" / "repeats.jsonl").read_bytes()
    call(capsys, *command)
    assert (tmp_path / "results" / "b" / "classifiers-reference" / "repeats.jsonl").read_bytes() == repeats
    said = call(capsys, *command, "--no-reference", code=2)
    assert "reference: classifiers -> none" in said
    call(capsys, *[word if word != "cca" else "cca,classifiers" for word in command])
    assert sorted(row["method"] for row in csv_rows(tmp_path)) == ["cca", "classifiers"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("set", True, "set is True"), ("trials", "9", "trials is '9'"), ("methods", [1], "methods[0] is 1")],
)
def test_a_setting_of_a_kind_that_it_never_has_is_damage(done, tmp_path, capsys, key, value, said):
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "results" / "b" / "bench.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {key: value}))
    assert f"bench.yaml is damaged: {said}; restore it from a copy" in call(capsys, *words(tmp_path), code=2)


def test_a_bench_of_before_goes_on_without_a_reference(done, tmp_path, capsys):
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "results" / "b" / "bench.yaml"
    settings = yaml.safe_load(path.read_text())
    del settings["reference"]
    path.write_text(yaml.safe_dump(settings))
    command = [word for word in words(tmp_path) if word != "--no-reference"]
    assert "3 of 3 methods known" in call(capsys, *command)


def formatted_of(done, capsys, name):
    return call(capsys, "bench", "b", "--results", done / "results", "--format", name)


def test_latex_of_a_bench_that_is_there(done, capsys):
    text = formatted_of(done, capsys, "latex")
    assert text == formatted_of(done, capsys, "latex")
    caption = next(line for line in text.splitlines() if line.startswith(r"\caption{"))
    for word in ("2 seeds", "3 configurations", "Holm over 3 pairs", r"avtune bench toy.h5 -{}-methods", "torch 2."):
        assert word in caption
    assert r"hard\_triplet" in caption
    assert not re.search(r"(?<!\\)[_%&#]", caption.replace(r"\&", ""))
    body = text[text.index(r"\midrule") + 8 : text.index(r"\bottomrule")].strip().splitlines()
    rows = csv_rows(done)
    assert [re.sub(r"\\textbf\{([^}]*)\}", r"\1", line).split(" & ")[0] for line in body] == [
        row["method"].replace("_", r"\_") for row in rows
    ]
    for line, row in zip(body, rows, strict=True):
        assert line.count(" & ") == 5
        assert line.endswith(r" \\")
        assert f"{float(row['map']):.4f}" in line
        assert f"{float(row['map_a2v']):.4f}" in line
    depth = 0
    for char in re.sub(r"\\[{}]", "", text):
        depth += (char == "{") - (char == "}")
        assert depth >= 0
    assert depth == 0


@pytest.mark.parametrize("name", ["latex", "markdown"])
def test_bold_are_the_rows_without_a_difference_from_the_best(name):
    from avtune.workflows.bench.formats import formatted

    draw = np.random.default_rng(0)
    aps = {"best": draw.random(400)}
    aps |= {"as_good": aps["best"] + draw.normal(size=400) / 50, "worse": aps["best"] - 0.2}
    found = full_board(aps)
    mark = r"\\textbf\{([^}]*)\}" if name == "latex" else r"\*\*([^*]*)\*\*"
    named = [one.replace("\\", "") for one in re.findall(mark, formatted(found, name)) if not one[0].isdigit()]
    assert sorted(named) == ["as_good", "best"]


def full_board(aps):
    """A board of rows with these average precisions of the test clips."""
    rows = [Row(name, with_map(float(ap.mean())), {"lr": 0.1}, MACHINE, 1.0, ap, ap - 0.01) for name, ap in aps.items()]
    about = {
        "dataset": {
            **dict.fromkeys(("train", "test", "classes", "audio_dim", "visual_dim"), 4), "name": "toy",
            "digest": "d" * 64,
        },
        "methods": list(aps), "command": "avtune bench toy --x 1 & 2", "begun": "2026-01-01", "precision": "fp32",
        "deterministic": False, "trials": 2, "epochs": 3, "seeds": 1, "finalists": 1, "fraction": 0.2, "grace": 1,
        "factor": 3, "seed": 0,
    }  # fmt: skip
    return board(about, rows, {}, [], {})


def with_map(mean):
    results = toy_results()
    test = replace(results.test, map=replace(results.test.map, mean=mean, seeds=(mean,), interval=None))
    return replace(results, test=test, default=replace(test), untrained=test)


MACHINE = {"versions": {"torch": "2.13"}, "cpu": "a CPU", "cores": 2, "gpus": []}


def test_json_has_the_shape_of_mteb_and_all_digits(done, capsys):
    made = json.loads(formatted_of(done, capsys, "json"))
    rows = csv_rows(done)
    assert [one["model_name"] for one in made["results"]] == [row["method"] for row in rows]
    for one, row in zip(made["results"], rows, strict=True):
        assert one["dataset_revision"] == row["dataset_digest"]
        subsets = {entry["hf_subset"]: entry for entry in one["scores"]["test"]}
        assert list(subsets) == ["mean", "audio_to_visual", "visual_to_audio"]
        assert subsets["mean"]["main_score"] == float(row["map"])
        assert subsets["audio_to_visual"]["map"]["mean"] == float(row["map_a2v"])
        assert subsets["visual_to_audio"]["map_running"]["mean"] == float(row["map_running_v2a"])
        assert len(subsets["mean"]["map"]["seeds"]) == 2
    p_values = np.array(made["comparison"]["p_values"])
    assert p_values.shape == (3, 3)
    assert (p_values == p_values.T).all()


def test_csv_and_markdown_and_what_is_no_format(done, capsys):
    assert formatted_of(done, capsys, "csv") == (done / "results" / "b" / "leaderboard.csv").read_text()
    text = formatted_of(done, capsys, "markdown")
    assert text.splitlines()[0] == "| method | audio->visual | visual->audio | mean | default | group |"
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == 2 + len(METHODS)
    said = call(capsys, "bench", "b", "--results", done / "results", "--format", "latx", code=2)
    assert "allowed: csv, json, latex or markdown; did you mean 'latex'?" in said


def test_a_bench_that_runs_prints_the_table_alone(done, capsys):
    command = [str(word) for word in words(done, "--format", "csv")]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.out == (done / "results" / "b" / "leaderboard.csv").read_text()
    assert "3 of 3 methods known" in captured.err


def study_of(folder, method):
    return yaml.safe_load((folder / "results" / "b" / method / "study.yaml").read_text())["space"]


def test_more_trials_and_seeds_extend_every_row(tmp_path, capsys, monkeypatch):
    write_toy(tmp_path)
    budget = ["--trials", "2", "--epochs", "2", "--seeds", "1"]
    call(capsys, *words(tmp_path, methods="triplet,cca", budget=budget))
    curves = (tmp_path / "results" / "b" / "triplet" / "curves.jsonl").read_bytes()
    more = ["--trials", "3", "--epochs", "2", "--seeds", "2"]
    killed = []

    def dies(trial, *given, **more):  # while the first row is extended
        killed.append(trial)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(work, "train", dies)
        main([str(word) for word in words(tmp_path, methods="triplet,cca", budget=more)])
    assert killed
    view = load_bench(tmp_path / "results" / "b")
    assert view.board.rows == (), "neither has the new budget yet"
    assert set(view.board.pending) == {"triplet", "cca"}
    call(capsys, *words(tmp_path, methods="triplet,cca", budget=more))
    rows = csv_rows(tmp_path)
    assert [(row["trials"], row["seeds"]) for row in rows] == [("3", "2"), ("3", "2")]
    for method in ("triplet", "cca"):
        assert study_of(tmp_path, method)["search"]["trials"] == 3
        assert len(metrics_of(tmp_path, method)["test"]["map"]["seeds"]) == 2
    assert (tmp_path / "results" / "b" / "triplet" / "curves.jsonl").read_bytes().startswith(curves)
    text = (tmp_path / "results" / "b" / "leaderboard.md").read_text()
    assert "Scored on the test split more than once, each time with another configuration, epochs or seeds:" in text
    assert "trials: 3 -> 2" in call(capsys, *words(tmp_path, methods="triplet,cca", budget=budget), code=2)
    same = words(tmp_path, methods="triplet,cca", budget=[])
    assert "2 of 2 methods known" in call(capsys, *same), "what is not said is as it was"


def test_set_is_for_every_row_that_has_it(tmp_path, capsys):
    write_toy(tmp_path)
    sets = ["--set", "space.hidden_dim=9", "--set", "final.finalists=1", "--set", "search.sampler=random"]
    budget = ["--trials", "1", "--epochs", "1", "--seeds", "1"]
    call(capsys, *words(tmp_path, *sets, methods="hard_triplet,cca", budget=budget))
    for method in ("hard_triplet", "cca"):
        space = study_of(tmp_path, method)
        assert space["search"]["sampler"] == "random"
        assert space["final"]["finalists"] == 1
        assert space["space"].get("hidden_dim", 9) == 9
    settings_ = yaml.safe_load((tmp_path / "results" / "b" / "bench.yaml").read_text())
    assert settings_["finalists"] == 1
    assert "--set space.hidden_dim=9" in settings_["command"]
    text = (tmp_path / "results" / "b" / "leaderboard.md").read_text()
    assert "Set for every method that has it: space.hidden" in text
    assert "2 of 2 methods known" in call(capsys, *words(tmp_path, methods="hard_triplet,cca", budget=budget))
    other = words(tmp_path, "--set", "space.hidden_dim=10", methods="hard_triplet,cca", budget=budget)
    assert "set: " in call(capsys, *other, code=2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("space.hiden_dim=6", "no method of this bench has 'hiden_dim'; did you mean 'hidden_dim'?"),
        ("search.trials=4", "a bench has an option for it, --trials"),
        ("validation.folds=3", "not for all methods of a bench"),
        ("final.finalists=0", "--set final.finalists is 0; allowed: a whole number from 1"),
        ("space.margin", "allowed: KEY=VALUE"),
        ("space.margin=9", "space.margin is 9"),
    ],
)
def test_what_cannot_be_set_is_said_before_anything_starts(given, said, tmp_path, capsys):
    write_toy(tmp_path)
    assert said in call(capsys, *words(tmp_path, "--set", given), code=2)
    assert not (tmp_path / "results").exists()


def test_a_published_bench_says_selected_on_test(tmp_path, capsys):
    write_toy(tmp_path)
    budget = ["--trials", "1", "--epochs", "2", "--seeds", "1"]
    printed = call(capsys, *words(tmp_path, "--protocol", "published", methods="triplet", budget=budget))
    assert "toy, selected on test: test split" in printed
    assert metrics_of(tmp_path, "triplet")["label"] == "selected on test"
    text = (tmp_path / "results" / "b" / "leaderboard.md").read_text()
    assert "# Leaderboard: toy, selected on test" in text
    assert "Selected on test: every retrained seed" in text
    command = words(tmp_path, "--protocol", "validation", methods="triplet", budget=budget)
    assert "protocol: published -> validation" in call(capsys, *command, code=2)


def test_a_training_function_of_the_users_own_is_a_row_with_p_values(workplace, capsys):
    write_toy(workplace)
    spec = "own_training:train"
    budget = ["--trials", "2", "--epochs", "2", "--seeds", "3", "--train", spec]  # a search of so many has a race
    command = words(workplace, "--set", "space.batch_size=16", methods="cca", budget=budget)
    assert f"needs --space {spec}=FILE" in call(capsys, *command, code=2)
    command += ["--space", f"{spec}=own_training.yaml"]
    printed = call(capsys, *command)
    assert spec in printed
    rows = {row["method"]: row for row in csv_rows(workplace)}
    assert rows.keys() == {"cca", spec}
    assert rows[spec]["untrained_map"] == ""
    assert rows[spec]["trials"] == "2"
    view = load_bench(workplace / "results" / "b")
    assert 0 < view.p_values.loc["cca", spec] <= 1
    space = study_of(workplace, "own_training-train")
    assert space["early_stopping"]["epochs"] == 2
    assert "race" not in metrics_of(workplace, "own_training-train"), "its finalists have every seed, as others have"
    assert space["final"].get("policy") != "race"
    assert space["space"]["batch_size"] == 16
    assert spec in (workplace / "results" / "b" / "leaderboard.html").read_text()
    assert "2 of 2 methods known" in call(capsys, *command)
    assert "goes with methods" in call(capsys, *command, "--protocol", "published", "--name", "p", code=2)
