"""Part three of `benchmarks.gpu`: what a training step spends its time on, each part beside its roofline."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from avtune.core.words import plural
from avtune.engine.captured import CudaGraphs
from avtune.engine.lane_trainer import LaneTrainer
from avtune.lanes.modules import matrix_precision
from benchmarks import _report
from benchmarks._gpu_device import Clock, Device
from benchmarks._gpu_report import Section
from benchmarks._gpu_scaling import FULL as FULL_SCALING
from benchmarks._gpu_scaling import QUICK as QUICK_SCALING
from benchmarks._gpu_scaling import Size
from benchmarks._gpu_step import Part, Step
from benchmarks._training import engine

ABOUT = """\
`whole step` is an epoch of the engine without validation, divided by its steps: `replayed` as a recording, as engines
train, and `launched` kernel by kernel. Every part of a step is done by itself, on the same shapes and again and again,
replayed where the step is, and timed by the device's own events; `backward` is a forward and backward pass less a
forward pass. The parts are a lane's share of a step; those `of an epoch` are done once an epoch, not once a step, and
are not recorded: their times include what the host takes.

The roofline is the larger of bytes over bandwidth and FLOP over FLOP/s, both measured here (first table). Counted are
the fewest bytes of a part that is one kernel: each input read once, each result written once, in the dtype that it has;
what is saved for the backward pass is counted there. FLOP: two for each multiplication and addition of a matrix
product; other arithmetic counts nothing. In full, for a lane, with B rows of a batch, A and V features, H units of a
hidden layer, N rows of the validation set:

- gather: B (A + V) features of 4 bytes read and written, labels and row numbers of 8 bytes.
- batch norm: the features in and out.
- forward products: operands and results of the products that a step was seen to compute (recorded, `_products.py`).
- layer norm, tanh, dropout: four hidden layers, B x H in and out.
- triplets (both directions, and soft weights): the embeddings in; B x B distances and weights of positives and
  negatives read, gradients written, twice; the product of the cosines.
- other losses: the embeddings in.
- backward: operands and results of its products (recorded); of four hidden layers the gradient and what was saved in,
  the gradient out; B x B gradients in.
- optimiser: 28 bytes a weight (weight, gradient and two moments in; weight and two moments out).
- row orders: the host draws each lane's for the epoch; no bytes of the device.
- validation: N rows of features in, the products of the encoders, two N x N similarities in float32 written and read.
"""


@dataclass(frozen=True)
class Roof:
    """Measured: bytes a second of a copy (read and written), and FLOP/s of a large product by precision."""

    bandwidth: float
    flops: dict[str, float]


def steps(section: Section, device: Device, clock: Clock, quick: bool) -> None:
    """Fills the section."""
    roof = _roof(section, device, quick)
    least = 0.01 if quick else 0.05
    sizes = (QUICK_SCALING if quick else FULL_SCALING).sizes
    counts = (2,) if quick else (64, 8, 1)
    jobs = [(size, count, "bf16") for count in counts for size in reversed(sizes)]
    jobs += [(sizes[0 if quick else -1], counts[0], name) for name in device.precisions if name != "bf16"]
    spent = 0.0
    for size, count, precision in jobs:
        what = f"{size.name} size, {precision}, {plural(count, 'lane')}"
        if clock.left < spent:
            section.leave_out(what)
            continue
        start = time.perf_counter()
        with section.attempt(what):
            _job(section, device, size, count, precision, roof, least)
        device.free()
        spent = max(spent, time.perf_counter() - start)
        print(f"  {what}: done", flush=True)
    if not device.cuda:
        section.leave_out("tf32", "it is a mode of a GPU's matrix units")


def _roof(section: Section, device: Device, quick: bool) -> Roof:
    """Measures what the rooflines are made of."""
    table = section.table("What the device can do", ["", "measured", "of"])
    elements = (1 << 20 if quick else 1 << 28) if device.cuda else 1 << 22
    source, target = (torch.randn(elements, device=device.torch) for _ in range(2))
    seconds = device.median(partial(target.copy_, source), least=0.05)
    bandwidth = 2 * source.nbytes / seconds
    table.row("copy", f"{bandwidth / 1e9:,.0f} GB/s", f"{source.nbytes / 2**20:,.0f} MiB, read and written")
    section.add(measured="bandwidth", bytes_per_second=bandwidth)
    del source, target
    width = 8192 if device.cuda and not quick else 256
    flops = {}
    for precision in device.precisions:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(1, width, width, device=device.torch).to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        with matrix_precision(precision):
            seconds = device.median(partial(torch.bmm, a, b, out=out), least=0.05)
        flops[precision] = 2 * width**3 / seconds
        table.row(f"product, {precision}", f"{flops[precision] / 1e12:,.3g} TFLOP/s", f"{width:,} x {width:,} matrices")
        section.add(measured="product", precision=precision, flop_per_second=flops[precision])
        del a, b, out
    device.free()
    return Roof(bandwidth, flops)


def _job(section: Section, device: Device, size: Size, count: int, precision: str, roof: Roof, least: float) -> None:
    """The table of one size, precision and number of lanes."""
    setup = size.setup(device, precision, _report.cores() if device.cuda else 1)
    lanes = engine(setup, count, validate=True)
    head = ["part", "us a lane", "of the whole step, %", "MB a lane", "GFLOP a lane", "roofline, us", "bound by"]
    table = section.table(f"{size.label}, {precision}, {plural(count, 'lane')}", [*head, "times the roofline"])
    whole = _whole_step(device, lanes, lanes._train_block)
    launched = _whole_step(device, lanes, lanes._steps.train)
    recorder = CudaGraphs(device.torch) if device.cuda and lanes._captured and lanes._captured.used else None
    for name, seconds in (
        ("whole step, replayed" if recorder else "whole step", whole),
        ("whole step, launched", launched),
    ):
        table.row(name, f"{1e6 * seconds / count:.1f}", f"{100 * seconds / whole:.0f}", *["–"] * 5)
        section.add(size=size.name, precision=precision, lanes=count, part=name, seconds=seconds)
    step = Step(lanes, setup, count)
    total = 0.0
    with matrix_precision(precision):
        for part in step.parts():
            seconds = _seconds(device, part, least, recorder)
            total += seconds if part.of_step else 0.0
            per_step = f"{100 * seconds / whole:.0f}" if part.of_step else "–"
            _row(section, table.row, part, seconds, per_step, count, roof, precision, size.name)
    table.row("sum of the parts of a step", f"{1e6 * total / count:.1f}", f"{100 * total / whole:.0f}", *["–"] * 5)


def _row(
    section: Section,
    row: Callable[..., None],
    part: Part,
    seconds: float,
    per_step: str,
    count: int,
    roof: Roof,
    precision: str,
    size: str,
) -> None:
    moving, computing = part.bytes / roof.bandwidth, part.flops / roof.flops["fp32" if part.in_fp32 else precision]
    floor = max(moving, computing)
    row(
        part.name,
        f"{1e6 * seconds / count:.1f}",
        per_step,
        f"{part.bytes / 1e6 / count:.3g}",
        f"{part.flops / 1e9 / count:.3g}" if part.flops else "0",
        f"{1e6 * floor / count:.1f}" if floor else "–",
        ("bytes" if moving >= computing else "FLOP") if floor else "–",
        f"{seconds / floor:.1f}" if floor else "–",
    )
    section.add(
        size=size,
        precision=precision,
        lanes=count,
        part=part.name,
        seconds=seconds,
        bytes=part.bytes,
        flop=part.flops,
        roofline_seconds=floor,
    )


def _seconds(device: Device, part: Part, least: float, recorder: CudaGraphs | None) -> float:
    """Of a part: recorded and replayed where steps are, else called."""
    if recorder is None or part.on_host:
        return device.median(part.call, least=least, first=part.first)
    first = part.first
    if first is None:
        return device.median(recorder(lambda: _drop(part.call())), least=least)
    before, both = recorder(lambda: _drop(first())), recorder(lambda: _drop(part.call(first())))
    return device.median(both, least=least) - device.median(before, least=least)


def _drop(_: object) -> None:
    """A step returns nothing."""


def _whole_step(device: Device, lanes: LaneTrainer, train_block: Callable[[slice], object]) -> float:
    """Seconds of a step of all lanes: of an epoch less its validation."""

    def train() -> None:
        for block in lanes.blocks():
            train_block(block)

    train()
    device.wait()
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        train()
        device.wait()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) / lanes._steps.count
