"""Checks that a method keeps to its contract (`_base.Method`), on a few random clips: what `--method` is asked before a
search starts, and what the tests ask of the methods here.

Legend: L lanes, B rows of a batch, D embedding.
"""

from __future__ import annotations

import contextlib
import io
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avtune.core.errors import UserError, shown
from avtune.core.hyper import Value
from avtune.lanes.modules import Tensors
from avtune.lanes.noise import init_generator, step_keys
from avtune.methods._base import Batch, Method, Progress, static_values
from avtune.methods._closed_form import ClosedForm
from avtune.methods._in_place import named, read_by_a_step

_LANES = 2
_FEW = 16  # clips of a try; a method that fails with so few is tried again with its own batch size
_MOST_WEIGHTS = 1 << 25  # weights of a lane; methods with more are not tried
_TOLERANCE = 1e-3  # relative to the largest value: float32 sums may add in another order
_PACKAGE = Path(__file__).parents[1]


class Broken(Exception):
    """The method does not keep to the contract; says in words what it gave and what is expected."""


class Sample:
    """A method with lanes of fresh weights, hyper-parameters of their own, and a batch of random clips.

    Args:
        kind: the method.
        config: a full configuration.
        dims: widths of the audio and the visual features, and number of classes.
        lanes, rows: L and B.
        dtype: of all that is not whole numbers.
        multi_label: clips have several labels.
    """

    def __init__(
        self,
        kind: type[Method],
        config: Mapping[str, Value],
        dims: tuple[int, int, int],
        *,
        lanes: int,
        rows: int,
        dtype: torch.dtype = torch.float32,
        multi_label: bool = False,
    ) -> None:
        self.method = kind(static_values(kind, config), *dims)
        made = [self.method.init(init_generator(seed)) for seed in range(lanes)]
        self.params, self.buffers = (
            {name: torch.stack([one[part][name] for one in made]).to(dtype) for name in made[0][part]}
            for part in (0, 1)
        )
        self.hyper = {
            hyper.name: torch.tensor(
                [min(float(config[hyper.name]) * (1 + 0.1 * lane), float(hyper.high or 1e9)) for lane in range(lanes)],
                dtype=dtype,
            )
            for hyper in kind.hypers
            if not hyper.static
        }
        self.progress = Progress(torch.arange(lanes).to(dtype), torch.full((lanes,), 9.0, dtype=dtype))
        draw = np.random.default_rng(0)
        labels = np.stack([draw.permutation(np.arange(rows) % min(dims[2], max(2, rows // 4))) for _ in range(lanes)])
        audio, visual = (torch.tensor(draw.normal(size=(lanes, rows, dim)), dtype=dtype) for dim in dims[:2])
        keys = torch.tensor(step_keys(np.arange(lanes), np.arange(lanes)))
        if multi_label:
            labels = np.eye(dims[2], dtype=bool)[labels] | (draw.random((lanes, rows, dims[2])) < 0.2)
        self.batch = Batch(audio, visual, torch.tensor(labels), keys)

    def lane(self, at: int) -> tuple[Tensors, Tensors, Batch, Tensors, Progress]:
        """What `loss` takes of one lane alone: copies."""
        return self._part(slice(at, at + 1))

    def all_lanes(self) -> tuple[Tensors, Tensors, Batch, Tensors, Progress]:
        """What `loss` takes: copies."""
        return self._part(slice(None))

    def other_lanes_changed(self) -> tuple[Tensors, Tensors, Batch, Tensors, Progress]:
        """The same with other clips, weights and hyper-parameters in all lanes but the first."""
        params, buffers, batch, hyper, progress = self.all_lanes()
        for value in params.values():
            value[1:] = -value[1:].flip(-1)  # other weights of the same size
        for view in (batch.audio, batch.visual):
            view[1:] = -view[1:]
        for value in hyper.values():
            value[1:] = (value[1:] + value[0]) / 2
        labels = batch.labels
        labels[1:] = labels[1:].roll(1, 1)
        return params, buffers, batch, hyper, progress

    def _part(self, lanes: slice) -> tuple[Tensors, Tensors, Batch, Tensors, Progress]:
        params, buffers, hyper = (
            {name: value[lanes].clone() for name, value in part.items()}
            for part in (self.params, self.buffers, self.hyper)
        )
        one = self.batch
        batch = Batch(*(x[lanes].clone() for x in (one.audio, one.visual, one.labels, one.dropout_keys)))
        return params, buffers, batch, hyper, Progress(self.progress.epoch[lanes], self.progress.epochs[lanes])


def check(
    spec: str,
    kind: type[Method],
    config: Mapping[str, Value],
    dims: tuple[int, int, int],
    rows: int,
    *,
    multi_label: bool = False,
) -> None:
    """Asks a method of the user's own for all that training asks of it, on the CPU. What it prints is not shown.

    Args:
        spec: as the command line names it.
        config: a full configuration.
        dims: widths of the audio and the visual features, and number of classes.
        rows: clips of a batch in training.
        multi_label: they have several labels.

    Raises:
        UserError: it does not keep to the contract.
    """
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        problem = broken(kind, config, dims, min(rows, _FEW), multi_label=multi_label)
        if problem is not None and rows > _FEW:  # e.g. a covariance that so few clips cannot fill
            problem = broken(kind, config, dims, rows, multi_label=multi_label)
    if problem is not None:
        raise UserError(f"--method {spec}: {problem}\nsee docs/own_method.md; nothing was started")


def broken(
    kind: type[Method],
    config: Mapping[str, Value],
    dims: tuple[int, int, int],
    rows: int = _FEW,
    *,
    multi_label: bool = False,
) -> str | None:
    """What is wrong with a method, None where it keeps to the contract. Leaves torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        try:
            _init(kind, config, dims)
            with _calling("init"):
                sample = Sample(kind, config, dims, lanes=_LANES, rows=rows, multi_label=multi_label)
            if sum(value[0].numel() for value in sample.params.values()) > _MOST_WEIGHTS:
                return None
            if issubclass(kind, ClosedForm):
                _solve(sample)
            else:
                _step(sample)
            _embed(sample)
            _schedules(sample)
        except Broken as problem:
            return str(problem)
    return None


def _init(kind: type[Method], config: Mapping[str, Value], dims: tuple[int, int, int]) -> None:
    """Two dicts of floating tensors, the same for the same generator."""
    runs = []
    for seed in (0, 1):  # of torch's global generator, which init must not use
        torch.manual_seed(seed)
        with _calling("init"):
            runs.append(kind(static_values(kind, config), *dims).init(init_generator(0)))
    made = runs[0]
    if not (isinstance(made, tuple) and len(made) == 2 and all(isinstance(part, dict) for part in made)):
        raise Broken(f"init returns {_what(made)}; it must return two dicts of tensors, (params, buffers)")
    for part, again in zip(*runs, strict=True):
        for name, value in part.items():
            if not isinstance(value, Tensor) or not value.is_floating_point():
                raise Broken(f"init gives {_what(value)} for {name!r}; weights and buffers must be tensors of floats")
            if name not in again or not torch.equal(value, again[name]):
                raise Broken(f"init draws {name!r} without the generator that it is given: a seed must give one result")
    if not made[0] and not issubclass(kind, ClosedForm):
        raise Broken("init gives no parameters: there is nothing to train")


def _step(sample: Sample) -> None:
    """`loss` and `after_step`: the right shapes, differentiable, nothing shared is changed, every lane by itself."""
    first = _trained(sample, sample.all_lanes())
    for name, value in first.items():
        if not torch.isfinite(value).all():
            raise Broken(f"{name} is not finite on random clips")
    changed = _trained(sample, sample.other_lanes_changed())
    _same_lane(first, changed, "depends on the clips, weights or hyper-parameters of other lanes")
    if _draws(sample):  # the method uses torch's global generator: its numbers depend on how many lanes there are
        return
    alone = _trained(sample, sample.lane(0))
    _same_lane(first, alone, "is not what the lane has alone")


def _trained(sample: Sample, given: tuple[Tensors, Tensors, Batch, Tensors, Progress]) -> dict[str, Tensor]:
    """A step's losses [L], gradients and buffers [L, ...], by what a message calls them."""
    params, buffers, batch, hyper, progress = given
    leaves = {name: value.requires_grad_() for name, value in params.items()}
    shapes = {name: value.shape for name, value in buffers.items()}
    losses = _losses(sample, leaves, (buffers, batch, hyper, progress))
    with _calling("the gradient of loss"):
        grads = torch.autograd.grad(losses["loss"].sum(), list(leaves.values()), allow_unused=True)
    if all(grad is None for grad in grads):
        raise Broken("the loss depends on none of the parameters that init gives")
    with torch.no_grad(), _unchanged("after_step", lambda: named("hyper", hyper)), _calling("after_step"):
        sample.method.after_step({name: leaf.detach() for name, leaf in leaves.items()}, buffers, hyper)
    if {name: value.shape for name, value in buffers.items()} != shapes:
        raise Broken(
            "loss or after_step adds, removes or reshapes buffers; change their values in place, buffer.copy_()"
        )
    found = {f"the term {name!r}" if name != "loss" else "the loss": value.detach() for name, value in losses.items()}
    found |= {f"the gradient of {n!r}": grad for n, grad in zip(leaves, grads, strict=True) if grad is not None}
    found |= {f"the parameter {name!r} after after_step": leaf.detach() for name, leaf in leaves.items()}
    return found | {f"the buffer {name!r}": value for name, value in buffers.items()}


def _losses(sample: Sample, leaves: Tensors, others: tuple[Tensors, Batch, Tensors, Progress]) -> dict[str, Tensor]:
    lanes = len(others[1].audio)
    with _unchanged("loss", lambda: read_by_a_step(*others[1:])), _calling("loss"):
        torch.manual_seed(0)
        losses: Any = sample.method.loss(leaves, *others)
    each = f"one value for each of the L = {lanes} lanes"
    if not isinstance(losses, dict):
        raise Broken(f"loss returns {_what(losses)}; it must return a dict with 'loss' of shape [{lanes}], {each}")
    if "loss" not in losses:
        raise Broken(
            f"loss returns {', '.join(map(repr, losses)) or 'an empty dict'} and no 'loss', which is descended"
        )
    for name, value in losses.items():
        if not isinstance(value, Tensor) or value.shape != (lanes,):
            raise Broken(f"loss gives {_what(value)} for {name!r}; it must be of shape [{lanes}], {each}")
    if not losses["loss"].requires_grad:
        raise Broken(
            "'loss' has no gradient: compute it from params with torch, without detach(), numpy() or no_grad()"
        )
    return losses


@contextlib.contextmanager
def _unchanged(part: str, read: Callable[[], Tensors]) -> Iterator[None]:
    """Says which of the tensors a part of the method has changed, in whatever way."""
    before = {name: value.detach().clone() for name, value in read().items()}
    yield
    after = read()
    for name, value in before.items():
        if name not in after or not torch.equal(value, after[name]):
            raise Broken(f"{part} changes {name} in place, which other lanes or steps read too; work on a copy")


def _draws(sample: Sample) -> bool:
    """Whether the loss depends on torch's own generator."""
    values = []
    for seed in (0, 1):
        given = sample.all_lanes()
        torch.manual_seed(seed)
        with torch.no_grad():
            values.append(sample.method.loss(*given)["loss"])
    return not torch.allclose(values[0], values[1], rtol=_TOLERANCE)


def _embed(sample: Sample) -> None:
    """Two [L, B, D]; a clip's embedding depends on nothing but the clip and its lane."""
    params, buffers, batch, _, _ = sample.all_lanes()
    lanes, rows = batch.audio.shape[:2]

    def embedded(params: Tensors, some: slice) -> tuple[Tensor, Tensor]:
        audio, visual = batch.audio[0, some].clone(), batch.visual[0, some].clone()
        views = (view.expand(lanes, -1, -1) for view in (audio, visual))  # as validation calls it

        def read() -> Tensors:
            return {"audio": audio, "visual": visual} | named("params", params) | named("buffers", buffers)

        with torch.no_grad(), _unchanged("embed", read), _calling("embed"):
            made: Any = sample.method.embed(params, buffers, *views)
        if not (isinstance(made, tuple | list) and len(made) == 2 and all(isinstance(z, Tensor) for z in made)):
            raise Broken(f"embed returns {_what(made)}; it must return two tensors, one for each view")
        return made[0], made[1]

    z_a, z_v = embedded(params, slice(None))
    if z_a.shape != z_v.shape or z_a.ndim != 3 or z_a.shape[:2] != (lanes, rows):
        raise Broken(
            f"embed returns {list(z_a.shape)} and {list(z_v.shape)}; both must be [L, B, D], here [{lanes}, {rows}, D]"
        )
    if not (torch.isfinite(z_a).all() and torch.isfinite(z_v).all()):
        raise Broken("embed gives values that are not finite on random clips")
    for view, whole, first in zip(("audio", "visual"), (z_a, z_v), embedded(params, slice(0, 1)), strict=True):
        if not _close(whole[:, :1], first):
            raise Broken(f"embed: the {view} embedding of a clip depends on the other clips of its batch")
    other, _, _, _, _ = sample.other_lanes_changed()
    for view, whole, changed in zip(("audio", "visual"), (z_a, z_v), embedded(other, slice(None)), strict=True):
        if not _close(whole[:1], changed[:1]):
            raise Broken(f"embed: the {view} embeddings of a lane depend on the weights of other lanes")


def _schedules(sample: Sample) -> None:
    _, _, batch, hyper, progress = sample.all_lanes()
    lanes = len(batch.labels)
    with (
        torch.no_grad(),
        _calling("schedules"),
        _unchanged("schedules", lambda: read_by_a_step(batch, hyper, progress)),
    ):
        made: Any = sample.method.schedules(hyper, progress)
    if not isinstance(made, dict):
        raise Broken(f"schedules returns {_what(made)}; it must return a dict of tensors [L]")
    for name, value in made.items():
        if not isinstance(value, Tensor) or value.shape != (lanes,):
            raise Broken(f"schedules gives {_what(value)} for {name!r}; it must be of shape [{lanes}], a value a lane")


def _solve(sample: Sample) -> None:
    """A closed form's solution has the names and shapes of `init`."""
    assert isinstance(sample.method, ClosedForm)
    hyper = {name: float(values_L[0]) for name, values_L in sample.hyper.items()}
    one = sample.batch
    audio, visual, labels = (x[0].clone() for x in (one.audio, one.visual, one.labels))
    unchanged = _unchanged("solve", lambda: {"audio": audio, "visual": visual, "labels": labels})
    with unchanged, _calling("solve"):
        made: Any = sample.method.solve(audio, visual, labels, hyper, init_generator(0))
    if not (isinstance(made, tuple) and len(made) == 2 and all(isinstance(part, dict) for part in made)):
        raise Broken(f"solve returns {_what(made)}; it must return two dicts of tensors, (params, buffers)")
    for solved, fresh in zip(made, (sample.params, sample.buffers), strict=True):
        shapes = {name: list(value.shape) for name, value in solved.items()}
        expected = {name: list(value.shape[1:]) for name, value in fresh.items()}
        if shapes != expected:
            raise Broken(f"solve returns {shapes}; it must return the names and shapes of init, {expected}")


def _same_lane(one: dict[str, Tensor], other: dict[str, Tensor], wrong: str) -> None:
    """The first lane of both is the same."""
    for name, value in one.items():
        if name not in other or not _close(value[:1], other[name][:1]):
            raise Broken(f"{name} of a lane {wrong}; keep the lane axis apart, e.g. mean(1) and not mean()")


def _close(one: Tensor, other: Tensor) -> bool:
    scale = max(1e-6, float(one.abs().max()) if one.numel() else 0.0)
    return one.shape == other.shape and torch.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE * scale)


@contextlib.contextmanager
def _calling(name: str) -> Iterator[None]:
    """Says in one line what the method's code raised, and where."""
    try:
        yield
    except (Broken, KeyboardInterrupt):
        raise
    except BaseException as error:
        frames = [at for at in traceback.extract_tb(error.__traceback__) if _is_theirs(at.filename)]
        where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        said = shown(" ".join(str(error).split()), 200)[1:-1]
        raise Broken(f"{name} raises {type(error).__name__}: {said}{where}") from error


def _is_theirs(file: str) -> bool:
    return not file.startswith((str(_PACKAGE), str(Path(torch.__file__).parent), "<"))


def _what(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)} and {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "nothing" if value is None else f"a {type(value).__name__}"
