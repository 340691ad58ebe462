"""What TensorBoard's own server makes of the files, asked as its pages ask it, over several starts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from board_server import Served
from made_board import CONFIG, ENDS, SPACE, write_board
from toy import toy_results

from avtune.core.trial import Trial
from avtune.report import board as listening
from avtune.report import tensorboard
from avtune.report.board import BoardListener
from avtune.report.columns import experiment, merged
from avtune.report.tensorboard import METRICS, StudyBoard
from avtune.report.winner_board import Embedded, write_winner
from avtune.space.axis import Axis
from avtune.study.record import Record


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    write_board(folder)
    return folder


def test_every_column_and_row_is_there_at_each_of_five_starts(logdir):
    for _ in range(5):
        served = Served(logdir)
        columns = served.hparams("experiment")["hparamInfos"]
        shown = [column["displayName"] for column in columns]
        assert shown[:5] == ["margin", "w_cross", "w_dis", "r_init", "r_shrink"]
        assert shown[5:10] == ["batch_size", "lr", "mining", "log10_lr", "log10_w_cross"]
        assert sorted(shown) == sorted([*CONFIG, "log10_lr", "log10_w_cross"])
        rows = served.rows()
        trials = {name: row for name, row in rows.items() if name.startswith("trial")}
        assert sorted(trials) == [f"trial_{number:05d}" for number in ENDS]
        names = {column["displayName"]: column["name"] for column in columns}
        for number, row in enumerate(trials[name] for name in sorted(trials)):
            missing = {1: {"margin"}, 2: {"mining"}}.get(number, set())
            assert {name for name, key in names.items() if key not in row["hparams"]} == missing
            assert row["hparams"][names["log10_lr"]] == pytest.approx(-(number % 2 + 2))
    assert "margin" not in trials["trial_00000"]["hparams"]


def test_domains_statuses_and_the_best_so_far(logdir):
    served = Served(logdir)
    columns = {one["displayName"]: one for one in served.hparams("experiment")["hparamInfos"]}
    assert columns["margin"]["domainInterval"] == {"minValue": 0.05, "maxValue": 1.0}
    assert columns["mining"]["domainDiscrete"] == ["all", "hard"]
    assert columns["batch_size"]["domainDiscrete"] == [256, 512]
    assert columns["swap"]["type"] == "DATA_TYPE_BOOL"
    rows = served.rows()
    said = {None: "UNKNOWN", "COMPLETE": "SUCCESS", "PRUNED": "SUCCESS", "FAIL": "FAILURE"}
    for number, end in ENDS.items():
        row = rows[f"trial_{number:05d}"]
        assert [session["status"] for session in row["sessions"]] == [f"STATUS_{said[end]}"]
        values = {one["name"]["tag"]: one["value"] for one in row["metricValues"]}
        best = max(0.2, 0.5 - 0.1 * number)
        assert values == pytest.approx({"map/val_best": best, "map/val": 0.1, "usage/epochs": 3})


def test_finalists_are_grouped_with_their_mean(logdir):
    rows = Served(logdir).rows()
    row = rows["finals/trial_00000"]
    assert [one["name"] for one in row["sessions"]] == [f"finals/trial_00000/seed_{seed}" for seed in range(3)]
    values = {one["name"]["tag"]: one["value"] for one in row["metricValues"]}
    assert values["map/val_best"] == pytest.approx(0.5)
    assert rows["finals/default"]["sessions"][0]["status"] == "STATUS_FAILURE"


def test_validation_map_is_the_first_card(logdir):
    tags = {tag for run in Served(logdir).get("scalars/tags").values() for tag in run}
    ordered = sorted(tags, key=lambda tag: tag.split("/"))  # as the page sorts groups, and cards in them
    assert ordered[0] == "map/val"
    assert list(dict.fromkeys(tag.split("/")[0] for tag in ordered))[:2] == ["map", "train"]  # those unfolded at first


def test_the_winner_has_scores_as_text_curves_and_a_projector(logdir):
    served = Served(logdir)
    texts = served.get("text/text", run="winner", tag="test scores")
    assert "retrained winner" in texts[0]["text"]
    assert "0.2500" in texts[0]["text"]
    assert "<table>" in texts[0]["text"]
    assert "the card" in served.get("text/text", run="winner", tag="winner: model card")[0]["text"]
    assert set(served.get("pr_curves/tags")["winner"]) == {"test/audio_to_visual", "test/visual_to_audio"}
    (curve,) = served.get("pr_curves/pr_curves", run="winner", tag="test/audio_to_visual")["winner"]
    assert curve["recall"][0] == 1
    assert curve["recall"][-1] < 0.05
    assert len(curve["precision"]) > 95
    assert all(later >= earlier for earlier, later in zip(curve["precision"], curve["precision"][1:], strict=False))
    assert served.get("projector/runs") == ["winner"]
    (info,) = served.get("projector/info", run="winner")["embeddings"]
    assert info["tensorShape"] == [24, 3]
    raw = served.get("projector/tensor", run="winner", name=info["tensorName"])
    points = np.frombuffer(raw, np.float32).reshape(24, 3)
    assert np.allclose(np.linalg.norm(points, axis=1), 1, atol=1e-4)
    clips = served.get("projector/metadata", run="winner", name=info["tensorName"]).decode().splitlines()
    assert clips[:3] == ["class\tview\tclip", "a b\taudio\t0", "cé\taudio\t1"]
    assert clips[13] == "a b\tvisual\t0"
    assert len(clips) == 25


def test_a_large_split_is_sampled_for_the_projector(tmp_path, monkeypatch):
    from avtune.report import winner_board

    monkeypatch.setattr(winner_board, "MOST_POINTS", 8)
    draw = np.random.default_rng(0)
    embedded = Embedded(draw.normal(size=(12, 3)), draw.normal(size=(12, 3)), np.arange(12) % 2, ("a", "b"))
    write_winner(tmp_path, toy_results(), "", embedded)
    rows = (tmp_path / "winner" / "clips.tsv").read_text().splitlines()[1:]
    assert len(rows) == 8
    assert [row.split("\t")[2] for row in rows[:4]] == [row.split("\t")[2] for row in rows[4:]]


def test_the_best_trials_keep_every_epoch_and_the_others_their_rungs(tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "FULL", 5)
    listener = BoardListener(StudyBoard(tmp_path, SPACE), tmp_path)
    values = np.random.default_rng(0).permutation(40) / 100 + 0.1
    for number, value in enumerate(values):
        record = Record(Trial(number, "psd", CONFIG, seed=0, epochs=81, save_at=(1, 3, 9, 27)))
        listener.started(record)
        for epoch in range(1, 13):
            at = value if epoch == 5 else value / 2
            record.add_epoch(epoch, at, 1.0)
            listener.epoch(record, epoch, {"val_map": at})
        record.end_training(None)
        record.end()
        listener.ended(record)
    files = list(tmp_path.rglob("*tfevents*"))
    assert len(files) == 41
    served = Served(tmp_path)
    rows = served.rows()
    assert len(rows) == 40
    best = [int(number) for number in np.argsort(-values)[:5]]
    for number in (*best, int(np.argmin(values))):
        got = served.get("scalars/scalars", run=f"trial_{number:05d}", tag="map/val")
        steps = [step for _, step, _ in got]
        assert steps == (list(range(1, 13)) if number in best else [1, 3, 5, 9, 12])
        shown = {one["name"]["tag"]: one["value"] for one in rows[f"trial_{number:05d}"]["metricValues"]}
        assert shown["map/val_best"] == pytest.approx(values[number])


def test_a_file_from_which_no_epoch_goes_is_not_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "FULL", 1)
    listener = BoardListener(StudyBoard(tmp_path, SPACE), tmp_path)
    for number, epochs in enumerate((1, 2, 3)):  # each better than the ones before
        record = Record(Trial(number, "psd", CONFIG, seed=0, epochs=81, save_at=(1, 3, 9, 27)))
        listener.started(record)
        for epoch in range(1, epochs + 1):
            record.add_epoch(epoch, number + 0.1 * epoch, 1.0)
            listener.epoch(record, epoch, {"val_map": number + 0.1 * epoch})
        record.end_training(None)
        record.end()
        listener.ended(record)
    files = {path.parent.name: path.name for path in tmp_path.glob("trial_*/*tfevents*")}
    assert [files[name].endswith(tensorboard._THINNED) for name in sorted(files)] == [False, False, False]
    better = Record(Trial(3, "psd", CONFIG, seed=0, epochs=81, save_at=(1, 3, 9, 27)))
    listener.started(better)
    better.add_epoch(1, 9.0, 1.0)
    better.end_training(None)
    better.end()
    listener.ended(better)
    (file,) = (tmp_path / "trial_00002").glob("*tfevents*")
    assert file.name.endswith(tensorboard._THINNED), "its second epoch is no rung"


def test_the_columns_of_several_spaces_have_the_domains_of_all():
    other = replace(
        SPACE,
        axes=(Axis("margin", "float", 0.01, 0.5), Axis("tau", "float", 0.1, 1.0, log=True)),
        fixed={"swap": True, "hidden_dim": 128, "mining": "semi", "lr": 0.1},
    )
    both = [experiment(space, METRICS) for space in (SPACE, other)]
    found = {one.display_name: one for one in merged(both, {"study": ["b", "a"]}).hparam_infos}
    margin, lr = found["margin"].domain_interval, found["lr"].domain_interval
    assert (margin.min_value, margin.max_value, lr.max_value) == (0.01, 1.0, 0.1)
    assert list(found["hidden_dim"].domain_discrete) == [64, 128]
    assert found["hidden_dim"].differs
    assert list(found["study"].domain_discrete) == ["a", "b"]
    assert [bool(value) for value in found["swap"].domain_discrete] == [False, True]
    assert set(found["mining"].domain_discrete) == {"all", "hard", "semi"}
    assert found["log10_tau"].domain_interval.min_value == pytest.approx(math.log10(0.1))
