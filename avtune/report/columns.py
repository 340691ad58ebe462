"""The columns of TensorBoard's HParams tab: which there are, their domains, and which come first.

The order is not that of the record. TensorBoard's server sorts the columns, those with `differs` first, then by `name`
(`hparams/backend_context.py`), and the page shows the first five. `name` is what the values of a trial go by,
`display_name` what is shown; so the hyper-parameters that matter most here get names that sort first, and keep their
own as display names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tensorboard.plugins.hparams import summary_v2 as hp
from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName

from avtune.core.hyper import Value
from avtune.space.axis import Axis
from avtune.space.space import Space

_FIRST = {"margin": 1, "r_init": 3, "r_shrink": 4}
_LOSS_WEIGHT = 2  # w_cross, w_dis, ...
_LOG = "log10_"


def column_name(hyper: str) -> str:
    """The name of a hyper-parameter's column, the same in every study: the margin, the loss weights, r and its shrink
    rate come first."""
    rank = _FIRST.get(hyper, _LOSS_WEIGHT if hyper.startswith("w_") else None)
    return hyper if rank is None else f"{rank}.{hyper}"


def row(config: Mapping[str, Value], logs: Iterable[str]) -> dict[str, Value]:
    """A trial's values by column. A hyper-parameter that its configuration does not have has none.

    Args:
        config: the hyper-parameters of the trial.
        logs: those that are searched on a log scale, which come again as `log10_<name>`.
    """
    exponents = {_LOG + name: math.log10(config[name]) for name in sorted(logs) if name in config}  # type: ignore[arg-type]
    return {**{column_name(name): value for name, value in config.items()}, **exponents}


def experiment(spaces: Sequence[Space], metrics: Mapping[str, str]) -> Any:
    """The record that names the columns, of one study or of several in one folder.

    Args:
        spaces: what is searched. Where several have a hyper-parameter, its domain is all of theirs.
        metrics: what is shown of the scalars, by their tags.
    """
    infos: dict[str, Any] = {}
    for name in dict.fromkeys(name for space in spaces for name in (*_axes(space), *space.fixed)):
        _add(infos, name, [_axes(space).get(name, space.fixed.get(name)) for space in spaces])
    shown = [MetricInfo(name=MetricName(tag=tag), display_name=said) for tag, said in metrics.items()]
    return Experiment(hparam_infos=list(infos.values()), metric_infos=shown)


def logs_of(spaces: Iterable[Space]) -> set[str]:
    """The hyper-parameters that are searched on a log scale."""
    return {axis.name for space in spaces for axis in space.axes if axis.log}


def _axes(space: Space) -> dict[str, Axis]:
    return {axis.name: axis for axis in space.axes}


def _add(infos: dict[str, Any], name: str, found: Sequence[Axis | Value | None]) -> None:
    """Adds the column of a hyper-parameter, given its axis or its fixed value in each space, and None where it has
    none."""
    there = [one for one in found if one is not None]
    axes = [one for one in there if isinstance(one, Axis)]
    values = [one for one in there if not isinstance(one, Axis)]
    differs = bool(axes) or len(set(values)) > 1
    ranges = [(axis.low, axis.high) for axis in axes if axis.kind != "choice"]
    numbers = [float(one) for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    if ranges and len(numbers) == len(values) and len(ranges) == len(axes):
        low = min([float(low) for low, _ in ranges if low is not None] + numbers)
        high = max([float(high) for _, high in ranges if high is not None] + numbers)
        _put(infos, name, hp.RealInterval(low, high), differs=differs)
        if any(axis.log for axis in axes) and low > 0:
            _put(infos, _LOG + name, hp.RealInterval(math.log10(low), math.log10(high)), differs=differs)
        return
    choices = [value for axis in axes for value in (axis.values or (axis.low, axis.high))]
    _put(infos, name, _discrete([*choices, *values]), differs=differs)


def _discrete(values: Sequence[Any]) -> Any:
    """A domain of these values. TensorBoard wants them of one type: they become words where they are of several."""
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        return hp.Discrete([float(value) for value in dict.fromkeys(values)])
    return hp.Discrete(list(dict.fromkeys(values if len(kinds) == 1 else map(str, values))))


def _put(infos: dict[str, Any], name: str, domain: Any, *, differs: bool) -> None:
    info = HParamInfo(name=column_name(name), display_name=name, differs=differs)
    domain.update_hparam_info(info)
    infos[name] = info
