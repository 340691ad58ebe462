"""Part one of `benchmarks.gpu`: what the tests show on the CPU, on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from avtune.core.hyper import Value
from avtune.data.own_rows import OwnRows
from avtune.data.prepare import Prepared
from avtune.engine.lane_map import lane_map
from avtune.lanes import hidden
from avtune.lanes.triplets import hard_triplets, semihard_triplets, weighted_triplets
from avtune.methods import METHODS
from avtune.methods._closed_form import ClosedForm
from benchmarks import _report
from benchmarks._agreement import (
    CHOICES,
    EPOCHS,
    Apart,
    adamw_apart,
    apart,
    changes,
    nudged,
    run,
    run_alone,
    some_trials,
)
from benchmarks._gpu_device import Clock, Device
from benchmarks._gpu_report import Section, Table, one_line
from benchmarks._oracles import (
    dense_weighted,
    example,
    loop_hard,
    loop_semihard,
    scored_embeddings,
    soft_weights,
    with_gradients,
)
from benchmarks._training import Shape, generated

FLOORS = {
    "fp64": Apart(1e-7, 1e-9, 1e-4),
    "fp32": Apart(1e-3, 1e-4, 1e-3),
    "tf32": Apart(1e-2, 1e-3, 2e-3),
    "bf16": Apart(1e-2, 1e-3, 2e-3),
}
"""Differences that are allowed to every method. A changed rank is worth up to 1e-4 MAP here."""
NUDGES = {"fp64": 1e-15, "fp32": 2e-7, "tf32": 2e-7, "bf16": 2e-7}
"""About two units in the last place, of a sum."""
FACTOR = 10
TRIALS, LANES = 4, 3


def _floors() -> str:
    head = ["precision", "weights", "loss", "MAP"]
    return _report.table(head, [[name, *(f"{most:g}" for most in floor)] for name, floor in FLOORS.items()])


ABOUT = f"""\
Lanes: {TRIALS} trials of a group, each with its own seed, learning rate, dropout and number of epochs, train in {LANES}
lanes; one joins late and takes the lane of another. Then each trains alone. Shown are the largest relative difference
of a tensor of final weights or buffers (Euclidean norm), of an epoch's loss, and the largest difference of an epoch's
validation MAP. A device sums in another order when there are more lanes, and training makes more of a difference in the
last bit; how much more depends on the method. Allowed are:

{_floors()}

Where that is exceeded, the lone trials train once more on features that differ by {NUDGES["fp32"]:g} of themselves
(fp64: {NUDGES["fp64"]:g}), and {FACTOR} times what that does is allowed. `fp64` trains with float64 weights and shows
what rounding hides elsewhere."""
KERNEL_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
"""Relative, of values and gradients: in float32 rounding decides whether a triplet of almost no cost has a gradient."""


_OWN = "validation rows of its own"


@dataclass(frozen=True)
class Sizes:
    """What is trained: the features, the hyper-parameters that set sizes, and each trial's epochs."""

    shape: Shape
    hypers: dict[str, Value]
    epochs: tuple[int, ...]


FULL = Sizes(
    Shape(8, 512, 256, 128, 256),
    {"hidden_dim": 256, "embedding_dim": 32, "batch_size": 128, "fourier_dim": 256},
    EPOCHS,
)
QUICK = Sizes(
    Shape(4, 48, 48, 10, 14),
    {"hidden_dim": 12, "embedding_dim": 5, "batch_size": 24, "fourier_dim": 32},
    (2, 1, 2, 1),
)


def conformance(section: Section, device: Device, clock: Clock, quick: bool) -> None:
    """Fills the section. Kernels first: they take a moment."""
    sizes = QUICK if quick else FULL
    _kernels(section, device)
    data = generated(sizes.shape)
    together = _Checks(section, clock, "Lanes against the lone trial", "method")

    def in_lanes(*precisions: str) -> None:
        for precision in precisions:
            for place, (name, method) in enumerate(METHODS.items()):
                if precision in ("bf16", "tf32") and issubclass(method, ClosedForm):
                    continue  # nothing is multiplied in that precision
                if quick and place and precision != "fp64":
                    continue  # one method shows that it runs
                together.check(name, precision, partial(_lanes, device, data, name, {}, precision, sizes))

    in_lanes("fp64", "bf16")
    if device.cuda:
        replayed = _Checks(section, clock, "Recorded steps against steps launched one by one", "method")
        for name, method in METHODS.items():
            if not issubclass(method, ClosedForm):
                replayed.check(name, "bf16", partial(_recorded, device, data, name, sizes))
        for label, change in CHOICES.items():
            replayed.check(f"psd, {label}", "bf16", partial(_recorded, device, data, "psd", sizes, change))
        replayed.check(f"psd, {_OWN}", "bf16", partial(_recorded, device, _own_rows(data), "psd", sizes))
        replayed.end()
        alone = _Checks(section, clock, "The lone trial on the device against the CPU", "method")
        for name in METHODS:
            alone.check(name, "fp64", partial(_device, device, data, name, sizes))
        alone.end()
    else:
        section.leave_out("tf32", "it is a mode of a GPU's matrix units")
        section.leave_out("the device against the CPU", "the device is the CPU")
    words = _Checks(section, clock, "Lanes against the lone trial, other choices", "method and choice")
    for precision in ("fp64", "bf16"):
        words.check(f"psd, {_OWN}", precision, partial(_lanes, device, _own_rows(data), "psd", {}, precision, sizes))
    for label, change in CHOICES.items():
        words.check(f"psd, {label}", "fp64", partial(_lanes, device, data, "psd", change, "fp64", sizes))
    for name, method in METHODS.items():
        for label, change in list(changes(method))[1:]:
            words.check(f"{name}, {label}", "fp64", partial(_lanes, device, data, name, change, "fp64", sizes))
    words.end()
    in_lanes("fp32", *(["tf32"] if device.cuda else []))
    together.end()
    count = sum(len(table.rows) for table in section.blocks if isinstance(table, Table))
    section.claims.append(f"conformance: {count - len(section.fails)} of {count} checks hold")


def _own_rows(data: Prepared) -> Prepared:
    """The training clips with a quarter of them for validation, others for each trial."""
    rows = len(data.train) - len(data.train) // 4
    return replace(data, validation=None, own_rows=OwnRows(0.25, None, None, 0, rows))


class _Checks:
    """A table of runs that should agree, a row a check; those that the clock forbids are left out in one line."""

    def __init__(self, section: Section, clock: Clock, heading: str, what: str) -> None:
        self._section, self._clock = section, clock
        self._late: list[str] = []
        head = [what, "precision"]
        head += [word for part in ("weights", "loss", "MAP") for word in (part, "allowed")]
        self._table = section.table(heading, [*head, "verdict"])

    def check(self, name: str, precision: str, call: Callable[[], tuple[Apart, Callable[[], Apart]]]) -> None:
        """One row; what raises is a row too."""
        if self._clock.left < 0:
            self._late.append(f"{name} {precision}")
            return
        what = f"{self._table.heading}: {name}, {precision}"
        try:
            found, after_nudge = call()
            allowed = FLOORS[precision]
            if _beyond(found, allowed):
                moved = after_nudge()
                allowed = Apart(*(max(least, FACTOR * one) for least, one in zip(allowed, moved, strict=True)))
        except Exception as error:
            self._table.row(name, precision, *["–"] * 6, f"FAILS: {type(error).__name__}")
            self._section.fail(f"{what}: {one_line(error)}")
            return
        wrong = _beyond(found, allowed)
        verdict = f"FAILS: {', '.join(wrong)}" if wrong else "bit-equal" if found.equal else "agrees"
        cells = [f"{value:.1e}" for pair in zip(found, allowed, strict=True) for value in pair]
        self._table.row(name, precision, *cells, verdict)
        numbers = found._asdict() | {f"{part}_allowed": value for part, value in allowed._asdict().items()}
        self._section.add(check=self._table.heading, name=name, precision=precision, verdict=verdict, **numbers)
        if wrong:
            self._section.fail(f"{what}: {', '.join(wrong)}")

    def end(self) -> None:
        if self._late:
            self._section.leave_out(f"{self._table.heading}: {', '.join(self._late)}")


def _lanes(
    device: Device, data: Prepared, name: str, change: dict[str, Value], precision: str, sizes: Sizes
) -> tuple[Apart, Callable[[], Apart]]:
    """How far lanes are from the lone trials; and, when called, how far these are from themselves after a nudge."""
    dtype = torch.float64 if precision == "fp64" else torch.float32
    products = "fp32" if precision == "fp64" else precision
    trials = some_trials(name, TRIALS, sizes.hypers, change, precision=products, epochs=sizes.epochs)
    lone = partial(run_alone, trials, dtype=dtype, device=device.kind)
    alone = lone(data)
    together = run(trials, data, lanes=LANES, late=1, dtype=dtype, device=device.kind)
    return apart(alone, together), lambda: apart(alone, lone(nudged(data, NUDGES[precision])))


def _recorded(
    device: Device, data: Prepared, name: str, sizes: Sizes, change: dict[str, Value] | None = None
) -> tuple[Apart, Callable[[], Apart]]:
    """As `_lanes`, how far lanes whose steps are replayed are from those whose kernels are launched one by one."""
    trials = some_trials(name, TRIALS, sizes.hypers, change, precision="bf16", epochs=sizes.epochs)
    both = partial(run, trials, data, lanes=LANES, late=1, dtype=torch.float32, device=device.kind)
    return apart(both(record=False), both()), lambda: Apart(0, 0, 0)


def _device(device: Device, data: Prepared, name: str, sizes: Sizes) -> tuple[Apart, Callable[[], Apart]]:
    """As `_lanes`, how far two lone trials are from the same on the CPU, where MAP is of float32 similarities."""
    trials = some_trials(name, 2, sizes.hypers, epochs=sizes.epochs)
    on_cpu = run_alone(trials, data)
    found = apart(on_cpu, run_alone(trials, data, device=device.kind))
    return found, lambda: apart(on_cpu, run_alone(trials, nudged(data, NUDGES["fp64"])))


def _beyond(found: Apart, allowed: Apart) -> list[str]:
    return [part for part, value, most in zip(Apart._fields, found, allowed, strict=True) if not value <= most]


def _kernels(section: Section, device: Device) -> None:
    """The optimiser, MAP and the triplets, each against its slow form."""
    table = section.table("Kernels against their slow forms", ["kernel", "difference", "allowed", "verdict"])

    def check(name: str, allowed: float, call: Callable[[], float]) -> None:
        try:
            found = call()
        except Exception as error:
            table.row(name, "–", f"{allowed:g}", f"FAILS: {type(error).__name__}")
            section.fail(f"{name}: {one_line(error)}")
            return
        verdict = ("equal" if found == 0 else "agrees") if found <= allowed else "FAILS"
        table.row(name, f"{found:.1e}", f"{allowed:g}", verdict)
        section.add(check=table.heading, name=name, difference=found, allowed=allowed, verdict=verdict)
        if verdict == "FAILS":
            section.fail(f"{name}: {found:.1e}")

    for dtype, allowed in ((torch.float64, 1e-12), (torch.float32, 5e-6)):
        said = f"AdamW of three lanes, 12 steps, against torch.optim.AdamW, {str(dtype).removeprefix('torch.')}"
        check(said, allowed, partial(adamw_apart, device.kind, dtype))
    for kind, allowed in (("random", 1e-5), ("tied", 1e-12), ("collapsed", 1e-12)):
        said = f"MAP of three lanes of 500 {kind} clips, against the CPU's kernel"
        check(said, allowed, partial(_map_apart, device, kind))
    if device.cuda:
        for dtype, allowed in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
            said = f"layer norm, tanh and dropout in one kernel, {str(dtype).removeprefix('torch.')}"
            check(said, allowed, partial(hidden.difference, device.torch, dtype))
    for name in ("all", "soft", "hard", "semihard"):
        for dtype, allowed in KERNEL_TOLERANCE.items():
            said = f"{name} triplets of three lanes, values and gradients, {str(dtype).removeprefix('torch.')}"
            check(said, allowed, partial(_triplets_apart, device, name, dtype))


def _map_apart(device: Device, kind: str) -> float:
    """The largest difference of a score."""
    z_a, z_v, labels, scores = scored_embeddings(kind, clips=500)
    found = lane_map(*(x.to(device.torch) for x in (z_a, z_v, labels))).cpu()
    return float((found - torch.tensor(scores, dtype=torch.float64)).abs().max())


def _triplets_apart(device: Device, name: str, dtype: torch.dtype) -> float:
    """The largest relative difference of the values or the gradients, by Euclidean norm."""
    dist, same, margin, draw = example(0, batch=200 if device.cuda else 40, dtype=dtype, device=device.kind)
    if name in ("all", "soft"):
        weights = soft_weights(same, draw, dtype) if name == "soft" else (same.to(dtype), (~same).to(dtype))
        pair = [with_gradients(form, dist, *weights, margin) for form in (weighted_triplets, dense_weighted)]
    else:
        forms = (hard_triplets, loop_hard) if name == "hard" else (semihard_triplets, loop_semihard)
        pair = [with_gradients(lambda *x, form=form: form(*x)[0], dist, same, ~same, margin) for form in forms]
    found, wanted = pair
    return max(
        float((one - other).detach().norm() / other.detach().norm()) for one, other in zip(found, wanted, strict=True)
    )
