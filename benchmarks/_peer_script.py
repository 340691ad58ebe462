"""A trial of Syne Tune's local backend, which starts this script with the configuration as options;
the task is in the environment."""

from __future__ import annotations

import argparse
import json
import os

import torch
from syne_tune import Reporter

from benchmarks._peer_task import Task


def main() -> None:
    parser = argparse.ArgumentParser()
    task = Task(**json.loads(os.environ["AVTUNE_PEER_TASK"]))
    for name, one in task.the_space.distributions().items():
        parser.add_argument(f"--{name}", type=type(one.low) if hasattr(one, "low") else str, required=True)
    values, _ = parser.parse_known_args()
    torch.set_num_threads(1)
    reporter = Reporter()

    def report(epoch: int, value: float) -> bool:
        reporter(epoch=epoch, val_map=value)
        return True

    task.trial({name: getattr(values, name) for name in task.the_space.distributions()}, report)


if __name__ == "__main__":
    main()
