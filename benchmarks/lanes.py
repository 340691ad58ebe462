"""Claim: many trials as lanes of the same tensors train faster than one by one, and faster than a process per trial.

Only the lane engine runs, without Ray and without a study: trials are admitted once and train until the clock is
stopped. Part one: clips trained per second against the number of lanes, and the ceiling, which is the time that the
step's matrix products take alone, on the same shapes. Part two: engines on the whole device, one on a GPU or one on
each CPU core as avtune places them, against one process per trial on the same device: with validation, in trials of 27
epochs an hour (nobody stopped early, no start-up counted).
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch

from avtune.engine.lane_trainer import LaneTrainer
from benchmarks import _report
from benchmarks._measure import Call, Limits, Values, probe, spread, take_turns
from benchmarks._processes import Engines
from benchmarks._products import flops, replay
from benchmarks._training import (
    EPOCHS,
    FIXED,
    METHOD,
    Setup,
    clips_per_epoch,
    engine,
    prepared,
    step_products,
    trial,
)

LANES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MEMORY_CLAIM, GPU_CLAIM = 6, 15
NOTES = """\
How to read part one: clips/s are clips trained, of all lanes together, without validation. The ceiling is what the
step's matrix products alone would allow, computed one after the other on the same shapes, layouts and precision into
memory that is there already; what is missing to it are the other operations, the optimiser and the gathering of
batches. On a CPU an engine trains wide lanes in two blocks, or in more of about 40 MB of weights, one block's epoch
after the other: what a step keeps for its backward pass is of one block only. Peak memory is of two epochs with
validation in a process of its own: resident memory on a CPU, torch's allocations on a GPU. In brackets, what each lane
after the first took, over the bytes of one lane's weights; the claim is of the row where that is most."""


@dataclass(frozen=True)
class Scaling:
    """Part one. `best`: the fastest number of lanes above one, if there is one; `memory`: bytes of each extra lane over
    the bytes of its weights, where that is most, None with one lane."""

    table: str
    best: int
    memory: float | None


def memory_call(setup: Setup, num_lanes: int) -> Call:
    """Two epochs of a new engine with validation, for its peak memory."""
    prepared(setup)
    torch.set_num_threads(setup.threads)

    def call() -> Values:
        if setup.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        lanes = engine(setup, num_lanes, validate=True)
        lanes.train_epoch()
        lanes.train_epoch()
        return {"gpu": float(torch.cuda.max_memory_allocated())} if setup.device == "cuda" else {}

    return call


def free_gpu(setup: Setup) -> None:
    """Gives back the GPU memory that torch keeps for later, so that another process has it."""
    if setup.device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def timed(setup: Setup, alone: LaneTrainer, num_lanes: int, rounds: int) -> tuple[dict[str, list[float]], int]:
    """(seconds of an epoch of `alone`, of an epoch of so many lanes and of a step's products, in turn; the
    floating-point operations of these products)."""
    fused = engine(setup, num_lanes, validate=False) if num_lanes > 1 else alone
    sizes = [block.stop - block.start for block in fused.blocks()]
    passes_of = {size: step_products(setup, size) for size in set(sizes)}
    products = [product for size in sizes for one_pass in passes_of[size] for product in one_pass]
    calls: dict[str, tuple[Callable[[], object], int]] = {"alone": (alone.train_epoch, rounds)}
    if num_lanes > 1:
        calls["fused"] = (fused.train_epoch, rounds)
    calls["ceiling"] = (replay(products, torch.device(setup.device)), rounds)
    return take_turns(calls), flops(products)


def scaling(setup: Setup, counts: Sequence[int], rounds: int, limits: Limits) -> Scaling:
    """Measures part one for every number of lanes, ascending, up to one that takes too much."""
    alone = engine(setup, 1, validate=False)
    weights = sum(value.nbytes for value in alone.store.weights(trial(setup, 0))[0].values())
    clips = clips_per_epoch(setup)
    rows: list[list[str]] = []
    speed_of: dict[int, float] = {}
    memory_of: dict[int, float] = {}
    memory: float | None = None
    for count in sorted({1, *counts}):
        free_gpu(setup)
        tried = probe(partial(memory_call, setup), count, 1, limits)
        if isinstance(tried, str):
            rows.append([str(count), f"left out: {tried}", *["–"] * 6])
            break
        memory_of[count] = float(tried.values.get("gpu", tried.memory))
        extra = ""
        if count > 1:
            further = (memory_of[count] - memory_of[1]) / (count - 1) / weights
            extra = f" ({further:.1f})"
            memory = max(memory or 0.0, further)
        seconds, operations = timed(setup, alone, count, rounds)
        fused = seconds.get("fused", seconds["alone"])
        speeds = [count * clips / one for one in fused]
        ceiling = [count * int(FIXED["batch_size"]) / one for one in seconds["ceiling"]]
        speed_of[count] = statistics.median(speeds)
        rows.append(
            [
                str(count),
                spread(speeds),
                spread([count * one / own for one, own in zip(seconds["alone"], fused, strict=True)]),
                spread(ceiling),
                spread([100 * one / most for one, most in zip(speeds, ceiling, strict=True)], 2),
                f"{operations / count / 1e9:.3g}",
                spread([operations / one / 1e9 for one in seconds["ceiling"]]),
                f"{memory_of[count] / 1e6:.0f}{extra}",
            ]
        )
        print(f"  {setup.label}, {lanes_text(count)}: {rows[-1][1]} clips/s", flush=True)
    head = (
        "lanes",
        "clips/s",
        "times one lane",
        "ceiling, clips/s",
        "% of ceiling",
        "GFLOP a lane and step",
        "GFLOP/s at the ceiling",
        "peak memory, MB (extra lane / its weights)",
    )
    fused_counts = [count for count in speed_of if count > 1] or list(speed_of)
    return Scaling(_report.table(head, rows), max(fused_counts, key=speed_of.__getitem__), memory)


def against_processes(
    setup: Setup, num_lanes: int, counts: Sequence[int], rounds: int, seconds: float
) -> tuple[str, list[float]]:
    """Measures part two: (table, speed of lanes over that of the best number of processes, round by round)."""
    free_gpu(setup)
    num_engines = 1 if setup.device == "cuda" else _report.cores()
    shapes = {"lanes": (num_engines, num_lanes)} | {f"processes {count}": (count, 1) for count in counts}
    speeds: dict[str, list[float]] = {name: [] for name in shapes}
    with ExitStack() as stack:
        groups = {}
        for name, (engines, lanes) in shapes.items():
            own = dataclasses.replace(setup, threads=max(1, _report.cores() // engines))
            groups[name] = stack.enter_context(Engines(own, engines, lanes))
        for _ in range(rounds):
            for name, group in groups.items():
                speeds[name].append(group.epochs_per_second(seconds))
    ratios = {
        name: [own / one for own, one in zip(speeds["lanes"], others, strict=True)] for name, others in speeds.items()
    }
    rows = [
        [
            f"{shapes[name][0]} process{'es' if shapes[name][0] > 1 else ''} of {lanes_text(shapes[name][1])}",
            spread([3600 * speed / EPOCHS for speed in measured]),
            spread([clips_per_epoch(setup) * speed for speed in measured]),
            "1" if name == "lanes" else spread(ratios[name]),
        ]
        for name, measured in speeds.items()
    ]
    head = ("", f"trials of {EPOCHS} epochs an hour", "clips/s", "lanes are so many times faster")
    best = min((ratios[name] for name in shapes if name != "lanes"), key=statistics.median)
    return _report.table(head, rows), best


def lanes_text(count: int) -> str:
    """`1 lane`, `2 lanes`."""
    return f"{count} lane{'s' if count > 1 else ''}"


def measure(setup: Setup, options: argparse.Namespace, limits: Limits) -> tuple[list[str], list[str]]:
    """Both parts: (sections of the report, claims beside what was found)."""
    quick, on_gpu = options.quick, setup.device == "cuda"
    most = options.most or (2 if quick else LANES[-1])
    rounds = options.rounds or (1 if quick else 5)
    counts = options.processes or ([1] if quick else [1, 2, 4, 8] if on_gpu else sorted({1, _report.cores()}))
    torch.set_num_threads(setup.threads)
    found = scaling(setup, [count for count in LANES if count <= most], rounds, limits)
    table, ratios = against_processes(
        setup, found.best, counts, rounds, seconds=options.seconds or (0.2 if quick else 10)
    )
    place = f"one engine, {setup.threads} of {_report.cores()} CPU cores"
    sections = [
        f"## {setup.label}: number of lanes ({place})",
        found.table,
        f"## {setup.label}: lanes against one process per trial",
        table,
    ]
    print("\n\n".join(sections), flush=True)
    aim = f" at least {GPU_CLAIM} times" if on_gpu else ""
    claims = [
        f"- {setup.label}: trials an hour,{aim} those of the best number of processes: {spread(ratios)} times",
    ]
    if found.memory is not None:
        claims.append(
            f"- {setup.label}: an extra lane takes at most {MEMORY_CLAIM} times the bytes of its weights: "
            f"{found.memory:.1f} times"
        )
    return sections, claims


def main() -> int:
    parser = _report.arguments("lanes", __doc__)
    _report.add_limits(parser)
    parser.add_argument("--most", type=int, help=f"most lanes ({LANES[-1]})")
    parser.add_argument("--data", help="a dataset's name or path (generated features of a real file's shape)")
    parser.add_argument("--hidden", type=int, help="width of the hidden layers (512)")
    parser.add_argument("--device", nargs="+", choices=("cpu", "cuda"), help="where (cpu, and cuda if there is one)")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), help="(fp32, and bf16 where it is fast)")
    parser.add_argument("--threads", type=int, help="CPU threads of the engine of part one (cpu: 1; cuda: all cores)")
    parser.add_argument("--processes", type=int, nargs="+", help="processes per device (cuda: 1 2 4 8; cpu: 1 and all)")
    parser.add_argument("--seconds", type=float, help="seconds of a round of part two (10)")
    options = parser.parse_args()
    limits = _report.limits(options)
    hidden = options.hidden or (32 if options.quick else 512)
    sections, claims = [], []
    for device in options.device or (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]):
        threads = options.threads or (_report.cores() if device == "cuda" else 1)
        fast = ["fp32", "bf16"] if not options.quick and _report.fast_bf16(device) else ["fp32"]
        for precision in options.precision or fast:
            setup = Setup(options.data, hidden, device, precision, threads)
            more_sections, more_claims = measure(setup, options, limits)
            sections += more_sections
            claims += more_claims
    if not torch.cuda.is_available():
        claims.append("- on a GPU: not measured, this machine has none")
    loaded = sorted({"ray", "optuna"} & sys.modules.keys())
    assert not loaded, f"the lane engine needs neither, yet this process has imported {loaded}"
    setting = (
        f"`{METHOD}`, hidden width {hidden}, batches of {FIXED['batch_size']}, {clips_per_epoch(setup):,} clips an "
        f"epoch; data: {options.data or 'generated'}. Ray and Optuna are not loaded (checked at the end of the run). "
        f"A number of lanes is left out where two epochs take over {limits.seconds:g} s or "
        f"{limits.memory / 1e9:.1f} GB."
    )
    sections = ["\n".join(["Claims:", "", *claims]), setting, NOTES, *sections]
    print(_report.write("lanes", "Lanes: trained clips per second", sections, ("numpy", "torch"), options.out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
