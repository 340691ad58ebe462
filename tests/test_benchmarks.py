"""The benchmarks run and report, their sides agree, and limits and disagreements are told. No times are tested."""

import argparse
import itertools
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from benchmarks import _measure, _products, _report, driver, search_wall, triplets  # noqa: E402
from benchmarks import map as map_benchmark  # noqa: E402
from benchmarks._training import Setup, step_products, trial  # noqa: E402

SOME_SIDES = driver.SIDES[0], driver.SIDES[2]  # each starts Ray
PLENTY = _measure.Limits(seconds=60, memory=4_000_000_000)
ADDED = 100_000_000


def summing(addition, size):
    return lambda: {"sum": float(np.arange(size).sum()) + addition}


def adding_memory(size):
    return lambda: {"last": float(np.ones(ADDED // 8)[-1])}


def endless(size):
    def call():
        while size > 1:
            pass
        return {}

    return call


def hungry(size):
    def call():
        held = []
        for _ in range(size):
            held.append(np.ones(ADDED // 8))
        return {}

    return call


def greedy(size):
    return lambda: {"sum": float(torch.ones(1 << 50).sum()) if size > 1 else 0.0}


def raising(size):
    def call():
        if size > 1:
            raise ValueError(f"no {size}")
        return {}

    return call


# --- how things are measured


def test_sides_take_turns_and_a_slow_one_drops_out(monkeypatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(_measure.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(_measure, "PAUSE", 0.0)
    called: list[str] = []
    calls = {name: (partial(called.append, name), rounds) for name, rounds in (("a", 3), ("b", 1))}
    assert _measure.take_turns(calls) == {"a": [1.0, 1.0, 1.0], "b": [1.0]}
    # The first of each is the warm-up.
    assert called == ["a", "b", "a", "b", "a", "a"]


def test_a_short_call_is_repeated_and_its_time_is_the_mean(monkeypatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(_measure.time, "perf_counter", lambda: 0.25 * next(clock))
    monkeypatch.setattr(_measure, "PAUSE", 0.0)
    monkeypatch.setattr(_measure, "SHORTEST", 1.0)
    called: list[str] = []
    assert _measure.take_turns({"a": (partial(called.append, "a"), 2)}) == {"a": [0.25, 0.25]}
    assert len(called) == 3 * 4


@pytest.mark.slow
def test_memory_is_that_of_the_call() -> None:
    tried = _measure.probe(adding_memory, 2, 1, PLENTY)
    assert isinstance(tried, _measure.Probe)
    assert tried.values == {"last": 1.0}
    assert 0.9 * ADDED < tried.memory < 1.5 * ADDED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "limits", "reason"),
    [
        (endless, _measure.Limits(0.2, PLENTY.memory), "over 0.2 s"),
        (hungry, _measure.Limits(60, 900_000_000), "over 0.9 GB"),
        (greedy, PLENTY, "out of memory, 4503600 GB asked for"),
        (raising, PLENTY, "failed: ValueError: no 500"),
    ],
)
def test_a_side_over_its_limits_is_left_out_with_the_reason(prepare, limits, reason) -> None:
    assert _measure.probe(prepare, 500, 1, limits) == reason


@pytest.mark.slow
def test_comparison_shows_who_disagrees_and_who_is_missing() -> None:
    sides = (
        _measure.Side("ours", partial(summing, 0)),
        _measure.Side("same", partial(summing, 1e-9)),
        _measure.Side("wrong", partial(summing, 1)),
        _measure.Side("absent", partial(summing, 0), needs="no-such-distribution"),
        _measure.Side("raises", raising),
    )
    found = dict(_measure.compare(sides, (10, 5), warm_size=1, rounds=1, limits=PLENTY))
    assert list(found) == [5, 10]
    assert _report.problems(found[5], 5, 1e-6) == ["5: wrong differs by 1.0e-01 in sum"]
    absent, raises = found[5][3:]
    assert (absent.left_out, raises.left_out) == ("no-such-distribution is not installed", "failed: ValueError: no 5")
    assert found[10][4].left_out == "failed: ValueError: no 5 at 5 already"
    rows = _report.comparison(found[5], {"sum": "sum"}, 1e-6).splitlines()
    assert [line.split(" | ")[0] for line in rows[2:]] == ["| ours", "| same", "| wrong", "| absent", "| raises"]
    assert ["DISAGREES: sum" in line for line in rows[2:]] == [False, False, True, False, False]
    assert "left out: no-such-distribution is not installed" in rows[5]


def test_our_side_left_out_is_a_problem() -> None:
    assert _report.problems([_measure.Outcome("ours", left_out="over 1 s")], 7, 1.0) == ["7: ours: over 1 s"]


# --- what is measured


@pytest.mark.parametrize("side", map_benchmark.SIDES, ids=lambda side: side.name)
def test_map_sides_agree(side) -> None:
    if side.needs is not None and _measure.installed(side.needs) is None:
        pytest.skip(f"{side.needs} is not installed")
    wanted = map_benchmark.ours(60)()
    apart, name = _measure.difference(wanted, side.prepare(60)())
    assert name
    assert apart < map_benchmark.TOLERANCE


@pytest.mark.parametrize(
    ("loss", "side"),
    [(loss, side) for loss, sides in triplets.LOSSES.items() for side in sides],
    ids=lambda part: getattr(part, "name", part),
)
def test_triplet_sides_agree(loss, side) -> None:
    if side.needs is not None and _measure.installed(side.needs) is None:
        pytest.skip(f"{side.needs} is not installed")
    wanted = triplets.LOSSES[loss][0].prepare(30)()
    found = side.prepare(30)()
    assert found.keys() == wanted.keys()
    assert _measure.difference(wanted, found)[0] < triplets.TOLERANCE


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_products_of_a_step(precision) -> None:
    setup = Setup(None, hidden=16, device="cpu", precision=precision, threads=1)
    forwards, backwards = step_products(setup, 2)
    products = forwards + backwards
    classes, batch, width = 15, 256, 64
    forward = sum(a * b for a, b in ((128, 16), (16, 16), (16, 64), (1024, 16), (16, 16), (16, 64)))
    first = (128 + 1024) * 16  # their inputs need no gradient
    heads = 2 * 3 * width * classes  # two views, forward and two backwards
    cosines = 3 * batch * width
    by_hand = 2 * 2 * batch * (3 * forward - first + heads + cosines)
    assert _products.flops(products) == by_hand
    assert ({first.dtype for first, _ in products} == {torch.float32}) == (precision == "fp32")
    _products.replay(products, torch.device("cpu"))()


def test_replay_computes_the_products(monkeypatch) -> None:
    recorder = _products.Recorder()
    x, w = torch.randn(2, 5, 3), torch.randn(2, 4, 3).transpose(1, 2)
    with recorder:
        torch.baddbmm(torch.zeros(2, 1, 4), x, w)
        x[0] @ w[0]
    products = recorder.products
    assert [(a.shape, b.shape) for a, b in products] == [((2, 5, 3), (2, 3, 4)), ((1, 5, 3), (1, 3, 4))]
    assert products[0][1].stride == w.stride()
    seen = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b, out: seen.append((a, b, bmm(a, b, out=out).clone())))
    _products.replay(products, torch.device("cpu"))()
    for (first, second, out), (a, b) in zip(seen, products, strict=True):
        assert (first.shape, second.stride()) == (a.shape, b.stride)
        torch.testing.assert_close(out, first @ second)


def test_every_lane_has_a_configuration_of_its_own() -> None:
    setup = Setup(None, hidden=16, device="cpu", precision="fp32", threads=1)
    configs = [trial(setup, number).config for number in range(3)]
    assert len({config["margin"] for config in configs}) == 3


# --- the commands

LONG_WITH_RAY = [pytest.mark.ray, pytest.mark.long]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ("map", ["## 200 rows", *(f"| {side.name} |" for side in map_benchmark.SIDES)]),
        pytest.param(
            "triplets",
            [*(f"## {loss}, B = 32" for loss in triplets.LOSSES), "| avtune |", "| dense |", triplets.PML],
            marks=pytest.mark.long,
        ),
        pytest.param(
            "lanes",
            ["## cpu, fp32: number of lanes", "| % of ceiling |", " of 2 lanes |", "| 1 process of 1 lane |"],
            marks=pytest.mark.long,
        ),
        pytest.param(
            "gpu",
            [
                "Complete: nothing fails",
                "### Lanes against the lone trial\n",
                "| vae_cca, centers=learned | fp64 |",
                "bf16, one process a trial",
                "| sum of the parts of a step |",
                "| semihard: dense |",
            ],
            marks=pytest.mark.long,
        ),
        pytest.param(
            "gpu_search",
            [
                "Complete: nothing fails",
                "| search of VEGAS's size |",
                "17 comparisons, no difference",
                "| with 2 lanes |",
                "| bit-equal |",
            ],
            marks=LONG_WITH_RAY,
        ),
        pytest.param(
            "psd_examined",
            ["8 of the 8 searches", "### demo, noise-40", "| `triplet` | 2 |", "| all of it, against `triplet` |"],
            marks=pytest.mark.long,
        ),
        pytest.param(
            "wide",
            ["4 of 4 searches are there.", "| usual | 2 |", "| wide | 2 |", "| average_decay |"],
            marks=pytest.mark.long,
        ),
        pytest.param(
            "reshuffle",
            ["| one split | 2 |", "| finals reshuffled | 2 |", "| all reshuffled | 2 |", "a split for each lane"],
            marks=pytest.mark.long,
        ),
        ("optimizer", ["| 1 | ", "| 4 | ", "kernel is faster"]),
        ("cpu_step", ["| matrix products |", "| (hidden layers as one function) |", "| whole step |", "(shipped)"]),
        ("precision", ["| psd, best epoch |", "| psd, last epoch |"]),
        ("page", ["| 60 |", "Goals at 1,000 trials"]),
        pytest.param(
            "resume", ["| opening it |", "| report.html |", "| memory of all this, MB |"], marks=pytest.mark.long
        ),
        pytest.param(
            "driver",
            ["| suggestion |", "| stop decision |", "| opening it |", *(f"| {side} |" for side in SOME_SIDES)],
            marks=LONG_WITH_RAY,
        ),
        pytest.param(
            "load",
            ["## Short trials", "| 1,920 | ", "the finished study alone"],
            marks=LONG_WITH_RAY,
        ),
        pytest.param("ray_start", ["| all | nothing |", "| own workers | any_worker |"], marks=LONG_WITH_RAY),
        pytest.param(
            "memory", ["## tiny size", "| now | 2 |", "| now | 20 |", "| engine: own, MB |"], marks=LONG_WITH_RAY
        ),
        pytest.param("layouts", ["| HDF5 | 9 |", "| YouTube-8M shards | 9 |"], marks=pytest.mark.long),
        pytest.param(
            "larger_than_memory",
            ["## Searching 3,000 clips", "| inline | driver |", "| lanes | engine |", "| 2,000 | 4,000 |"],
            marks=LONG_WITH_RAY,
        ),
    ],
)
def test_quick_run_writes_a_dated_report(claim, words, tmp_path) -> None:
    command = ["-m", f"benchmarks.{claim}", "--quick", "--out", str(tmp_path)]
    if claim in ("lanes", "gpu"):
        command += ["--device", "cpu"]
    if claim in ("psd_examined", "reshuffle", "wide"):
        command += ["--work", str(tmp_path / "work")]
    if claim == "gpu":
        command += ["--seconds", "1000"]  # more than it needs: nothing is left out on a busy machine
    if claim == "gpu_search":
        command += ["--gpus", "0", "--seconds", "1000"]
    if claim == "driver":
        command += ["--sides", ";".join(SOME_SIDES)]
    if claim == "load":
        command += ["--only", "short"]  # the other search is the same with other numbers
    if claim == "ray_start":
        command += ["--sides", "all;own workers"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = tmp_path.glob("*.md")
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d-{claim}\.md", report.name)
    said = report.read_text()
    for word in (
        "| command | `python -m benchmarks.",
        "| CPU |",
        "| cores |",
        "| GPU |",
        "| versions | python 3",
        *words,
    ):
        assert word in said, word
    assert "DISAGREES" not in said
    assert "failed:" not in said
    # Every table is whole.
    for table in re.findall(r"(?:^\|.*\|\n?)+", said, re.MULTILINE):
        assert len({line.count(" | ") for line in table.splitlines() if "left out" not in line}) == 1, table


def test_the_search_s_report_compares_seed_by_seed(tmp_path) -> None:
    given = argparse.Namespace(data="demo", space="demo", trials=36, seeds=2, first_seed=3, out=tmp_path, quick=False)
    search_wall._write(
        given,
        {
            "avtune": [{"wall": 10.0, "best": 0.5, "epochs": 100}, {"wall": 20.0, "best": 0.4, "epochs": 110}],
            "ray": [{"wall": 40.0, "best": 0.5, "epochs": 120}, {"wall": 60.0, "best": 0.6, "epochs": 120}],
        },
    )
    (report,) = tmp_path.iterdir()
    ours, theirs = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in report.read_text().splitlines()
        if line.startswith(("| avtune ", "| ray "))
    )
    assert ours == ["avtune", "15.0 (10.0 to 20.0)", "8,640", "105", "0.4500 (sd 0.0707)", "0", "3.50x"]
    # By hand: the differences are 0 and 0.2, and t of one degree of freedom is 12.706.
    assert theirs[5] == "+0.1000 ± 1.2706"
    assert theirs[6] == "1.00x"


def runs_of(*values: tuple[float, float]) -> list[dict[str, float]]:
    return [{"wall": wall, "best": best, "epochs": 1} for wall, best in values]


def test_the_search_s_claims_stand_beside_what_was_found() -> None:
    given = argparse.Namespace(data="some/demo.h5", trials=64, seeds=3)
    results = {
        "avtune": runs_of((10, 0.5), (20, 0.5), (10, 0.5)),
        "ray": runs_of((30, 0.5), (90, 0.6), (80, 0.7)),
        "optuna": runs_of((10, 0.3), (20, 0.3), (20, 0.3)),
    }
    assert search_wall._claims(given, results).splitlines()[2:] == [
        "- at least 4.0 times faster than ray: 4.50 times",
        "- best validation MAP not lower than that of ray by more than the latter's spread over seeds, 0.1000: "
        "0.1000 lower",
        "- at least 1.5 times faster than optuna: 1.00 times",
        "- best validation MAP not lower than that of optuna by more than the latter's spread over seeds, 0.0000: "
        "0.2000 higher",
    ]
    for other in ({"data": "mine"}, {"trials": 24}, {"seeds": 2}):
        changed = argparse.Namespace(**{**vars(given), **other})
        assert search_wall._claims(changed, results).startswith("Claims: not tested")
