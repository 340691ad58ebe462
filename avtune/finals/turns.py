"""The order in which the runs of the finals are given to engines. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from avtune.core.trial import Trial


def in_turns(trials: Sequence[Trial], group_of: Callable[[Trial], Hashable]) -> list[int]:
    """The places of the runs: the first of each configuration, then the second of each, and so on. Runs of one
    configuration train for about as many epochs, so that engines that take the first and the last ones are done at
    about the same time; `benchmarks.simulate --only shares` has what that saves.

    Args:
        group_of: runs with the same value can share tensors. Those that cannot are not mixed: an engine would train
            them one after the other.

    >>> in_turns([Trial(0, "psd", {"margin": margin}, seed, 9) for margin in (0.1, 0.2) for seed in range(3)], repr)
    [0, 1, 2, 3, 4, 5]
    >>> in_turns([Trial(0, "psd", {"margin": margin}, seed, 9) for margin in (0.1, 0.2) for seed in range(3)], type)
    [0, 3, 1, 4, 2, 5]
    """
    groups: dict[Hashable, int] = {}
    turns: dict[Hashable, int] = {}
    order: list[tuple[int, int, int]] = []
    for place, trial in enumerate(trials):
        group = groups.setdefault(group_of(trial), len(groups))
        config = (trial.method, *sorted(trial.config.items()))
        turns[config] = turn = turns.get(config, -1) + 1
        order.append((group, turn, place))
    return [place for _, _, place in sorted(order)]
