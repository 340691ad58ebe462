"""Any loss of pytorch-metric-learning as a method: `--method pml:MultiSimilarityLoss`.

exact: the loss is the library's own, called lane by lane with the lane's hyper-parameters; a test compares value and
gradient. Its numbers and flags become hyper-parameters by the signature of its constructor. A loss that takes reference
embeddings compares the views with each other (the mean of both directions); one that does not gets the embeddings of
both views as one batch. What it learns itself (proxies, class weights) is trained with the encoders, which are those of
`psd`. Needs the extra: pip install 'avtune[pml]'.

Lanes: where `torch.func.vmap` gives what a loop over the lanes gives, value and gradient, which the first step tries,
one call serves all lanes; most losses pick pairs by their labels, which vmap cannot do, and are called lane by lane.

Legend: L lanes, B rows of a batch, D embedding.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor

from avtune.core.errors import UserError, did_you_mean
from avtune.core.hyper import Hyper, Value
from avtune.lanes.modules import Tensors
from avtune.methods._base import TRAINING_HYPERS, Batch, Method, Progress
from avtune.methods._two_encoders import TwoEncoders
from avtune.methods.psd import ENCODER_HYPERS

PREFIX = "pml:"
_LOG = logging.getLogger(__name__)
_OURS = {hyper.name for hyper in (*ENCODER_HYPERS, *TRAINING_HYPERS)}
_SIZES = ("num_classes", "embedding_size", "descriptors_dim", "l")
"""What a loss with weights of its own is told of the data and of the encoders, by the names that it has for it."""
_UNUSABLE = {
    **dict.fromkeys(("GenericPairLoss", "SelfSupervisedLoss", "VICRegLoss"), "is not trained with labels"),
    "DynamicSoftMarginLoss": "keeps a histogram over the steps with its gradient: the library cannot take two steps",
}
"""Of the library's losses: one that only others are made of, those without labels, and those with a state."""
_WHOLE = {("LargeMarginSoftmaxLoss", "margin"), ("SphereFaceLoss", "margin")}
"""Numbers that the library cuts to whole ones."""
_ALSO = {
    ("MarginLoss", "beta"): "; without effect with learn_beta, which learns it from the default on",
    ("MarginLoss", "nu"): "; without effect but with learn_beta",
}
"""What its signature does not say of a hyper-parameter."""
_AGREE = 1e-4
"""Largest difference between vmap and the loop, relative to the largest value."""


class PMLLoss(TwoEncoders):
    """A loss of pytorch-metric-learning over the embeddings of both views. See `method_of`, which makes subclasses.

    Attributes:
        loss_class: of the library.
        given: the hyper-parameters that its constructor takes, by its names for them.
        across: it takes reference embeddings.
    """

    loss_class: ClassVar[Any]
    given: ClassVar[Mapping[str, Hyper]]
    across: ClassVar[bool]
    recorded: ClassVar[bool] = False  # the library reads values back

    def __init__(self, static: Mapping[str, Value], audio_dim: int, visual_dim: int, num_classes: int) -> None:
        super().__init__(static, audio_dim, visual_dim, num_classes)
        self._fused: bool | None = None  # not tried yet

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        params, buffers = super().init(generator)
        seed = int(torch.randint(2**31, (), generator=generator))
        with torch.random.fork_rng(devices=[]):  # the library draws its weights with torch's own generator
            torch.manual_seed(seed)
            module = self._module({hyper.name: hyper.default for hyper in self.given.values()})
        params |= {f"loss.{name}": value.detach().float() for name, value in module.named_parameters()}
        return params, buffers

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        z_a, z_v = self.trained(params, buffers, batch, hyper)
        numbers = {h.name: hyper[h.name] for h in self.given.values() if not h.static}
        own = {name.removeprefix("loss."): value for name, value in params.items() if name.startswith("loss.")}
        terms = self._terms(own, z_a, z_v, batch.labels, numbers)
        return {"loss": terms.mean(1), "l_a2v": terms[:, 0], "l_v2a": terms[:, 1]}

    def _terms(self, own: Tensors, z_a: Tensor, z_v: Tensor, labels_LB: Tensor, numbers: Tensors) -> Tensor:
        """The loss of both directions, [L, 2]; twice the same where there is only one."""
        if len(z_a) == 1 or self._fused is False:
            return self._by_lane(own, z_a, z_v, labels_LB, numbers)
        if self._fused is None:
            self._fused = self._agrees(own, z_a, z_v, labels_LB, numbers)
            how = "vmap" if self._fused else "a loop over the lanes"
            _LOG.debug("%s: lanes by %s", self.name, how)
            return self._terms(own, z_a, z_v, labels_LB, numbers)
        return self._by_vmap(own, z_a, z_v, labels_LB, numbers)

    def _by_lane(self, own: Tensors, z_a: Tensor, z_v: Tensor, labels_LB: Tensor, numbers: Tensors) -> Tensor:
        values = {name: value.tolist() for name, value in numbers.items()}
        made = []
        for lane in range(len(z_a)):
            module = self._module({name: of[lane] for name, of in values.items()})
            weights = {name: value[lane] for name, value in own.items()}
            made.append(self._both(module, weights, z_a[lane], z_v[lane], labels_LB[lane]))
        return torch.stack(made)

    def _by_vmap(self, own: Tensors, z_a: Tensor, z_v: Tensor, labels_LB: Tensor, numbers: Tensors) -> Tensor:
        def one(weights: Tensors, audio: Tensor, visual: Tensor, labels: Tensor, numbers: Tensors) -> Tensor:
            module = self._module(numbers)
            return self._both(_Masked(module) if _takes_masks(module) else module, weights, audio, visual, labels)

        made: Tensor = torch.func.vmap(one, randomness="same")(own, z_a, z_v, labels_LB, numbers)
        return made

    def _agrees(self, own: Tensors, z_a: Tensor, z_v: Tensor, labels_LB: Tensor, numbers: Tensors) -> bool:
        """Whether vmap gives the value and the gradients of the loop on these clips, without a warning."""
        results = []
        for way in (self._by_lane, self._by_vmap):
            leaves = [value.detach().clone().requires_grad_() for value in (z_a, z_v, *own.values())]
            weights = dict(zip(own, leaves[2:], strict=True))
            try:
                with warnings.catch_warnings(), torch.enable_grad():
                    warnings.simplefilter("error")
                    made = way(weights, leaves[0], leaves[1], labels_LB, numbers)
                    grads = torch.autograd.grad(made.sum(), leaves, materialize_grads=True)
            except Exception as error:  # of the library under vmap: whatever it is, the loop is there
                _LOG.debug("%s: %s", way.__name__, error)
                return False
            results.append([made.detach(), *grads])
        return all(_close(one, other) for one, other in zip(*results, strict=True))

    def _both(self, module: Any, weights: Tensors, audio: Tensor, visual: Tensor, labels: Tensor) -> Tensor:
        """The loss of one lane in both directions, [2]."""

        def call(*given: Tensor, **more: Tensor) -> Tensor:
            made: Tensor = torch.func.functional_call(module, weights, given, more)
            return made.reshape(())

        if self.across:
            # Labels of another tensor: a clip's own other view is a positive.
            a2v = call(audio, labels, ref_emb=visual, ref_labels=labels.clone())
            return torch.stack([a2v, call(visual, labels, ref_emb=audio, ref_labels=labels.clone())])
        both = call(torch.cat([audio, visual]), torch.cat([labels, labels]))
        return torch.stack([both, both])

    def _module(self, numbers: Mapping[str, Any]) -> Any:
        """The library's loss with these values of what is not static."""
        values: dict[str, Any] = {}
        for name, hyper in self.given.items():
            values[name] = numbers[hyper.name] if hyper.name in numbers and not hyper.static else self._static(hyper)
        width = int(self.static["embedding_dim"])
        sizes = {"num_classes": self.num_classes} | dict.fromkeys(_SIZES[1:], width)
        return self.loss_class(**values, **{name: sizes[name] for name in _sizes(self.loss_class)})

    def _static(self, hyper: Hyper) -> Value:
        return self.static.get(hyper.name, hyper.default)


class _Masked(torch.nn.Module):
    """A loss over a matrix of similarities, given masks of pairs where the library lists them: vmap cannot list, since
    lanes have lists of other lengths. The loss itself is the library's."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self._loss = loss

    def forward(
        self, z: Tensor, labels: Tensor, ref_emb: Tensor | None = None, ref_labels: Tensor | None = None
    ) -> Tensor:
        same = labels[:, None] == (labels if ref_labels is None else ref_labels)[None]
        own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        loss, right = self._loss, same if ref_emb is not None else same & ~own
        similarities = loss.distance(z, z if ref_emb is None else ref_emb)
        masks = (mask.to(similarities.dtype) for mask in (right, ~same))
        found = loss._compute_loss(similarities, *masks)
        loss.add_embedding_regularization_to_loss_dict(found, z)
        made: Tensor = loss.reducer(found, z, labels)
        return made


def _takes_masks(loss: Any) -> bool:
    return getattr(getattr(loss, "loss_method", None), "__name__", "") == "mat_based_loss"


def _close(one: Tensor, other: Tensor) -> bool:
    scale = max(1e-12, float(one.abs().max()) if one.numel() else 0.0)
    return torch.allclose(one, other, rtol=_AGREE, atol=_AGREE * scale)


def method_of(spec: str) -> type[Method]:
    """The method of a loss.

    Args:
        spec: `pml:` and the name of a loss of `pytorch_metric_learning.losses`.

    Raises:
        UserError: the library is not installed, has no such loss, or one that this cannot train.
    """
    losses, name = _library(spec), spec.removeprefix(PREFIX)
    known = [one for one, thing in vars(losses).items() if inspect.isclass(thing) and one.endswith("Loss")]
    usable = sorted({*known} - {*_UNUSABLE})
    if name not in usable:
        why = f"is no loss of pytorch_metric_learning.losses{did_you_mean(name, usable)}"
        raise UserError(f"--method {spec}: {name!r} {_UNUSABLE.get(name, why)}\nlosses: {', '.join(usable)}")
    kind = getattr(losses, name)
    given = _hypers(kind)
    needs = [
        one.name
        for one in _parameters(kind).values()
        if one.default is inspect.Parameter.empty and one.name not in (*given, *_SIZES)
    ]
    if needs:
        raise UserError(
            f"--method {spec}: it must be given {', '.join(needs)}, which only code can; see docs/own_method.md"
        )
    facts = {
        "name": name,
        "summary": f"{name} of pytorch-metric-learning over both views",
        "source": "pytorch-metric-learning; exact",
        "hypers": (*given.values(), *ENCODER_HYPERS, *TRAINING_HYPERS),
        "loss_class": kind,
        "given": given,
        "across": not _refuses_references(kind),
        "__doc__": f"The library's {name}.",
        "__module__": __name__,
    }
    return type(name, (PMLLoss,), facts)


def source_file(method: type[Method]) -> str | None:
    """The file of the library's loss; None for another method."""
    return inspect.getfile(method.loss_class) if issubclass(method, PMLLoss) else None


def _library(spec: str) -> ModuleType:
    try:
        from pytorch_metric_learning import losses
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pytorch_metric_learning":
            raise
        raise UserError(
            f"--method {spec} needs pytorch-metric-learning, which is not installed\n"
            "install it with: pip install 'avtune[pml]'"
        ) from None
    module: ModuleType = losses
    return module


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Of the constructor, by name."""
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: one for name, one in inspect.signature(kind).parameters.items() if one.kind in plain}


def _sizes(kind: type) -> list[str]:
    """Those of `_SIZES` that the constructor takes, or passes on to those of its bases."""
    taken = {name for one in kind.__mro__ if one.__module__.startswith("pytorch_") for name in _parameters(one)}
    return [name for name in _SIZES if name in taken]


def _hypers(kind: type) -> dict[str, Hyper]:
    """Hyper-parameters by the names that the constructor has for them: its own numbers and flags."""
    made = {}
    for name, parameter in _parameters(kind).items():
        default = parameter.default
        if isinstance(default, bool | int | float) and name not in _SIZES:
            made[name] = _hyper(kind, name, default)
    return made


def _hyper(kind: type, parameter: str, default: bool | int | float) -> Hyper:
    """A number may be a tenth to ten times of its default. Counts decide shapes."""
    name = f"loss_{parameter}" if parameter in _OURS else parameter
    doc = "as the library has it" + _ALSO.get((kind.__name__, parameter), "")
    if isinstance(default, bool):
        return Hyper(name, "bool", default, static=True, doc=doc)
    count = "num_" in name or "centers" in name or name == "K"
    if isinstance(default, int) and (count or (kind.__name__, parameter) in _WHOLE):
        return Hyper(name, "int", default, max(1, default // 10), default * 10, static=count, doc=doc)
    low, high = sorted((default / 10, default * 10)) if default else (0.0, 1.0)
    return Hyper(name, "float", float(default), float(low), float(high), doc=doc)


def _refuses_references(kind: type) -> bool:
    """Whether a loss wants the embeddings of one batch only: it says so when it is asked."""
    compute: Callable[..., Any] = kind.compute_loss  # type: ignore[attr-defined]
    return "ref_not_supported" in compute.__code__.co_names
