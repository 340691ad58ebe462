"""The contract of a method: how embeddings are trained.

Legend: L lanes, B rows of a batch, A audio features, V visual features, D embedding, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.errors import UserError, did_you_mean, shown
from avtune.core.hyper import Hyper, Value
from avtune.lanes.modules import Dropout, Style, Tensors

REQUIRED_HYPERS = (
    Hyper("lr", "float", 1e-3, 1e-7, 1.0, doc="learning rate of AdamW"),
    Hyper("weight_decay", "float", 1e-2, 0.0, 1.0, doc="decoupled weight decay of AdamW"),
    Hyper(
        "batch_size",
        "int",
        256,
        8,
        65536,
        static=True,
        doc="clips in a step; the rows of an epoch that do not fill one are left out; at most the training rows",
    ),
)
"""What every method trained by gradient descent takes."""
TRAINING_HYPERS = (
    *REQUIRED_HYPERS,
    Hyper(
        "lr_end",
        "float",
        1.0,
        0.0,
        1.0,
        extra=True,
        doc="share of lr at the end of a half cosine; 1: it stays constant",
    ),
    Hyper(
        "warmup",
        "float",
        0.0,
        0.0,
        0.9,
        extra=True,
        doc="share of the schedule's steps over which the learning rate rises from 0",
    ),
    Hyper(
        "average",
        "bool",
        False,
        static=True,
        extra=True,
        doc="validate and keep an exponential moving average of the weights",
    ),
    Hyper("average_decay", "float", 0.99, 0.0, 0.9999, extra=True, doc="per-step decay of that average"),
    Hyper(
        "mixup",
        "bool",
        False,
        static=True,
        extra=True,
        doc="mix each clip's features with those of another clip of its class, both views alike",
    ),
    Hyper("mixup_share", "float", 0.5, 0.0, 1.0, extra=True, doc="largest share of the other clip (mixup)"),
    Hyper(
        "per_class",
        "int",
        0,
        0,
        4096,
        extra=True,
        doc="clips of each class in a batch (balanced batches), at most all of it; 0: rows come as they are",
    ),
)
"""These, and what decides how it trains, off by default."""
NO_AVERAGE = tuple(hyper for hyper in TRAINING_HYPERS if hyper.name not in ("average", "average_decay"))
"""`TRAINING_HYPERS` of a method whose buffers hold statistics of outputs, which averaged weights would not have."""


@dataclass(frozen=True)
class Batch:
    """One step's clips for every lane.

    Attributes:
        audio: [L, B, A] scaled features.
        visual: [L, B, V] scaled features.
        labels: int64 [L, B], 0..C-1; of a multi-label dataset bool [L, B, C], with a True in every row. Rows come in
            random order.
        dropout_keys: int32 [L], see `lanes.noise.step_keys`.
    """

    audio: Tensor
    visual: Tensor
    labels: Tensor
    dropout_keys: Tensor

    def dropout(self, p_L: Tensor) -> Dropout:
        """This step's dropout with probabilities `p_L` [L]."""
        return Dropout(self.dropout_keys, p_L)


@dataclass(frozen=True)
class Progress:
    """How far each lane is.

    Attributes:
        epoch: [L], epochs finished before this one (0 in the first).
        epochs: [L], epochs over which the lane's schedules are laid out. A trial with an open horizon may train longer:
            a schedule then keeps the value that it has at `epochs`. A method that uses this says so by
            `Method.lays_out`.
    """

    epoch: Tensor
    epochs: Tensor


class Method(ABC):
    """A method bound to one shape: the static hyper-parameters and the dataset's dimensions.

    Subclasses are stateless; weights travel as dicts of tensors. All computations carry the lane axis first, treat
    lanes independently, and contain no loop over lanes.

    Args:
        static: the value of every static hyper-parameter.
        audio_dim, visual_dim, num_classes: of the dataset.

    Attributes:
        multi_label: it can learn from clips of several labels, bool [L, B, C] in `Batch.labels`. Where it cannot,
            a search of such clips is refused before anything starts (`engine.user_code.check_labels`).
        style: of the encoders, for methods that have `encoder`.
        recorded: on a GPU a step is recorded once as a CUDA graph and then replayed, without Python (see
            `engine.captured`). False where `loss` or `after_step` do something on the host in every step.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    hypers: ClassVar[tuple[Hyper, ...]]
    recorded: ClassVar[bool] = True
    multi_label: ClassVar[bool] = False

    def __init__(self, static: Mapping[str, Value], audio_dim: int, visual_dim: int, num_classes: int) -> None:
        self.static = dict(static)
        self.audio_dim = audio_dim
        self.visual_dim = visual_dim
        self.num_classes = num_classes
        self.style = Style.of(self.static)

    @abstractmethod
    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        """Fresh weights of one lane, no lane axis: (trained parameters, buffers that training updates by itself)."""

    @abstractmethod
    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings for retrieval by cosine, in evaluation mode: two tensors [L, B, D]. Rows do not affect each
        other."""

    def settled(self, params: Tensors, buffers: Tensors) -> Tensors:
        """The buffers with all that `embed` would work out from the weights alone, so that what is left of it depends
        on the clips: for the export of a trained model. `embed` gives the same with them."""
        return buffers

    @abstractmethod
    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        """The training loss of each lane.

        Args:
            params: tensors [L, ...], differentiated.
            buffers: tensors [L, ...], updated in place.
            batch: the step's clips.
            hyper: every hyper-parameter that is not static, [L] each.
            progress: for schedules.

        Returns:
            Tensors [L]: `loss`, the quantity to descend, and its unweighted terms by their names.
        """

    @classmethod
    def width(cls, config: Mapping[str, Value], num_classes: int) -> int | None:
        """Width of the embeddings under a configuration; None where only `embed` knows it."""
        width = config.get("embedding_dim")
        return None if width is None else int(width)

    @classmethod
    def lays_out(cls, config: Mapping[str, Value]) -> bool:
        """Whether a configuration has a schedule over `Progress.epochs`, of the learning rate or of the method's own.
        Such a trial goes through it before it may end because its curve is flat."""
        return has_rate_schedule(config)

    def after_step(self, params: Tensors, buffers: Tensors, hyper: Tensors) -> None:  # noqa: B027
        """Called after each optimiser step, without gradients; e.g. moves an averaged teacher."""

    def schedules(self, hyper: Tensors, progress: Progress) -> dict[str, Tensor]:
        """Values that change with the epoch and are worth reporting, [L] each, e.g. the annotation ratio `r`."""
        return {}


def has_rate_schedule(config: Mapping[str, Value]) -> bool:
    """Whether the learning rate of a configuration changes over `Progress.epochs`."""
    return bool(config.get("lr_end", 1.0) != 1.0 or config.get("warmup", 0.0) != 0.0)


def with_defaults(hypers: tuple[Hyper, ...], **values: Value) -> tuple[Hyper, ...]:
    """`hypers` with other defaults, e.g. those of a paper."""
    names = {hyper.name for hyper in hypers}
    assert values.keys() <= names, f"no such hyper-parameter: {values.keys() - names}"
    return tuple(replace(hyper, default=values.get(hyper.name, hyper.default)) for hyper in hypers)


def defaults(method: type[Method]) -> dict[str, Value]:
    """The method's default configuration."""
    return {hyper.name: hyper.default for hyper in method.hypers}


def check_config(method: type[Method], config: Mapping[str, Value]) -> dict[str, Value]:
    """`config` with every value checked, completed by the defaults.

    Raises:
        UserError: a name that the method lacks, or a value outside its legal range.
    """
    by_name = {hyper.name: hyper for hyper in method.hypers}
    for name in config:
        if name not in by_name:
            raise UserError(
                f"method {method.name} has no hyper-parameter {shown(name)}{did_you_mean(name, by_name)}\n"
                f"it takes {', '.join(by_name)}"
            )
    return {name: hyper.check(config.get(name, hyper.default)) for name, hyper in by_name.items()}


def named_part(method: type[Method], config: Mapping[str, Value], named: Iterable[str]) -> dict[str, Value]:
    """A complete configuration without the choices of training (`Hyper.extra`) that are not named: they are off, and
    a configuration is told apart and written without them.

    Args:
        config: see `check_config`.
        named: hyper-parameters.
    """
    off = {hyper.name for hyper in method.hypers if hyper.extra} - set(named)
    return {name: value for name, value in config.items() if name not in off}


def static_values(method: type[Method], config: Mapping[str, Value]) -> dict[str, Value]:
    """The part of a configuration that decides which fused tensors it can share."""
    return {hyper.name: config.get(hyper.name, hyper.default) for hyper in method.hypers if hyper.static}
