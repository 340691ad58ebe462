"""The table of a search, at any width."""

from dataclasses import replace

import pytest

from avtune.cli import console
from avtune.cli.search_table import RunningTrial, SearchView, Stage, left_text, progress_text, search_lines
from avtune.core.trial import Trial
from avtune.runners.placement_text import Places
from avtune.study.record import Record
from avtune.study.summary import RungCount, Summary
from avtune.study.time_left import TimeLeft

AXES = ("margin", "w_cross", "w_dis", "r_init", "r_shrink", "dropout", "lr", "hyper_with_a_long_name")
CONFIG = {name: 0.123456 + place for place, name in enumerate(AXES)}


def best():
    record = Record(Trial(3, "psd", CONFIG, 0, 27, save_at=(3, 9)))
    for epoch, value in enumerate([0.2, 0.46, 0.4], 1):
        record.add_epoch(epoch, value, 1.0)
    return record


def view(trials=10_000, running=30, **more):
    rungs = [RungCount(3**k, trials / 3**k, max(0, trials - k), trials // 2, trials // 3) for k in range(1, 9)]
    done = Summary(trials, 9000, 100, 8800, 70, (), 123_456, 789.0, best(), tuple(rungs))
    now = [RunningTrial(n, n, 0.5 if n else None, 0.5 if n else None, CONFIG) for n in range(running)]
    given = {
        "title": f"{'a-study-name' * 8}: psd",
        "axes": AXES,
        "done": done,
        "running": now,
        "places": Places(16, 2, "lanes"),
        "elapsed": 4000.0,
        "rate": 12.345,
        "left": TimeLeft(180.0, 60.0),
    }
    return SearchView(**(given | more))


@pytest.mark.parametrize("columns", [40, 60, 79, 120, 250])
@pytest.mark.parametrize("rows", [23, 50])
def test_it_is_as_wide_and_as_high_as_there_is_room(columns, rows):
    lines = [line for line, _ in search_lines(view(title="first: psd"), columns, rows)]
    assert max(map(len, lines)) <= columns
    assert len(lines) <= rows
    text = " ".join(" ".join(lines).split())
    assert "8970 of 10000 ended (100 complete, 8800 stopped, 70 failed), 16 running, 1014 to come" in text
    assert "16 of 16 lanes busy, 12.3 epochs a second, 123456 epochs" in text
    assert "val MAP 0.4600, trial 3, epoch 2" in text
    assert "about 4 min 0 s: search 3 min 0 s, finals 1 min 0 s" in text
    assert all(f"{name}=" in text for name in AXES)
    assert text.count("reached 9999 9998") == 1, "rungs"
    if rows == 50 or columns > 40:
        assert lines[-1].split()[0] == "29", "the trial that came last"


def test_a_title_that_is_too_long_gives_way():
    (title, _), *_ = search_lines(view(), 60)
    assert title == f"{'a-study-name' * 8}: psd"


def test_what_is_not_known_is_not_there():
    bare = Summary(5, 0, 0, 0, 0, (), 0, 0.0, None, ())
    lines = [line for line, _ in search_lines(view(done=bare, running=0, places=None, rate=None, left=None), 80, 24)]
    assert [line.split()[0] for line in lines[1:]] == ["trials", "speed"]
    assert lines[1] == "trials     0 of 5 ended, 5 to come"


def test_the_finals_take_the_place_of_the_speed():
    lines = search_lines(view(stage=Stage("finalists", 3, 20), rate=None, left=TimeLeft(0.0, 75.0), running=0), 80, 24)
    text = "\n".join(line for line, _ in lines)
    assert "finals     finalists: 3 of 20 runs done" in text
    assert "time left  about 1 min 15 s" in text
    assert "speed" not in text
    assert Stage("retraining", 3, None).text == "retraining: 3 runs done"


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (None, ""),
        (TimeLeft(None, None), ""),
        (TimeLeft(None, 60.0), ""),
        (TimeLeft(60.0, None), "search about 1 min 0 s, then the finals"),
        (TimeLeft(60.0, None, True), "search at most 1 min 0 s, then the finals"),
        (TimeLeft(60.0, 5.0, True), "at most 1 min 5 s: search 1 min 0 s, finals 5 s"),
    ],
)
def test_only_what_is_known_of_the_time_left_is_said(left, said):
    assert left_text(left, in_finals=False) == said


def test_in_one_line():
    said = progress_text(view())
    assert said.startswith("8970 of 10000 trials ended, 30 running, 70 failed, 12.3 epochs a second, best val MAP 0.46")
    assert said.endswith(", time left: about 4 min 0 s: search 3 min 0 s, finals 1 min 0 s")
    said = progress_text(replace(view(), left=TimeLeft(60.0, None, True)))
    assert said.endswith(", time left: search at most 1 min 0 s, then the finals")


def test_letters_that_take_two_cells_move_no_column():
    header, rows = ["study", "map"], [["声音", "0.5"], ["é", "0.6"], ["first", ""]]
    assert console.fitting(header, rows, 12) == ["study  map", "声音   0.5", "é      0.6", "first"]
    assert console.fitting(header, [["声音声音声", "0.5"]], 14) == ["study 声音声音声", "  map  0.5"]
    assert console.fitting(["", "声音", "map"], [["one", "1", "2"]], 5) == ["one", "  声音  1", "  map   2"]


def test_a_table_that_is_too_wide_is_stacked():
    rows = [["first", "0.5000 ± 0.1000", ""], ["second", "0.6000 ± 0.1000", "yes"]]
    header = ["study", "map", "finished"]
    assert console.fitting(header, rows, 34) == [
        "study               map  finished",
        "first   0.5000 ± 0.1000",
        "second  0.6000 ± 0.1000  yes",
    ]
    assert console.fitting(header, rows, 30) == [
        "study first",
        "  map       0.5000 ± 0.1000",
        "study second",
        "  map       0.6000 ± 0.1000",
        "  finished  yes",
    ]
