"""The losses of every method's first 20 steps, against committed figures: a refactor keeps them.

python tests/methods/pinned_losses.py           # compares to the last bit, on the machine that wrote the figures
python tests/methods/pinned_losses.py --write   # where a loss was meant to change
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import torch
from toy import toy_prepared

from avtune.core.trial import Trial
from avtune.engine.trainer import train
from avtune.methods import METHODS
from benchmarks._agreement import changes, full_config

FIGURES = Path(__file__).parents[1] / "fixtures" / "losses_20_steps.json"
STEPS = 20
_SIZES = {"hidden_dim": 16, "embedding_dim": 6, "batch_size": 48}  # one step an epoch: toy_prepared has 48 rows


def cases() -> list[tuple[str, str]]:
    """(method, change) of every method's default configuration and of each other word of each choice."""
    return [(name, label) for name, method in METHODS.items() for label, _ in changes(method)]


def losses(name: str, label: str) -> dict[str, list[float]]:
    """Every term of the loss by step, in fp32 on one thread; of a closed form its one validation MAP."""
    config = full_config(name, _SIZES, dict(changes(METHODS[name]))[label])
    found: dict[str, list[float]] = {}

    def take(epoch: int, metrics: dict[str, float]) -> bool:
        names = [key for key in metrics if key == "loss" or key.startswith("l_")] or ["val_map"]
        for key in names:
            found.setdefault(key, []).append(metrics[key])
        return True

    epochs = STEPS if "batch_size" in config else 1
    train(Trial(0, name, config, seed=7, epochs=epochs), toy_prepared(), take)
    return found


def difference(name: str, label: str, figures: dict[str, dict[str, list[float]]], within: float) -> str:
    """Where the losses are further from the figures than that part of themselves; empty where they are not."""
    there, here = figures[f"{name} {label}"], losses(name, label)
    if there.keys() != here.keys():
        return f"{name} {label}: terms {sorted(here)}, there {sorted(there)}"
    for term, values in there.items():
        for step, (one, other) in enumerate(zip(values, here[term], strict=True), 1):
            if not math.isclose(one, other, rel_tol=within, abs_tol=within):
                return f"{name} {label}: {term} of step {step} is {other!r}, there {one!r}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="the losses as they are now become the figures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.write:
        made = {f"{name} {label}": losses(name, label) for name, label in cases()}
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(terms)}" for name, terms in sorted(made.items()))
        FIGURES.write_text(f"{{\n{lines}\n}}\n")
        return 0
    figures = json.loads(FIGURES.read_text())
    found = [said for name, label in cases() if (said := difference(name, label, figures, 0.0))]
    print(*found, f"{len(cases())} configurations, {len(found)} differ", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
