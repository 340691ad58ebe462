"""Claim: beside matrix products no part of a training step on a CPU can be made much cheaper by fusing or chunking.

One step of `psd` with `--lanes` lanes is recorded: its matrix products, hidden layers, triplet losses, optimiser
updates and gathered rows. Each part is then repeated alone with the tensors that it had, in turn with whole steps.
Seconds are those of the processor for this process (`time.process_time`), on one thread, of the fastest round: other
work on the machine changes them least. The whole step's order and caches are not those of its parts, so `rest` is what
the parts do not explain: distances, soft alignments, autograd. Validation is that of an epoch, as a share of it.
Two candidates are measured beside what is shipped: hidden layers as one function (`benchmarks/_fused_hidden.py`), and
triplets in other chunks (`lanes.triplets.CPU_CHUNK`), whose results must be equal to the last bit.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from avtune.engine import steps as engine_steps
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.optimizer import AdamW
from avtune.lanes import modules, triplets
from avtune.lanes.dropout import Dropout
from avtune.lanes.hidden import hidden_layer
from avtune.methods import psd
from avtune.runners.ray.session import KEEP_MEMORY
from benchmarks import _report
from benchmarks._fused_hidden import fused_hidden
from benchmarks._products import replay
from benchmarks._training import AVE, FIXED, Setup, Shape, engine, step_products

VEGAS = Shape(10, 17_402, 4_349)
CHUNKS = (1 << 17, 1 << 16, 1 << 15, 1 << 14, 1 << 13)
_STEPS = 2  # of an epoch where steps are timed
Parts = dict[str, Callable[[], object]]


def main() -> None:
    parser = _report.arguments("cpu_step", __doc__)
    parser.add_argument("--lanes", type=int, default=4, help="lanes of the engine (4)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds, of which the fastest counts (15)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    given = parser.parse_args()
    needed = {KEEP_MEMORY[0]: KEEP_MEMORY[1], "OMP_NUM_THREADS": "1"}  # read when a process starts; as an engine has it
    if any(os.environ.get(name) != value for name, value in needed.items()):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.cpu_step", *sys.argv[1:]], os.environ | needed)
    torch.set_num_threads(1)
    sizes = {"AVE size": (AVE, 512), "VEGAS size": (VEGAS, 1024)}
    if given.quick:
        sizes, given.rounds = {"tiny": (Shape(5, 300, 60), 32)}, 2
    sections = [text for name, (shape, hidden) in sizes.items() for text in _section(name, shape, hidden, given)]
    title = f"Where a training step on a CPU spends its time: {given.lanes} lanes, {given.precision}"
    print(_report.write("cpu_step", title, [(__doc__ or "").partition("\n\n")[2], *sections], ["torch"], given.out))


def _section(name: str, shape: Shape, hidden: int, given: argparse.Namespace) -> list[str]:
    batch = int(FIXED["batch_size"])
    setup = Setup(None, hidden, "cpu", given.precision, 1, replace(shape, train=_STEPS * batch, validation=60))
    lanes = engine(setup, given.lanes, validate=False)
    lanes.train_epoch()
    parts, calls = _parts(setup, lanes)
    seconds = _fastest({"whole": lanes.train_epoch, **parts}, given.rounds)
    whole = seconds.pop("whole") / _STEPS
    seconds["validation"] = _validation(replace(setup, shape=replace(shape, train=batch)), given, whole)
    print(f"{name}: {1000 * whole:.1f} ms a step", flush=True)
    steps = shape.train // batch
    epoch = steps * whole + seconds["validation"]
    apart = sum(seconds[part] for part in parts if part not in _ASIDE)
    shown = {**{part: seconds[part] for part in parts}, "rest": whole - apart, "whole step": whole}
    rows = [[part, f"{1000 * one:.2f}", f"{one / whole:.1%}"] for part, one in shown.items()]
    said = (
        f"Validation of an epoch ({shape.validation:,} rows): {1000 * seconds['validation']:.0f} ms, "
        f"{seconds['validation'] / epoch:.1%} of an epoch of {steps} steps."
    )
    return [
        f"## {name}: {hidden} units, batches of {batch}, blocks of {_block(lanes)} lanes",
        _report.table(["part of a step", "processor ms", "share"], rows),
        said,
        *_chunks(calls, given.rounds),
    ]


_FUSED = "(hidden layers as one function)"
_NOISE = "(of the hidden layers: random numbers of the dropout)"
_ASIDE = (_FUSED, _NOISE)
"""Not added up: a part of another part, and a candidate in the place of one."""


def _block(lanes: LaneTrainer) -> int:
    return max(block.stop - block.start for block in lanes.blocks())


def _parts(setup: Setup, lanes: LaneTrainer) -> tuple[Parts, list[tuple[Any, ...]]]:
    """Calls that repeat the parts of a step of all blocks, and what the triplet losses were given."""
    with _recorded() as found:
        lanes.train_epoch()
    seen = {what: calls[: len(calls) // _STEPS] for what, calls in found.items()}
    products = [
        one for block in lanes.blocks() for part in step_products(setup, block.stop - block.start) for one in part
    ]
    parts: Parts = {
        "matrix products": replay(products, torch.device("cpu")),
        "hidden layers without their products": partial(_each, partial(_both_ways, hidden_layer), seen["hidden"]),
        _NOISE: partial(_each, _noise, seen["hidden"]),
        _FUSED: partial(_each, partial(_both_ways, fused_hidden), seen["hidden"]),
        "triplet losses": partial(_each, triplets.weighted_triplets, seen["triplets"]),
        "optimiser": partial(_each, AdamW().update, seen["update"]),
        "gathering of batches": partial(_each, engine_steps.take_rows, seen["rows"]),
    }
    return parts, seen["triplets"]


@contextmanager
def _recorded() -> Iterator[dict[str, list[tuple[Any, ...]]]]:
    """Within the block, notes the arguments of the parts of a step; tensors are copied."""
    found: dict[str, list[tuple[Any, ...]]] = {}

    def noted(what: str, call: Callable[..., Any], skip: int = 0) -> Callable[..., Any]:
        def noting(*args: Any) -> Any:
            kept = tuple(one.detach().clone() if isinstance(one, Tensor) else one for one in args[skip:])
            found.setdefault(what, []).append(kept)
            return call(*args)

        return noting

    with ExitStack() as patches:
        for where, name, what, skip in (
            (modules, "hidden_layer", "hidden", 0),
            (psd, "weighted_triplets", "triplets", 0),
            (AdamW, "update", "update", 1),
            (engine_steps, "take_rows", "rows", 0),
        ):
            patches.enter_context(mock.patch.object(where, name, noted(what, getattr(where, name), skip)))
        yield found


def _each(call: Callable[..., object], arguments: list[tuple[Any, ...]]) -> None:
    for one in arguments:
        call(*one)


def _both_ways(
    layer: Callable[..., Tensor], x_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor, dropout: Dropout
) -> list[Tensor]:
    leaves = [value.detach().requires_grad_() for value in (x_LBH, gain_LH, bias_LH)]
    made = layer(*leaves, dropout)
    return [made, *torch.autograd.grad(made, leaves, x_LBH.detach())]


def _noise(x_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor, dropout: Dropout) -> None:
    dropout.draw().factor(x_LBH.shape, x_LBH.dtype)


def _validation(setup: Setup, given: argparse.Namespace, step: float) -> float:
    """Seconds of a validation of all lanes: an epoch of one step with it, without that step."""
    lanes = engine(setup, given.lanes, validate=True)
    rounds = max(2, given.rounds // 5)
    return max(0.0, _fastest({"epoch": lanes.train_epoch}, rounds)["epoch"] - step)


def _chunks(calls: list[tuple[Any, ...]], rounds: int) -> list[str]:
    """Triplet losses with other chunks.

    Raises:
        SystemExit: their results differ.
    """
    shipped = triplets.CPU_CHUNK

    def with_chunk(chunk: int) -> None:
        with mock.patch.object(triplets, "CPU_CHUNK", chunk):
            _each(triplets.weighted_triplets, calls)

    results = []
    for chunk in CHUNKS:
        with mock.patch.object(triplets, "CPU_CHUNK", chunk):
            results.append([triplets.weighted_triplets(*one) for one in calls])
    if not all(torch.equal(one, other) for made in results for one, other in zip(made, results[0], strict=True)):
        raise SystemExit("triplet losses depend on their chunks")
    seconds = _fastest({str(chunk): partial(with_chunk, chunk) for chunk in CHUNKS}, rounds)
    rows = [
        [f"{chunk:,}{' (shipped)' if chunk == shipped else ''}", f"{1000 * seconds[str(chunk)]:.2f}"]
        for chunk in CHUNKS
    ]
    return [_report.table(["distances at a time", "triplet losses of a step, processor ms"], rows)]


def _fastest(calls: Parts, rounds: int) -> dict[str, float]:
    """Processor seconds of each call, in turn; the least over the rounds, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if turn:
                seconds[name].append(time.process_time() - start)
    return {name: min(found) for name, found in seconds.items()}


if __name__ == "__main__":
    main()
