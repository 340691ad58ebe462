"""A space as text: values on one line, whole files, and what differs between two of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import yaml

from avtune.core.hyper import Value
from avtune.space.yaml_lines import CORE_SCALARS

Written: TypeAlias = "Value | list[Written] | dict[str, Written] | None"
"""What a YAML file holds."""


class _OneLine(dict[str, Written]):
    """A mapping written as `{a: 1, b: 2}`."""


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as something else."""


for _tag, _pattern in CORE_SCALARS.items():
    _Dumper.add_implicit_resolver(_tag, _pattern, None)
_Dumper.add_representer(
    _OneLine, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)
)


def to_yaml(space: Mapping[str, Written]) -> str:
    """The file of a space, a line for each hyper-parameter and each section."""
    written = dict(space)
    for section, values in space.items():
        if section == "space" and isinstance(values, dict):
            written[section] = {k: _OneLine(v) if isinstance(v, dict) else v for k, v in values.items()}
        elif isinstance(values, dict):
            written[section] = _OneLine(values)
    return yaml.dump(written, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)


def changes(name: str, before: Written, after: Written) -> Iterator[str]:
    """What differs, a line each: `search.seed: 0 -> 1`; `name` is that of the whole, empty for a space."""
    kinds = name in ("", "early_stopping", "search")  # some of their keys are left out where they have no part
    if isinstance(before, dict) and isinstance(after, dict) and (kinds or before.keys() == after.keys()):
        for key in [*before, *(after.keys() - before.keys())]:
            yield from changes(f"{name}.{key}" if name else key, before.get(key), after.get(key))
    elif (old := inline(before)) != (new := inline(after)):
        yield f"{name}: {old} -> {new}"


def inline(value: Written) -> str:
    """A value as YAML on one line."""
    text = yaml.dump(
        [value], Dumper=_Dumper, sort_keys=False, default_flow_style=True, allow_unicode=True, width=math.inf
    )
    return text.strip()[1:-1]
