"""Claim: many trials as lanes of the same tensors train faster than one by one, and faster than a process per trial.

Only the lane engine runs, without Ray and without a study: trials are admitted once and train until the clock is
stopped. Part one: clips trained per second against the number of lanes, and the ceiling, which is the time that the
step's matrix products take alone, on the same shapes. Part two: lanes against one process per trial on the same device,
with validation, in trials of 27 epochs an hour (nobody stopped early, no start-up counted).
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.connection import Connection

import numpy as np
import torch

from avtune.data import Dataset, from_arrays, load
from avtune.data.prepare import Prepared, for_search
from avtune.lanes.engine import Lanes
from avtune.lanes.modules import matrix_precision
from avtune.methods import Batch, Progress, check_config, get, static_values
from avtune.trial import Trial
from benchmarks import _report
from benchmarks._measure import Call, Limits, Values, probe, spread, take_turns
from benchmarks._products import Product, Recorder, flops, replay

LANES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
EPOCHS = 27
MEMORY_CLAIM, GPU_CLAIM = 6, 15
# The shape of the YouTube-8M subset that stands in for AVE.
CLASSES, TRAIN_ROWS, TEST_ROWS, AUDIO, VISUAL = 15, 1663, 417, 128, 1024
FIXED = {"batch_size": 256, "embedding_dim": 64, "r_shrink": 1.0}
VARIED = {"margin": (0.02, 0.8), "w_cross": (0.2, 20), "tau": (0.02, 1), "lr": (2e-4, 5e-3), "dropout": (0, 0.6)}
METHOD = "psd"


@dataclass(frozen=True)
class Setup:
    """What is trained, and where. `data`: a dataset's name or path, None for generated features."""

    data: str | None
    hidden: int
    device: str
    precision: str

    @property
    def label(self) -> str:
        return f"{self.device}, {self.precision}"


@cache
def prepared(data: str | None) -> Prepared:
    """Four fifths of the training rows to train on, the rest to validate."""
    return for_search(load(data) if data else _generated(), fraction=0.2, folds=None, seed=0)[0]


def _generated() -> Dataset:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    centres = {"audio": rng.normal(size=(CLASSES, AUDIO)), "visual": rng.normal(size=(CLASSES, VISUAL))}
    for split, rows in (("train", TRAIN_ROWS), ("test", TEST_ROWS)):
        arrays[f"lab_{split}"] = labels = rng.permutation(np.arange(rows) % CLASSES)
        for view, means in centres.items():
            arrays[f"{view}_{split}"] = means[labels] + 3 * rng.normal(size=(rows, means.shape[1]))
    return from_arrays(arrays, name="generated", source="generated")


def trial(setup: Setup, number: int) -> Trial:
    """A configuration of its own for every lane, all of one group."""
    rng = np.random.default_rng(number)
    varied = {name: float(rng.uniform(low, high)) for name, (low, high) in VARIED.items()}
    config = check_config(get(METHOD), FIXED | varied | {"hidden_dim": setup.hidden})
    return Trial(number, METHOD, config, seed=number, epochs=100_000, precision=setup.precision)


def engine(setup: Setup, num_lanes: int, *, validate: bool) -> Lanes:
    """An engine with so many lanes, all taken."""
    data = prepared(setup.data)
    if not validate:
        data = dataclasses.replace(data, validation=None)
    static = static_values(get(METHOD), trial(setup, 0).config)
    lanes = Lanes(METHOD, static, data, capacity=num_lanes, device=setup.device, precision=setup.precision)
    for number in range(num_lanes):
        lanes.admit(trial(setup, number))
    return lanes


def clips_per_epoch(setup: Setup) -> int:
    """Clips that one lane trains in an epoch: full batches only."""
    rows, batch = len(prepared(setup.data).train), int(FIXED["batch_size"])
    return rows // batch * batch


def step_products(setup: Setup, num_lanes: int) -> list[Product]:
    """The matrix products of one training step, forward and backward."""
    data, device = prepared(setup.data), torch.device(setup.device)
    config = trial(setup, 0).config
    method = get(METHOD)(static_values(get(METHOD), config), data.audio_dim, data.visual_dim, data.num_classes)
    params, buffers = (
        {name: value.to(device).expand(num_lanes, *value.shape).contiguous() for name, value in one.items()}
        for one in method.init(torch.Generator().manual_seed(0))
    )
    leaves = {name: value.requires_grad_() for name, value in params.items()}
    rows = slice(0, int(FIXED["batch_size"]))
    audio, visual, labels = (
        torch.from_numpy(array[rows]).to(device).expand(num_lanes, *array[rows].shape).contiguous()
        for array in (data.train.audio, data.train.visual, data.train.labels)
    )
    batch = Batch(audio, visual, labels, torch.zeros(num_lanes, dtype=torch.int32, device=device))
    hyper = {
        one.name: torch.full((num_lanes,), float(config[one.name]), device=device)
        for one in method.hypers
        if not one.static
    }
    none = torch.zeros(num_lanes, device=device)
    with Recorder() as recorder:
        with matrix_precision(setup.precision):
            losses = method.loss(leaves, buffers, batch, hyper, Progress(none, none + EPOCHS))
        torch.autograd.grad(losses["loss"].sum(), list(leaves.values()), materialize_grads=True)
    return recorder.products


def memory_call(setup: Setup, num_lanes: int) -> Call:
    """Two epochs of a new engine with validation, for its peak memory."""
    prepared(setup.data)

    def call() -> Values:
        lanes = engine(setup, num_lanes, validate=True)
        lanes.train_epoch()
        lanes.train_epoch()
        return {"gpu": float(torch.cuda.max_memory_allocated())} if setup.device == "cuda" else {}

    return call


def scaling(setup: Setup, counts: list[int], rounds: int, limits: Limits) -> tuple[str, int, float | None]:
    """Part one: (table, best number of lanes, bytes of each extra lane over the bytes of its weights)."""
    alone = engine(setup, 1, validate=False)
    weights = sum(value.nbytes for value in alone.weights(trial(setup, 0))[0].values())
    clips, rows = clips_per_epoch(setup), []
    memory_of_one, per_lane, best = 0.0, None, (0.0, 1)
    for count in counts:
        tried = probe(partial(memory_call, setup), count, 1, limits)
        if isinstance(tried, str):
            rows.append([str(count), f"left out: {tried}", *["–"] * 6])
            break
        memory = float(tried.values.get("gpu", tried.memory))
        if count == 1:
            memory_of_one = memory
        elif memory_of_one:
            per_lane = (memory - memory_of_one) / (count - 1) / weights
        products = step_products(setup, count)
        calls: dict[str, tuple[Callable[[], object], int]] = {"alone": (alone.train_epoch, rounds)}
        if count > 1:
            calls["fused"] = (engine(setup, count, validate=False).train_epoch, rounds)
        calls["ceiling"] = (replay(products, torch.device(setup.device)), rounds)
        seconds = take_turns(calls)
        fused = seconds.get("fused", seconds["alone"])
        speeds = [count * clips / one for one in fused]
        ceiling = [count * int(FIXED["batch_size"]) / one for one in seconds["ceiling"]]
        best = max(best, (float(np.median(speeds)), count))
        step_flops = flops(products)
        rows.append(
            [
                str(count),
                spread(speeds),
                spread([count * one / own for one, own in zip(seconds["alone"], fused, strict=True)]),
                spread(ceiling),
                spread([100 * one / most for one, most in zip(speeds, ceiling, strict=True)], 2),
                f"{step_flops / count / 1e9:.3g}",
                spread([step_flops / one / 1e9 for one in seconds["ceiling"]]),
                f"{memory / 1e6:.0f}" + (f" ({per_lane:.1f})" if count > 1 and per_lane is not None else ""),
            ]
        )
        print(f"  {setup.label}, {count} lanes: {rows[-1][1]} clips/s", flush=True)
    head = [
        "lanes",
        "clips/s",
        "times one lane",
        "ceiling, clips/s",
        "% of ceiling",
        "GFLOP a lane and step",
        "GFLOP/s at the ceiling",
        "peak memory, MB (extra lane / its weights)",
    ]
    return _report.table(head, rows), best[1], per_lane


class Processes:
    """So many processes, each with an engine of one lane, which train for as long as they are told."""

    def __init__(self, setup: Setup, count: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch"])
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_train_alone, args=(theirs, setup, number, count), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def epochs_per_second(self, seconds: float) -> float:
        """Epochs of all of them, trained at the same time."""
        for pipe in self._pipes:
            pipe.send(seconds)
        return sum(pipe.recv() for pipe in self._pipes)

    def close(self) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            process.join(timeout=10)
            process.kill()


def _train_alone(pipe: Connection, setup: Setup, number: int, count: int) -> None:
    torch.set_num_threads(max(1, _report.cores() // count))
    lanes = engine(setup, 1, validate=True)
    lanes.train_epoch()
    pipe.send(None)
    try:
        while True:
            pipe.send(_epochs_per_second(lanes, pipe.recv()))
    except EOFError:
        return


def _epochs_per_second(lanes: Lanes, seconds: float) -> float:
    start, elapsed, epochs = time.perf_counter(), 0.0, 0
    while elapsed < seconds:
        epochs += len(lanes.train_epoch())
        elapsed = time.perf_counter() - start
    return epochs / elapsed


def against_processes(
    setup: Setup, num_lanes: int, counts: list[int], rounds: int, seconds: float
) -> tuple[str, list[float]]:
    """Part two: (table, lanes over the best number of processes round by round)."""
    fused = engine(setup, num_lanes, validate=True)
    fused.train_epoch()
    measured: dict[str, list[float]] = {f"{num_lanes} lanes, 1 process": []}
    with ExitStack() as stack:
        groups = []
        for count in counts:
            groups.append(Processes(setup, count))
            stack.callback(groups[-1].close)
        names = [f"1 lane, {count} process{'es' * (count > 1)}" for count in counts]
        for _ in range(rounds):
            next(iter(measured.values())).append(_epochs_per_second(fused, seconds))
            for name, group in zip(names, groups, strict=True):
                measured.setdefault(name, []).append(group.epochs_per_second(seconds))
    ours = next(iter(measured.values()))
    rows = [
        [
            name,
            spread([3600 * speed / EPOCHS for speed in speeds]),
            spread([clips_per_epoch(setup) * speed for speed in speeds]),
            "1" if speeds is ours else spread([own / one for own, one in zip(ours, speeds, strict=True)]),
        ]
        for name, speeds in measured.items()
    ]
    most = max((measured[name] for name in names), key=float(np.median).__class__ and np.median, default=ours)
    head = ["", f"trials of {EPOCHS} epochs an hour", "clips/s", "lanes are so many times faster"]
    return _report.table(head, rows), [own / one for own, one in zip(ours, most, strict=True)]
