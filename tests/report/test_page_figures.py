"""Every figure of the report page, computed again from the study's files by code that shares none with it."""

import csv
import itertools
import json
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_studies import made_study, payload_of, space_of
from scipy import stats

from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.report.page import page
from avtune.report.page_times import timeline
from avtune.report.page_trials import trials
from avtune.space.axis import Axis
from avtune.study.best import read_best
from avtune.study.folder import StudyFolder
from avtune.study.record import Record
from avtune.study.results import read_results
from avtune.workflows.open_study import open_space, open_study

FIXTURE = Path(__file__).parents[1] / "fixtures" / "study_v1"
LETTERS = {"COMPLETE": "C", "PRUNED": "P", "FAIL": "F", "RUNNING": "R"}
FAILS = (7, 20)


class Files:
    """What the append-only files and tables of a study say, read here anew."""

    def __init__(self, root):
        with (root / "trials.csv").open() as file:
            self.rows = list(csv.DictReader(file))
        self.curves = {int(row["trial"]): [] for row in self.rows}
        self.ends = []
        for line in map(json.loads, (root / "curves.jsonl").read_text().splitlines()):
            if "epoch" in line:
                self.curves[line["trial"]].append(line["val_map"])
            else:
                self.ends.append(line["trial"])
        self.values = [float(row["val_map"]) if row["val_map"] else None for row in self.rows]
        self.states = [row["state"] for row in self.rows]

    def alive(self, number):
        return self.states[number] != "FAIL" and self.values[number] is not None


@pytest.fixture(scope="module", params=["random", "tpe"])
def made(request, tmp_path_factory):
    """A study of either sampler: its payload, its files, its space."""
    space = space_of(40, sampler=request.param, startup=8)
    study = made_study(tmp_path_factory.mktemp("made") / "one", space, fails=FAILS)
    return payload_of(page(study, None, None)), Files(study.folder.root), space


def test_whole_numbers_keep_all_their_digits():
    axis = Axis("width", "int", low=1, high=10_000_000)
    records = [Record(Trial(number, "toy", {"width": width}, 0, 9)) for number, width in enumerate((6442632, 3))]
    assert trials(records, [axis], {})["axes"][0]["values"] == [6442632, 3]


def test_the_columns_of_the_trials_are_those_of_trials_csv(made):
    payload, files, _ = made
    trials = payload["trials"]
    assert trials["states"] == "".join(LETTERS[state] for state in files.states)
    assert trials["epochs"] == [int(row["epochs"]) for row in files.rows]
    assert trials["value"] == files.values
    assert trials["best_epoch"] == [int(row["best_epoch"]) if row["best_epoch"] else None for row in files.rows]
    assert trials["seconds"] == [float(row["seconds"]) for row in files.rows]
    assert sorted(trials["reasons"]) == sorted(map(str, FAILS))
    for axis in trials["axes"]:
        shown = [axis["choices"][int(value)] for value in axis["values"]] if axis["choices"] else axis["values"]
        given = [row[axis["name"]] for row in files.rows]
        assert shown == (given if axis["choices"] else pytest.approx(list(map(float, given)), rel=1e-5))


def test_the_curves_are_those_of_curves_jsonl_best_trial_first(made):
    payload, files, _ = made
    lines = payload["curves"]["lines"]
    ranked = sorted(filter(files.alive, range(40)), key=lambda number: (-files.values[number], number))
    assert [line["trial"] for line in lines] == ranked
    for line in lines:
        kept = files.curves[line["trial"]][: int(files.rows[line["trial"]]["epochs"])]
        assert line["epochs"] is None
        assert line["values"] == [round(10_000 * value) for value in kept]
    assert payload["curves"]["rungs"] == [1, 3]


def test_the_best_so_far(made):
    payload, files, _ = made
    expected = [
        max(files.values[one] for one in range(number + 1) if files.alive(one)) for number in range(len(files.rows))
    ]
    assert payload["bought"]["best_so_far"] == expected
    assert payload["winner"] == files.values.index(max(files.values[one] for one in range(40) if files.alive(one)))


def test_the_best_against_device_seconds_follows_the_ends(made):
    payload, files, _ = made
    steps, seconds, best = [], 0.0, -1.0
    for number in files.ends:
        seconds += float(files.rows[number]["seconds"])
        if files.alive(number) and files.values[number] > best:
            best = files.values[number]
            steps.append((seconds, best, number))
    found = payload["bought"]["by_seconds"]
    assert [step[2] for step in found] == [step[2] for step in steps]
    assert [step[1] for step in found] == [step[1] for step in steps]
    assert [step[0] for step in found] == pytest.approx([step[0] for step in steps], abs=0.05)
    assert payload["bought"]["seconds"] == pytest.approx(seconds, abs=0.05)


def test_the_best_of_n_random_trials_is_that_over_all_choices_of_n(made):
    payload, files, space = made
    found, tpe = payload["bought"]["independent"], space.search.sampler == "tpe"
    drawn = range(8) if tpe else [n for n in range(40) if float(files.rows[n]["x"]) != 0.5]
    values = [files.values[number] for number in drawn if files.alive(number)]
    assert found["trials"] == len(values)
    assert payload["bought"]["chosen"] == (32 if tpe else 0)
    for size in (1, 2, 3, len(values)):
        place = found["sizes"].index(size)
        highest = sorted(max(some) for some in itertools.combinations(values, size))
        assert found["expected"][place] == pytest.approx(statistics.fmean(highest), abs=2e-6)
        for share, what in ((0.05, "low"), (0.95, "high")):
            first = next(value for count, value in enumerate(highest, 1) if count >= share * len(highest) - 1e-9)
            assert found[what][place] == pytest.approx(first, abs=2e-6)


def ranks(values):
    """Mean ranks, from 1."""
    return [sum(other < one for other in values) + (1 + sum(other == one for other in values)) / 2 for one in values]


def test_the_rungs_against_the_end(made):
    payload, files, _ = made
    whole = [number for number in range(40) if files.states[number] == "COMPLETE"]
    assert len(whole) > 3
    assert [rung["epochs"] for rung in payload["rungs"]] == [[1, 1], [3, 3]]
    for rung in payload["rungs"]:
        epoch = rung["epochs"][0]
        at = {number: max(files.curves[number][:epoch]) for number in whole}
        end = {number: max(files.curves[number]) for number in whole}
        assert rung["reached"] == sum(int(row["epochs"]) >= epoch for row in files.rows)
        stopped = [r for r in files.rows if r["state"] == "PRUNED" and int(r["epochs"]) == epoch]
        assert rung["stopped"] == len(stopped)
        assert rung["points"] == [[n, pytest.approx(at[n], abs=1e-6), pytest.approx(end[n], abs=1e-6)] for n in whole]
        correlation = np.corrcoef(ranks(list(at.values())), ranks(list(end.values())))[0, 1]
        assert rung["correlation"] == pytest.approx(correlation, abs=1e-5)
        best = max(whole, key=end.get)
        order = sorted(whole, key=at.get, reverse=True)
        assert rung["place"] == order.index(best) + 1
        kept = order[: -(-len(whole) // 3)]
        assert rung["lost"] == pytest.approx(end[best] - max(end[number] for number in kept), abs=2e-6)


def test_the_importance_names_what_decides(made):
    payload, _, _ = made
    found = payload["importance"]
    assert found["names"][0] == "x", "the value rises with x"
    assert sorted(found["names"]) == ["kind", "lr", "x"]
    assert sum(found["share"]) == pytest.approx(1, abs=1e-3)
    assert all(0 <= low <= high <= 1 for low, high in zip(found["low"], found["high"], strict=True))
    assert found["trials"] == 40 - len(FAILS)


def test_the_cost_and_the_timeline(made):
    payload, files, _ = made
    cost, timeline = payload["cost"], payload["timeline"]
    assert cost["trials"] == {state: files.states.count(state) for state in LETTERS}
    assert cost["epochs"] == sum(int(row["epochs"]) for row in files.rows)
    assert cost["search_seconds"] == pytest.approx(sum(float(row["seconds"]) for row in files.rows), abs=0.05)
    assert (cost["finals_runs"], cost["finals_seconds"], cost["finals_failed"]) == (0, 0, 0)
    assert sorted(bar[0] for bar in timeline["bars"]) == list(range(40))
    rows = {}
    for trial, row, begun, end in timeline["bars"]:
        assert 0 <= begun <= end
        assert begun >= rows.get(row, 0), f"trial {trial} shares its place with another"
        rows[row] = end
    assert timeline["rows"] == len(rows)
    names = [one["name"] for one in timeline["devices"] for _ in range(one["rows"])]
    assert list(dict.fromkeys(names)) == ["CPU, engine 0", "CPU, engine 1"]
    assert all(one["rows"] <= 5 for one in timeline["devices"])
    assert all(names[row] == f"CPU, engine {trial % 2}" for trial, row, _, _ in timeline["bars"])
    assert timeline["moved"] == {}


def test_the_timeline_has_the_rows_of_a_device_together():
    gpu, other = TrainedOn("GPU 2", "engine 0"), TrainedOn("GPU 10", "engine 1")
    places = {0: [(1, gpu)], 1: [(1, other)], 2: [(1, gpu)], 3: [(1, gpu), (4, other)], 4: []}
    records = [Record(Trial(number, "toy", {}, 0, 9), places=where) for number, where in places.items()]
    times = {0: (100.0, 110.0), 1: (100.0, 120.0), 2: (101.0, 130.0), 3: (112.0, None), 4: (150.0, 160.0)}
    found = timeline(times, records, deterministic=False)
    assert found["devices"] == [
        {"name": "GPU 2, engine 0", "rows": 2},
        {"name": "GPU 10, engine 1", "rows": 2},
        {"name": "", "rows": 1},
    ]
    assert found["moved"] == {"3": "GPU 2, engine 0, then GPU 10, engine 1"}
    assert {trial: row for trial, row, _, _ in found["bars"]} == {0: 0, 2: 1, 1: 2, 3: 3, 4: 4}
    assert (found["rows"], found["bars"][-1]) == (5, (4, 4, 50.0, 60.0))
    assert {trial: end for trial, _, _, end in found["bars"]}[3] == 60.0, "the last moment that is known"


def test_the_runs_of_the_finals_share_the_rows_of_their_device():
    gpu = TrainedOn("GPU 2", "engine 0")
    records = [Record(Trial(0, "toy", {}, 0, 9), places=[(1, gpu)])]
    runs = [
        {"stage": "finalists", "begun": 108.0, "ended": 140.0, "on": gpu.to_json()},
        {"stage": "retraining", "begun": 141.0, "ended": 150.5, "on": gpu.to_json()},
        {"curve": {}, "seconds": 1.0},  # of an older version
    ]
    found = timeline({0: (100.0, 110.0)}, records, deterministic=False, runs=runs)
    assert found["devices"] == [{"name": "GPU 2, engine 0", "rows": 2}]
    assert found["bars"] == [(0, 0, 0.0, 10.0)]
    assert found["runs"] == [("finalists", 1, 8.0, 40.0), ("retraining", 0, 41.0, 50.5)]


def test_a_study_of_before_says_no_device(finished):
    timeline = finished[1]["timeline"]
    assert (timeline["devices"], timeline["moved"], timeline["runs"]) == ([], {}, [])
    assert "which device it had is not on record" in " ".join(finished[0].split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The committed study, which has finals: its page and payload, and where it lies."""
    root = tmp_path_factory.mktemp("finished") / "study_v1"
    shutil.copytree(FIXTURE, root)
    folder = StudyFolder(root)
    study = open_study(folder, open_space(folder))
    html = page(study, read_results(folder), read_best(folder))
    return html, payload_of(html), root


def test_the_finalists_from_the_search_to_the_test(finished):
    _, payload, root = finished
    files, best = Files(root), yaml.safe_load((root / "best.yaml").read_text())
    metrics = json.loads((root / "final" / "metrics.json").read_text())
    assert len(payload["fates"]) == len(best["finalists"])
    for fate, row in zip(payload["fates"], best["finalists"], strict=True):
        default = row["trial"] == "default"
        assert fate["search"] == (None if default else files.values[row["trial"]])
        assert fate["mean"] == pytest.approx(statistics.fmean(row["seeds"]), abs=1e-6)
        assert fate["seeds"] == pytest.approx(row["seeds"], abs=1e-6)
        winner = row["trial"] == best["trial"]
        assert fate["winner"] == winner
        scored = metrics["test"] if winner else metrics["default"] if row["default"] else None
        assert fate["test"] == (None if scored is None else pytest.approx(scored["map"]["mean"], abs=1e-6))
    runs = [json.loads(line) for line in (root / "repeats.jsonl").read_text().splitlines()]
    assert payload["cost"]["finals_runs"] == len(runs)
    assert payload["cost"]["finals_seconds"] == pytest.approx(sum(run["seconds"] for run in runs), abs=1e-3)
    assert payload["cost"]["finals_epochs"] == sum(len(run["curve"]) for run in runs)


def test_the_verdict_says_the_scores_and_whether_a_difference_was_found(finished):
    html, payload, root = finished
    metrics = json.loads((root / "final" / "metrics.json").read_text())
    verdict = payload["verdict"]
    assert verdict["sentence"].startswith(f"Trial {metrics['trial']} is the winner: test MAP")
    assert f"{metrics['test']['map']['mean']:.4f}" in verdict["sentence"]
    assert verdict["sentence"] in " ".join(html.split()).replace("&#39;", "'")
    ap = {}
    with np.load(root / "final" / "query_ap.npz") as file:
        for name in ("test", "default", "untrained"):
            ap[name] = np.mean([file[f"{name}_{way}"] for way in ("a2v", "v2a")], axis=(0, 1))
    draw, raw = np.random.default_rng(7), {}
    for name, row in (("the default configuration", "default"), ("the untrained network", "untrained")):
        difference = ap["test"] - ap[row]
        signs = draw.choice([-1, 1], size=(20_000, len(difference)))
        raw[name] = np.mean(abs((signs * difference).mean(1)) >= abs(difference.mean()) - 1e-12)
        seeds = [metrics[one]["map"]["seeds"] for one in ("test", row)]
        parts = [(np.var(one, ddof=1) / len(one), len(one) - 1) for one in (difference, *seeds)]
        total = sum(part for part, _ in parts)
        freedom = total**2 / sum(part**2 / degrees for part, degrees in parts)
        raw[name] = max(raw[name], 2 * stats.t.sf(abs(difference.mean()) / total**0.5, freedom))
    low, high = sorted(raw, key=raw.get)
    adjusted = {low: min(1, 2 * raw[low]), high: max(min(1, 2 * raw[low]), raw[high])}
    for name, p in verdict["p_values"].items():
        assert p == pytest.approx(adjusted[name], abs=0.02)
        said = next(sentence for sentence in verdict["more"] if sentence.lower().startswith(name))
        assert ("no difference was found" in said) == (p >= 0.05)
    assert any("A difference must hold over the seeds too" in sentence for sentence in verdict["more"])


def test_the_classes_are_those_of_the_file(finished, tmp_path):
    html, payload, root = finished
    assert payload["classes"] is None, "an older avtune wrote none"
    assert 'id="map-by-class"' not in html
    assert "Other measures" not in html
    shutil.copytree(root, tmp_path / "later")
    way = {
        "map": [0.5, None, 0.25],
        "curve": [1.0, 0.5, 0.25],
        "confusion": [[1, 0, 1], [0, 0, 0], [0, 0, 4]],
        "examples": [{"query": 1, "ap": 0.125, "clips": [0, 5]}],
        "measures": {"map_at_r": 0.25, "ndcg": 0.75},
    }
    facts = {"classes": ["<b>dog</b>", "cat", "car"], "clips": [2, 0, 4], "labels": [0, 0, 2, 2, 2, 2]}
    (tmp_path / "later" / "final" / "by_class.json").write_text(json.dumps(facts | {"a2v": way, "v2a": way}))
    folder = StudyFolder(tmp_path / "later")
    html = page(open_study(folder, open_space(folder)), read_results(folder), read_best(folder))
    shown = payload_of(html)["classes"]
    assert shown["names"] == facts["classes"]
    for direction in (shown["a2v"], shown["v2a"]):
        assert direction["map"] == way["map"]
        assert direction["macro"] == pytest.approx((0.5 + 0.25) / 2)
        assert direction["micro"] == pytest.approx((2 * 0.5 + 4 * 0.25) / 6, abs=1e-4)
        assert direction["confusion"] == [[0.5, 0, 0.5], [0, 0, 0], [0, 0, 1]]
        assert direction["examples"] == [{"query": [1, [0]], "ap": 0.125, "found": [[0, [0]], [5, [2]]]}]
    assert "<td>1 &lt;b&gt;dog&lt;/b&gt;</td><td>0.1250</td>" in html
    measures = html.partition("Other measures")[2]
    for name, value in (("macro MAP", "0.3750"), ("MAP@R", "0.2500"), ("NDCG", "0.7500")):
        assert f"<td>{name}</td><td>{value}</td><td>{value}</td><td>{value}</td>" in measures


def test_scores_that_are_not_the_winners_are_not_compared(finished, tmp_path):
    _, _, root = finished
    shutil.copytree(root, tmp_path / "other")
    folder = StudyFolder(tmp_path / "other")
    np.savez(folder.query_ap, test_a2v=np.zeros((2, 24)), test_v2a=np.zeros((2, 24)))
    study = open_study(folder, open_space(folder))
    verdict = payload_of(page(study, read_results(folder), read_best(folder)))["verdict"]
    assert verdict["p_values"] == {}
    assert "query_ap.npz is of other scores" in verdict["more"][-1]
    assert not any("over the seeds too" in sentence for sentence in verdict["more"]), "no test, no word of it"
    folder.query_ap.write_bytes(b"PK")
    verdict = payload_of(page(study, read_results(folder), read_best(folder)))["verdict"]
    assert "query_ap.npz is damaged" in verdict["more"][-1]
