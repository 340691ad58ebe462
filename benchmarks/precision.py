"""Claim: searching in bf16 moves validation MAP less than another seed does.

The same trials (one configuration, the method's default, over several seeds) are trained in fp32 and in bf16. Shown
are the best and the last validation MAP of both, and how far bf16 moves a trial (mean and standard deviation of the
paired differences, with a 95 % interval of their mean) beside the standard deviation over the seeds in fp32.
"""

from __future__ import annotations

import sys
from functools import partial
from statistics import mean, stdev

import numpy as np
import torch

from avtune.core.trial import Trial
from avtune.data import load
from avtune.data.prepare import Prepared, for_search
from avtune.engine.lane_trainer import LaneTrainer
from avtune.methods import METHODS, check_config, get, static_values
from avtune.metrics import mean_interval
from benchmarks import _report

PRECISIONS = ("fp32", "bf16")
WIDTH = 512


def main() -> None:
    parser = _report.arguments("precision", __doc__)
    parser.add_argument("--data", default="demo", help="a dataset, as `avtune search` takes it")
    parser.add_argument("--methods", default="psd", help="which, separated by commas")
    parser.add_argument("--seeds", type=int, default=8, help="at least 2 (8)")
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    units = WIDTH
    if options.quick:
        options.seeds, options.epochs, units = 2, 1, 32
    unknown = set(options.methods.split(",")) - METHODS.keys()
    if unknown:
        parser.error(f"no such method: {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    torch.set_num_threads(_report.cores())
    dataset = load(options.data)
    data = for_search(dataset, fraction=0.2, folds=None, seed=0)[0]
    rows, moved = [], []
    for method in options.methods.split(","):
        train = partial(_curves, method, data, options.seeds, options.epochs, options.device, units)
        exact, fast = (train(precision) for precision in PRECISIONS)
        for name, pick in (("best epoch", lambda curves: curves.max(1)), ("last epoch", lambda curves: curves[:, -1])):
            differences = pick(fast) - pick(exact)
            shift, half = mean_interval(differences)
            moved.append(abs(shift) / stdev(pick(exact)))
            rows.append(
                [
                    f"{method}, {name}",
                    f"{mean(pick(exact)):.4f}",
                    f"{mean(pick(fast)):.4f}",
                    f"{stdev(pick(exact)):.4f}",
                    f"{shift:+.4f} ± {half:.4f}",
                    f"{stdev(differences):.4f}",
                ]
            )
    head = ["", "fp32", "bf16", "sd over seeds, fp32", "bf16 - fp32, 95 %", "sd of the difference"]
    text = (
        f"Data `{dataset.name}`, {options.seeds} seeds, {options.epochs} epochs, width {units} where the method has "
        f"one, on {options.device}; validation MAP.\n\n" + _report.table(head, rows)
    )
    print(_report.write("precision", "bf16 beside fp32", [text], ["torch", "numpy"], options.out))
    if max(moved) > 1 and not options.quick:
        sys.exit("bf16 moves the mean by more than a standard deviation over the seeds")


def _curves(
    method: str, data: Prepared, seeds: int, epochs: int, device: str, units: int, precision: str
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Validation MAP [seeds, epochs] of the default configuration."""
    kind = get(method)
    width = {"hidden_dim": units} if any(hyper.name == "hidden_dim" for hyper in kind.hypers) else {}
    config = check_config(kind, width)
    lanes = LaneTrainer(method, static_values(kind, config), data, capacity=seeds, device=device, precision=precision)
    for seed in range(seeds):
        lanes.store.admit(Trial(seed, method, config, seed, epochs, precision))
    return np.array([[result.metrics["val_map"] for result in lanes.train_epoch()] for _ in range(epochs)]).T


if __name__ == "__main__":
    main()
