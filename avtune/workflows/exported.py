"""What the exports have in common."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import using
from avtune.engine.model import Model


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        lines: what the reader must know of each file.
        notes: what is left to do, or was left out.
    """

    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()


def about(model: Model) -> dict[str, Any]:
    """What every export says of its model."""
    known = ("dataset", "seed", "trial", "run", "study", "trained_on", "epoch")
    return {
        "method": model.method,
        "epochs": model.trained.epochs,
        **{key: model.about[key] for key in known if key in model.about},
    }


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Writes JSON into a folder that is still being filled."""
    with using(path):
        path.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def extra(module: str, name: str) -> Any:
    """A module of an optional extra.

    Raises:
        UserError: it is not installed; says how it is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of generated bindings, which its user can do nothing about
            return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"this needs the package {module} ({error}); install it: pip install 'avtune[{name}]'"
        ) from None
