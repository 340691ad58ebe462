"""Part four of `benchmarks.gpu`: MAP and triplets at VEGAS size, against other forms on the same device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from avtune.engine.lane_map import lane_map
from avtune.lanes.triplets import semihard_triplets
from avtune.metrics import retrieval_scores
from benchmarks import map as maps
from benchmarks import triplets
from benchmarks._gpu_device import Clock, Device
from benchmarks._gpu_report import Section, Table
from benchmarks._measure import Values, difference

MANY_LANES = 16
ABOUT = f"""\
MAP: exact, both directions, of {maps.WIDTH}-d embeddings of {maps.CLASSES} classes, from tensors that are on the
device. Ours on the CPU gives the running definition too. Triplets: loss and gradients in both embeddings,
{triplets.WIDTH}-d, {triplets.CLASSES} classes, one direction, float32; the dense form has a B x B x B tensor. Times are
medians, by the device's events. Memory: the most allocated at a time, less what was before. The difference is the
largest relative one, of MAP from ours on the CPU and of loss or gradients from the dense form; allowed are
{maps.TOLERANCE:g} and {triplets.TOLERANCE:g} (see `map.py` and `triplets.py`)."""

LOSSES: dict[str, tuple[Callable[..., triplets.Loss], Callable[..., triplets.Loss]]] = {
    "all": (partial(triplets.ours_weighted, False), partial(triplets.dense_weighted, False)),
    "soft": (partial(triplets.ours_weighted, True), partial(triplets.dense_weighted, True)),
    "hard": (triplets.ours_hard, triplets.dense_hard),
    "semihard": (partial(triplets.ours_mined, semihard_triplets), triplets.dense_semihard),
}


def kernels(section: Section, device: Device, clock: Clock, quick: bool) -> None:
    """Fills the section."""
    least = 0.01 if quick else 0.1
    for rows in (150, 250) if quick else (5_621, 4_497):
        if clock.left < 0:
            section.leave_out(f"MAP of {rows:,} clips")
            continue
        _map(section, device, rows, least)
    for size in (24, 32) if quick else (256, 512):
        table = section.table(
            f"Triplets, B = {size}", ["loss and form", "ms", "times ours", "peak memory, MB", "difference", "verdict"]
        )
        for name, (ours, dense) in LOSSES.items():
            if clock.left < 0:
                section.leave_out(f"{name} triplets, B = {size}")
                continue
            _triplets(section, table, device, name, size, ours, dense, least)


def _map(section: Section, device: Device, rows: int, least: float) -> None:
    """The table of so many clips."""
    audio, visual, labels = maps.tensors(rows, device.kind)
    scores = retrieval_scores(*maps.embeddings(rows))
    wanted: Values = {"map_a2v": scores.map_a2v, "map_v2a": scores.map_v2a}
    stack = [view.expand(MANY_LANES, -1, -1).contiguous() for view in (audio, visual)]
    on = device.kind
    sides: dict[str, tuple[Callable[[], Tensor | tuple[Tensor, Tensor]], int]] = {
        f"ours on {on}, 1 lane": (lambda: lane_map(audio[None], visual[None], labels)[0], 1),
        f"ours on {on}, {MANY_LANES} lanes, a lane": (lambda: lane_map(*stack, labels)[-1], MANY_LANES),
        f"torch argsort on {on}": (partial(maps.argsort_map, audio, visual, labels, rows), 1),
        f"torch argsort on {on}, {maps.BLOCK} queries at a time": (
            partial(maps.argsort_map, audio, visual, labels, maps.BLOCK),
            1,
        ),
    }
    table = section.table(
        f"MAP of {rows:,} clips", ["side", "ms", "times ours", "peak memory, MB", "difference", "verdict"]
    )
    cpu = Device("cpu")
    ours: list[float] = []
    for name, (call, lanes) in sides.items():
        with section.attempt(f"{table.heading}, {name}"):
            _side(section, table, device, name, call, lanes, least, ours, partial(_apart, wanted), maps.TOLERANCE)
    seconds = cpu.median(lambda: retrieval_scores(*maps.embeddings(rows)), least=least)
    table.row("ours on the CPU, all cores", f"{1e3 * seconds:.2f}", _times(seconds, ours), "–", "–", "–")
    section.add(kernel="map", rows=rows, side="ours on the CPU", seconds=seconds)


def _apart(wanted: Values, made: Tensor | tuple[Tensor, Tensor]) -> float:
    a2v, v2a = (float(value) for value in made)
    return difference(wanted, {"map_a2v": a2v, "map_v2a": v2a})[0]


def _times(seconds: float, ours: list[float]) -> str:
    return f"{seconds / ours[0]:.3g}" if ours else "–"


def _triplets(
    section: Section,
    table: Table,
    device: Device,
    name: str,
    size: int,
    ours: Callable[..., triplets.Loss],
    dense: Callable[..., triplets.Loss],
    least: float,
) -> None:
    """Two rows: ours and the dense form."""
    audio, visual, _ = triplets.batch(size, device.kind)
    calls = [partial(triplets.loss_and_gradients, make(size, device.kind), audio, visual) for make in (ours, dense)]

    def apart(made: tuple[Tensor, Tensor, Tensor]) -> float:
        return difference(triplets.values(*calls[1]()), triplets.values(*made))[0]

    first: list[float] = []
    with section.attempt(f"{table.heading}, {name}"):
        _side(section, table, device, f"{name}: ours", calls[0], 1, least, first, apart, triplets.TOLERANCE)
        _side(section, table, device, f"{name}: dense", calls[1], 1, least, first, None, triplets.TOLERANCE)


def _side(
    section: Section,
    table: Table,
    device: Device,
    name: str,
    call: Callable[[], object],
    lanes: int,
    least: float,
    first: list[float],
    apart: Callable[..., float] | None,
    tolerance: float,
) -> None:
    """One row. `first` takes in the first side's seconds."""
    what = f"{table.heading}, {name}"
    before = device.start_of_peak()
    made = call()
    device.wait()
    memory = device.peak() - before
    found = apart(made) if apart else None
    del made
    seconds = device.median(call, least=least) / lanes
    if not first:
        first.append(seconds)
    good = found is None or found <= tolerance
    verdict = "–" if found is None else "agrees" if good else "FAILS"
    table.row(
        name,
        f"{1e3 * seconds:.3f}",
        _times(seconds, first),
        f"{max(0, memory) / 1e6:.0f}",
        "–" if found is None else f"{found:.0e}",
        verdict,
    )
    section.add(kernel=table.heading, side=name, seconds=seconds, memory_bytes=memory, difference=found)
    if not good:
        section.fail(f"{what}: {found:.1e}, allowed {tolerance:g}")
