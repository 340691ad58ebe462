"""The space that a study recorded, read without its method: for who looks at a study and trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from avtune.core.errors import UserError
from avtune.space.free import free_hypers
from avtune.space.parse import constraints_of
from avtune.space.settings import EarlyStopping, Final, SearchSettings, Validation, parse_settings
from avtune.space.space import Space
from avtune.space.yaml_lines import read


def recorded_space(space: Mapping[str, Any], path: Path) -> Space:
    """What `study.yaml` has as `space`, which is complete: every hyper-parameter and every setting. Neither torch nor
    code of the user's own is imported for it, so only the defaults of what is searched are not the method's: they are
    the middles of their ranges.

    Args:
        path: of the `study.yaml`, for messages.

    Raises:
        UserError: it is damaged.
    """
    top = read(yaml.safe_dump(dict(space), sort_keys=False), lambda line: str(path)).value
    named = top.get("space") if isinstance(top, dict) else None
    if not isinstance(top, dict) or named is None or not isinstance(named.value, dict):
        raise UserError(f"{path} does not describe a study: its space is no mapping")
    axes, fixed = free_hypers(named.value)
    return Space(
        str(space["method"]),
        axes,
        fixed,
        parse_settings(SearchSettings, "search", top.get("search")),
        parse_settings(EarlyStopping, "early_stopping", top.get("early_stopping")),
        parse_settings(Validation, "validation", top.get("validation")),
        parse_settings(Final, "final", top.get("final")),
        constraints_of(top, axes, fixed),
    )
