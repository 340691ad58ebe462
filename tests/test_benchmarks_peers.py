"""What `benchmarks.peers` makes of its measurements, and the finals that its sides share."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks import peers
from benchmarks._peer_kept import Kept, measured_when
from benchmarks._peer_task import Run, Task, finals

ROOT = Path(__file__).parents[1]


def runs_of(*values: tuple[float, float]) -> list[dict[str, float]]:
    return [{"wall": wall, "test": test, "best": 0.5, "epochs": 9} for wall, test in values]


def test_the_claims_stand_beside_what_was_found() -> None:
    given = argparse.Namespace(data="some/demo.h5", trials=64, seeds=5)
    results = {"avtune same finals": runs_of((10, 0.5), (20, 0.7)), "optuna": runs_of((40, 0.5), (40, 0.5))}
    assert peers.claims(given, results).splitlines()[2:] == [
        "- at least 3.0 times faster than optuna: 3.00 times",
        "- test MAP not lower than that of optuna: +0.1000",
    ]
    for other in ({"data": "mine"}, {"trials": 24}, {"seeds": 4}):
        changed = argparse.Namespace(**{**vars(given), **other})
        assert peers.claims(changed, results).startswith("Claims: not tested")


def test_a_row_has_the_interval_over_searches_and_the_ratio_to_each_peer() -> None:
    said = peers.table({"avtune same finals": runs_of((10, 0.5), (20, 0.7)), "ray": runs_of((40, 0.5), (40, 0.5))})
    ours = next(line for line in said.splitlines() if line.startswith("| avtune same finals"))
    # By hand: t of one degree of freedom is 12.706, the deviation of two values 0.2 apart is 0.1414.
    assert [cell.strip() for cell in ours.split("|")[2:-1]] == [
        "15.0 (10.0 to 20.0)",
        "9",
        "0.5000",
        "0.6000 ± 1.2706",
        "3.00x",
    ]


def test_time_to_quality_takes_the_fewest_configurations_that_are_as_good_as_the_peers() -> None:
    results = {
        "avtune same finals, 8 trials": runs_of((2, 0.4)),
        "avtune same finals, 16 trials": runs_of((5, 0.6)),
        "avtune same finals": runs_of((9, 0.7)),
        "optuna": runs_of((30, 0.5)),
        "ray": runs_of((70, 0.7)),
    }
    assert "avtune same finals, 16 trials: 0.6000 after 5.0 s, 10.0 times as fast" in peers.quality(results, [16, 8])
    worse = results | {"avtune same finals, 16 trials": runs_of((5, 0.5)), "avtune same finals": runs_of((9, 0.5))}
    assert "did not reach it" in peers.quality(worse, [16, 8])


def test_the_finals_of_all_sides_take_the_best_mean_at_its_best_epoch() -> None:
    asked: list[list[Run]] = []
    value = {"a": [0.1, 0.5, 0.3], "b": [0.4, 0.6, 0.2], "c": [0.0, 0.0, 0.1]}

    def do(runs: list[Run]) -> list[list[float]]:
        asked.append(runs)
        return [
            [0.75] if run.whole else [one + 0.01 * place for one in value[run.config["x"]]]
            for place, run in enumerate(runs)
        ]

    task = cast(Task, SimpleNamespace(finalists=2, seeds=2, epochs=3, seed=0))
    found = finals(task, [{"x": "a"}, {"x": "b"}, {"x": "c"}], do)
    repeats, tests = asked
    assert [(run.config["x"], run.epochs) for run in repeats] == [("a", 3), ("a", 3), ("b", 3), ("b", 3)]
    assert [(run.config["x"], run.epochs, run.whole) for run in tests] == [("b", 2, True)] * 2
    assert len({run.seed for run in repeats}) == 2, "the same seeds for every finalist"
    assert not {run.seed for run in repeats} & {run.seed for run in tests}
    assert found == {"test": 0.75, "final_epochs": 16.0}


@pytest.mark.long
@pytest.mark.ray
def test_all_sides_run(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", "--quick", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (report,) = tmp_path.glob("*-peers-demo.md")
    text = report.read_text()
    for side in [*peers.OURS, *(side for side in peers.PEERS if side not in peers.NEEDS)]:
        assert f"\n| {side} |" in text
    for side, package in peers.NEEDS.items():
        assert (f"\n| {side} |" in text) == (importlib.util.find_spec(package) is not None)


def test_a_side_that_cannot_take_part_says_why() -> None:
    for space, wrong in (("triplet", "which is written for psd, while triplet is a space of triplet"), ("psd", "")):
        task = Task("demo", space, 4, 3, 0, finalists=1, seeds=1)
        if importlib.util.find_spec("modelbatch") is None:
            wrong = "which is not installed"
        assert peers._why_not("modelbatch", task) == wrong
        assert peers._why_not("optuna", task) == ""


def test_a_side_that_there_is_not_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["peers", "--sides", "avtune,optune"])
    with pytest.raises(SystemExit):
        peers.main()
    assert "no side is called optune; sides: avtune, " in capsys.readouterr().err


def test_a_run_that_was_kept_counts_for_the_same_side_task_and_machine(tmp_path: Path) -> None:
    path, task, told = (
        tmp_path / "runs.jsonl",
        Task("a/demo.h5", "psd", 4, 3, 0, finalists=1, seeds=1),
        {
            "date": "2026-11-27 10:00",
            "commit": "commit abc",
            "load": "0.5",
        },
    )
    Kept(path, "two cores").add("optuna", task, {"wall": 2.5, "test": 0.5}, told)
    with path.open("a") as file:
        file.write('{"side": "ra')  # the process was killed here
    kept = Kept(path, "two cores")
    assert kept.find("optuna", replace(task, data="b/demo.h5")) == {"wall": 2.5, "test": 0.5}
    for side, other in (("ray", task), ("optuna", replace(task, seed=1)), ("optuna", replace(task, trials=5))):
        assert kept.find(side, other) is None
    assert Kept(path, "eight cores").find("optuna", task) is None
    kept.add("ray", task, {"wall": 9.0, "test": 0.5}, told | {"load": "1.5"})
    assert Kept(path, "two cores").find("ray", task) == {"wall": 9.0, "test": 0.5}
    assert measured_when(kept.used) == (
        "The 2 runs are of 2026-11-27 (commit abc); the load of the machine in the minute before them was 0.5 to 1.5, "
        "median 1.5."
    )


def test_a_measurement_in_parts_runs_each_side_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def side(name: str, task: Task) -> dict[str, float]:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(f"{name} {task.seed}")
        return {"wall": 1.0, "test": 0.5, "best": 0.5, "epochs": 9.0}

    monkeypatch.setattr(peers, "_ours", side)
    monkeypatch.setattr(peers, "_theirs", side)
    words = ["--sides", "avtune,optuna", "--seeds", "2", "--budgets", "", "--kept", str(tmp_path / "runs.jsonl")]
    monkeypatch.setattr(sys, "argv", ["peers", *words, "--out", str(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        peers.main()
    first, ran[:] = list(ran), []
    peers.main()
    assert first == ["avtune 0", "optuna 0"]
    assert ran == ["avtune 1", "optuna 1"]
    (report,) = tmp_path.glob("*-peers-demo.md")
    assert "The 4 runs are of" in report.read_text()
