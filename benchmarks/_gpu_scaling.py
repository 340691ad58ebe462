"""Part two of `benchmarks.gpu`: trials an hour against the number of lanes, beside one process a trial."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from avtune.core.words import plural
from avtune.engine.lane_trainer import LaneTrainer
from benchmarks import _report
from benchmarks._gpu_device import Clock, Device, out_of_memory
from benchmarks._gpu_report import Section, Table, one_line
from benchmarks._measure import spread
from benchmarks._processes import Engines
from benchmarks._training import AVE, EPOCHS, FIXED, METHOD, Setup, Shape, clips_per_epoch, engine, weight_bytes

VEGAS = Shape(10, 17_985, 4_497)
LANES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PROCESSES = (1, 2, 4, 8)
GPU_CLAIM = 15
PATIENCE = 90.0
"""Seconds to wait for a process that does not answer."""
ABOUT = f"""\
`{METHOD}`, batches of {FIXED["batch_size"]}, generated features. Trials an hour: of {EPOCHS} epochs, with validation,
nobody stopped early, no start-up counted. Clips a second: of all lanes together, the time without validation. Seconds
are by the host's clock with the device's work done; of each number of lanes one epoch warms up, unless it says `first`.
Memory: the most allocated at a time, of a new engine (on a CPU resident memory, which knows what is kept of earlier
work only roughly); in brackets what each lane after the first took, over the bytes of one lane's weights. Processes: so
many engines of one lane train side by side, each in a process of its own; all are started beforehand, and those that do
not train wait. Lanes replay recorded steps. Processes launch the kernels of every step, as a training script does, and
in a second table replay them too; the claims are about the first."""


@dataclass(frozen=True)
class Size:
    """A dataset's shape and the encoders for it."""

    name: str
    shape: Shape
    hidden: int

    def setup(self, device: Device, precision: str, threads: int) -> Setup:
        return Setup(None, self.hidden, device.kind, precision, threads, self.shape)

    @property
    def label(self) -> str:
        return f"{self.name} size ({self.shape.train:,} + {self.shape.validation:,} rows, {self.hidden:,} units)"


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    sizes: tuple[Size, ...]
    lanes: tuple[int, ...]
    few: tuple[int, ...]
    processes: tuple[int, ...]
    lane_seconds: float
    """Of training a number of lanes."""
    process_seconds: float


FULL = Plan((Size("AVE", AVE, 512), Size("VEGAS", VEGAS, 1024)), LANES, (1, 16, 64), PROCESSES, 1.0, 2.0)
QUICK = Plan(
    (Size("AVE", Shape(15, 300, 60), 32), Size("VEGAS", Shape(10, 600, 120), 48)), (1, 2, 4), (2,), (1, 2), 0.1, 0.2
)


@dataclass(frozen=True)
class Speed:
    """Of a number of lanes. `epochs`: seconds of each timed epoch of all lanes; `validation`: the median part of it
    that validates; `made`: seconds that the engine took to make; `first`: the one epoch is the first."""

    lanes: int
    epochs: list[float]
    validation: float
    made: float
    memory: int
    first: bool

    @property
    def trials_an_hour(self) -> list[float]:
        return [3600 * self.lanes / (EPOCHS * seconds) for seconds in self.epochs]


def scaling(section: Section, device: Device, clock: Clock, quick: bool) -> None:
    """Fills the section."""
    plan = QUICK if quick else FULL
    first, second = plan.sizes
    wide = [(first, plan.lanes, "bf16"), (second, plan.lanes, "bf16")]
    few = [(size, plan.few, name) for name in device.precisions if name != "bf16" for size in plan.sizes]
    shares = iter(clock.parts([20, 35, *[8] * 4, *[15 / max(1, len(few))] * len(few)]))
    best: dict[str, float | None] = {}
    for size, counts, precision in wide:
        own = next(shares)
        with section.attempt(f"{size.name} size, {precision}"):
            best[size.name] = _lanes(section, device, own, size, counts, precision, plan.lane_seconds)
    for size in plan.sizes:
        for record in (False, True):
            own = next(shares)
            if record and not device.cuda:
                continue  # nothing is recorded
            with section.attempt(f"{size.name} size, one process a trial"):
                _processes(section, device, own, size, plan, best.get(size.name), record)
    for size, counts, precision in few:
        own = next(shares)
        with section.attempt(f"{size.name} size, {precision}"):
            _lanes(section, device, own, size, counts, precision, plan.lane_seconds)
    if not device.cuda:
        section.leave_out("tf32", "it is a mode of a GPU's matrix units")


def _lanes(
    section: Section, device: Device, clock: Clock, size: Size, counts: Sequence[int], precision: str, seconds: float
) -> float | None:
    """The table of a size and a precision; the most trials an hour, None if nothing was measured."""
    setup = size.setup(device, precision, _report.cores() if device.cuda else 1)
    head = ["lanes", "trials an hour", "clips/s", "times one lane", "validation, % of an epoch", "epochs timed"]
    table = section.table(f"{size.label}, {precision}", [*head, "peak memory, MB", "MB a lane (extra / weights)"])
    found: list[Speed] = []
    for count in counts:
        expected = _expected(found[-1], count) if found else 0.0
        if clock.left < expected or clock.left < 0:
            section.leave_out(f"{size.name} size, {precision}, {plural(count, 'lane')}", _short(expected, clock))
            break
        try:
            speed = _speed(device, setup, count, seconds, clock)
        except Exception as error:
            if not out_of_memory(error):
                raise
            table.row(str(count), "left out: out of memory", *["–"] * 6)
            section.leave_out(f"{size.name} size, {precision}, {plural(count, 'lane')} and more", one_line(error))
            break
        finally:
            device.free()
        found.append(speed)
        _row(section, table, setup, size, found)
    return max((statistics.median(one.trials_an_hour) for one in found), default=None)


def _expected(last: Speed, count: int) -> float:
    """Seconds that so many lanes may take: to make them, an epoch to warm up and an epoch to time."""
    more = count / last.lanes
    growth = more if more <= 2 else more / 2  # few lanes are far from filling a GPU
    return growth * (last.made + 2 * max(last.epochs))


def _short(expected: float, clock: Clock) -> str:
    left = max(0.0, clock.left)
    return (
        f"it would take about {expected:.0f} s, {left:.0f} s of its share were left" if expected else "the time was up"
    )


def _speed(device: Device, setup: Setup, count: int, seconds: float, clock: Clock) -> Speed:
    """Epochs of a new engine, timed until they took so many seconds or the time is up."""
    before = device.start_of_peak()
    start = time.perf_counter()
    lanes = engine(setup, count, validate=True)
    device.wait()
    made = time.perf_counter() - start
    validations = _watch_validation(device, lanes)
    first = epoch = _epoch(device, lanes)
    epochs: list[float] = []
    while sum(epochs) < seconds and clock.left > 1.2 * epoch:
        epoch = _epoch(device, lanes)
        epochs.append(epoch)
    peak = device.peak() - before
    return Speed(
        count, epochs or [first], statistics.median(validations[-len(epochs) or -1 :]), made, peak, first=not epochs
    )


def _epoch(device: Device, lanes: LaneTrainer) -> float:
    device.wait()
    start = time.perf_counter()
    lanes.train_epoch()
    device.wait()
    return time.perf_counter() - start


def _watch_validation(device: Device, lanes: LaneTrainer) -> list[float]:
    """A list that takes in the seconds of every validation from now on."""
    seconds: list[float] = []
    validate = lanes._validate

    def timed(*arguments: object) -> object:
        device.wait()
        start = time.perf_counter()
        scores = validate(*arguments)  # type: ignore[arg-type]
        device.wait()
        seconds.append(time.perf_counter() - start)
        return scores

    lanes._validate = timed  # type: ignore[method-assign, assignment]
    return seconds


def _row(section: Section, table: Table, setup: Setup, size: Size, found: list[Speed]) -> None:
    one, speed = found[0], found[-1]
    weights = weight_bytes(setup)
    clips = [speed.lanes * clips_per_epoch(setup) / max(total - speed.validation, 1e-9) for total in speed.epochs]
    ratio = statistics.median(speed.trials_an_hour) / statistics.median(one.trials_an_hour)
    further = (speed.memory - one.memory) / (speed.lanes - 1) / weights if speed.lanes > 1 else None
    table.row(
        str(speed.lanes),
        spread(speed.trials_an_hour),
        spread(clips),
        f"{ratio:.3g}",
        f"{100 * speed.validation / statistics.median(speed.epochs):.0f}",
        "1 (first)" if speed.first else str(len(speed.epochs)),
        f"{speed.memory / 1e6:.0f}",
        f"{speed.memory / 1e6 / speed.lanes:.1f}" + (f" ({further:.1f})" if further is not None else ""),
    )
    section.add(
        size=size.name,
        precision=setup.precision,
        lanes=speed.lanes,
        trials_an_hour=statistics.median(speed.trials_an_hour),
        clips_per_second=statistics.median(clips),
        epoch_seconds=statistics.median(speed.epochs),
        validation_seconds=speed.validation,
        memory_bytes=speed.memory,
        weights_bytes=weights,
    )
    print(
        f"  {size.name}, {setup.precision}, {plural(speed.lanes, 'lane')}: {table.rows[-1][1]} trials an hour",
        flush=True,
    )


def _processes(
    section: Section, device: Device, clock: Clock, size: Size, plan: Plan, most_of_lanes: float | None, record: bool
) -> None:
    """The table of one process a trial, and the claim where its steps are not recorded."""
    what = f"{size.name} size, one process a trial" + (", recorded steps" if record else "")
    if clock.left <= 0:
        section.leave_out(what)
        return
    head = ["processes", "trials an hour", "clips/s", "lanes, at their best, are so many times faster"]
    table = section.table(f"{size.label}, bf16, one process a trial{', recorded steps' if record else ''}", head)
    most = max(plan.processes)
    setup = dataclasses.replace(size.setup(device, "bf16", max(1, _report.cores() // most)))
    speeds = []
    with Engines(setup, most, 1, record=record) as group:
        for count in plan.processes:
            if speeds and clock.left < plan.process_seconds:
                section.leave_out(f"{what}, {count} processes")
                break
            epochs = group.epochs_per_second(plan.process_seconds, engines=count, patience=PATIENCE)
            speeds.append(3600 * epochs / EPOCHS)
            times = f"{most_of_lanes / speeds[-1]:.3g}" if most_of_lanes else "–"
            table.row(str(count), f"{speeds[-1]:.0f}", f"{epochs * clips_per_epoch(setup):.0f}", times)
            section.add(size=size.name, precision="bf16", processes=count, recorded=record, trials_an_hour=speeds[-1])
            print(f"  {what}, {count}: {speeds[-1]:.0f} trials an hour", flush=True)
    if most_of_lanes and device.cuda and not record:
        one, many = (f"{most_of_lanes / speed:.3g} times" for speed in (speeds[0], max(speeds)))
        section.claims.append(
            f"{size.name} size, bf16: lanes train {one} the trials an hour of a process that launches every kernel, "
            f"{many} those of the best number of such processes (goal {GPU_CLAIM})"
        )
