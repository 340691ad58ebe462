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

from google.protobuf import json_format
from tensorboard.plugins.hparams import summary_v2 as hp
from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName

from avtune.core.hyper import Value
from avtune.space.axis import Axis
from avtune.space.space import Space

_FIRST = {"margin": 1, "r_init": 3, "r_shrink": 4}
_LOSS_WEIGHT = 2  # w_cross, w_dis, ...
_LOG = "log10_"
_LAST = "~"  # sorts after letters


def column_name(hyper: str) -> str:
    """The name of a hyper-parameter's column, the same in every study: the margin, the loss weights, r and its shrink
    rate come first; logarithms, which say once more what another column says, come last."""
    if hyper.startswith(_LOG):
        return _LAST + hyper
    rank = _FIRST.get(hyper, _LOSS_WEIGHT if hyper.startswith("w_") else None)
    return hyper if rank is None else f"{rank}.{hyper}"


def row(config: Mapping[str, Value], logs: Iterable[str]) -> dict[str, Value]:
    """A trial's values by column. A hyper-parameter that its configuration does not have has none.

    Args:
        config: the hyper-parameters of the trial.
        logs: those that are searched on a log scale, which come again as `log10_<name>`; but where they are 0, as a
            default outside the searched range may be.
    """
    numbers = {name: float(config[name]) for name in sorted(logs) if name in config}
    exponents = {column_name(_LOG + name): math.log10(value) for name, value in numbers.items() if value > 0}
    return {**{column_name(name): value for name, value in config.items()}, **exponents}


def experiment(space: Space, metrics: Mapping[str, str]) -> Any:
    """The record that names the columns of a study.

    Args:
        space: what is searched.
        metrics: what is shown of the scalars, by their tags.
    """
    infos = [info for axis in space.axes for info in _of_axis(axis)]
    infos += [_column(name, hp.Discrete([value]), searched=False) for name, value in space.fixed.items()]
    shown = [MetricInfo(name=MetricName(tag=tag), display_name=said) for tag, said in metrics.items()]
    return Experiment(hparam_infos=infos, metric_infos=shown)


def logs_of(space: Space) -> set[str]:
    """The hyper-parameters that are searched on a log scale."""
    return {axis.name for axis in space.axes if axis.log}


def merged(experiments: Sequence[Any], further: Mapping[str, Sequence[str]]) -> Any:
    """The record of the columns of several studies in one folder: all that one of them has, with the domains of all.

    Args:
        experiments: theirs, see `experiment`.
        further: columns of words, which come first, with their values.
    """
    infos = [HParamInfo(name=f"0.{name}", display_name=name, differs=True) for name in further]
    for info, values in zip(infos, further.values(), strict=True):
        hp.Discrete(sorted(set(values))).update_hparam_info(info)
    names = dict.fromkeys(info.name for one in experiments for info in one.hparam_infos)
    for name in names:
        infos.append(_merged([info for one in experiments for info in one.hparam_infos if info.name == name]))
    return Experiment(hparam_infos=infos, metric_infos=_metrics([one.metric_infos for one in experiments]))


def _metrics(shown: Sequence[Sequence[Any]]) -> list[Any]:
    """The scalars of several studies, which have the same tags; a column of different scores has the names of all."""
    return [
        MetricInfo(name=infos[0].name, display_name=" or ".join(dict.fromkeys(info.display_name for info in infos)))
        for infos in zip(*shown, strict=True)
    ]


def _merged(infos: Sequence[Any]) -> Any:
    """One column of those that several studies have of a hyper-parameter. Where one searches it and another has it
    fixed, the domain is a range that holds both; where they cannot be one kind, it has those values that are listed."""
    made = HParamInfo(name=infos[0].name, display_name=infos[0].display_name)
    ends = [end for info in infos for end in _ends(info)]
    listed = [json_format.MessageToDict(value) for info in infos for value in info.domain_discrete.values]
    made.differs = any(info.differs for info in infos) or len({str(value) for value in listed}) > 1
    if any(info.HasField("domain_interval") for info in infos) and len(ends) >= 2 * len(infos):
        hp.RealInterval(min(ends), max(ends)).update_hparam_info(made)
        return made
    kinds = {type(value) for value in listed}
    hp.Discrete(list(dict.fromkeys(listed if len(kinds) == 1 else map(str, listed)))).update_hparam_info(made)
    return made


def _ends(info: Any) -> list[float]:
    """The ends of a domain of numbers; none of one of words."""
    if info.HasField("domain_interval"):
        return [info.domain_interval.min_value, info.domain_interval.max_value]
    values = [value.number_value for value in info.domain_discrete.values if value.HasField("number_value")]
    return [min(values), max(values)] if values else []


def _of_axis(axis: Axis) -> list[Any]:
    if axis.kind == "choice":
        return [_column(axis.name, hp.Discrete(axis.values), searched=True)]
    assert axis.low is not None
    assert axis.high is not None
    made = [_column(axis.name, hp.RealInterval(float(axis.low), float(axis.high)), searched=True)]
    if axis.log:
        exponents = hp.RealInterval(math.log10(axis.low), math.log10(axis.high))
        made.append(_column(_LOG + axis.name, exponents, searched=True))
    return made


def _column(name: str, domain: Any, *, searched: bool) -> Any:
    info = HParamInfo(name=column_name(name), display_name=name, differs=searched)
    domain.update_hparam_info(info)
    return info
