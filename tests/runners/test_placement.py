import re
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from avtune.core.errors import UserError
from avtune.methods import METHODS, check_config
from avtune.runners import placement
from avtune.runners._base import Cluster, Placement
from avtune.runners.dispatcher import spare_trials
from avtune.runners.nodes import Node
from avtune.runners.placement import PlacementRequest, place
from avtune.runners.watchdog import Watch
from avtune.workflows.choose_runner import has_wide_lanes


@pytest.mark.parametrize(("count", "gpus"), [(3, 1), (7, 2), (8, 8), (16, 8), (24, 8)])
def test_what_all_processes_ask_for_fits_on_the_gpus(count, gpus):
    placement = Placement(count, gpus, 1)
    assert placement.resources == {"cpu": 0, "gpu": placement.gpu_share}, "whatever CPUs its node has"
    assert 0.999 * gpus <= placement.gpu_share * count <= gpus


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (PlacementRequest(gpus=2), "--gpus is 2, and the runner inline uses one GPU; allowed: 0 or 1"),
        (PlacementRequest(trials_per_gpu=2), "--trials-per-gpu is 2, and the runner inline trains one trial at a time"),
    ],
)
def test_more_than_the_runner_inline_can_use_is_refused(monkeypatch, asked, said):
    monkeypatch.setattr(placement.torch.cuda, "device_count", lambda: 4)
    assert place(PlacementRequest(), "inline", 24).gpus == 1  # where nobody says a number
    with pytest.raises(UserError, match=said):
        place(asked, "inline", 24)


@pytest.mark.parametrize("runner", ["inline", "lanes", "processes"])
@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-7, 1e10, 1e20, float("inf"), float("nan")])
def test_a_time_limit_that_no_timer_takes_is_refused(runner, seconds):
    said = rf"--trial-timeout is {re.escape(f'{seconds:g}')}; allowed: seconds from 0\.01 to 1e8"
    with pytest.raises(UserError, match=said):
        place(PlacementRequest(gpus=0, timeout=seconds), runner, 24)


def test_the_timers_take_the_longest_time_limit(tmp_path):
    seconds = placement.TIMEOUTS[1]
    assert place(PlacementRequest(gpus=0, timeout=seconds), "inline", 24).timeout == seconds
    signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    watch = Watch(seconds, tmp_path / "stack")
    watch.begin()
    watch.end()
    watch._file.close()


@pytest.mark.parametrize(
    ("nodes", "given", "threads"),
    [
        ([(16, 2), (16, 2)], {}, 8),
        ([(64, 0), (2, 4)], {}, 1),  # nothing of the first trains
        ([(64, 2), (8, 2)], {}, 4),
        ([(64, 2), (8, 2)], {"trials_per_gpu": 2}, 2),
        ([(64, 8)], {"gpus": 1}, 64),
        ([(16, 2), (16, 2)], {"cpus": 4}, 1),
        ([(0, 2)], {}, 1),
    ],
)
def test_processes_on_gpus_share_the_cpus_of_their_node(nodes, given, threads):
    found = tuple(Node(f"10.0.0.{at}", "n", cpus, gpus, {}) for at, (cpus, gpus) in enumerate(nodes))
    cluster = Cluster("head:6379", sum(one.cpus for one in found), sum(one.gpus for one in found), Path("/r"), found)
    assert place(PlacementRequest(cluster=cluster, **given), "lanes", 640).threads == threads


def test_without_gpus_a_process_asks_for_a_core():
    assert Placement(4, 0, 1).resources == {"cpu": 1}


@pytest.mark.parametrize(
    ("placement", "spare"),
    [
        (Placement(2, 0, 1, lanes=4), 1),  # two cores
        (Placement(1, 0, 1), 1),
        (Placement(16, 0, 1, lanes=4), 8),
        (Placement(1, 1, 8, lanes=64), 2),
        (Placement(8, 8, 2, lanes=64), 16),
    ],
)
def test_few_trials_are_asked_for_ahead_of_need(placement, spare):
    assert spare_trials(placement) == spare


@pytest.mark.parametrize(("trials", "narrow", "wide"), [(8, 1, 1), (24, 3, 1), (64, 4, 3), (100, 4, 4), (1000, 4, 4)])
def test_a_search_on_a_cpu_has_several_generations_of_trials_and_more_where_lanes_are_wide(
    monkeypatch, trials, narrow, wide
):
    monkeypatch.setattr(placement, "usable_cores", lambda: 2)
    request = PlacementRequest(gpus=0)
    assert place(request, "lanes", trials).lanes == narrow
    assert place(request, "lanes", trials, wide=True).lanes == wide
    assert place(replace(request, lanes=7), "lanes", trials, wide=True).lanes == 7


def test_a_gpu_has_as_many_lanes_however_wide_they_are(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert place(PlacementRequest(), "lanes", 64, wide=True).lanes == place(PlacementRequest(), "lanes", 64).lanes == 16


def test_a_search_asks_whether_its_lanes_are_wide_where_it_opens_the_runner(monkeypatch):
    config = check_config(METHODS["psd"], {})
    space = SimpleNamespace(method="psd", defaults=lambda: config)
    dataset = SimpleNamespace(audio_dim=128, visual_dim=1024, num_classes=10)
    assert has_wide_lanes(space, dataset)
    space.defaults = lambda: check_config(METHODS["psd"], {"hidden_dim": 64})
    assert not has_wide_lanes(space, dataset)
    space.defaults = lambda: config

    def init(self, generator):
        raise RuntimeError("a mistake in a method")

    monkeypatch.setattr(METHODS["psd"], "init", init)
    assert not has_wide_lanes(space, dataset)


@pytest.mark.parametrize(
    ("placement", "independent", "lanes"),
    [
        (Placement(2, 0, 1, lanes=1, most_lanes=8), 0, 1),  # a search
        (Placement(2, 0, 1, lanes=1, most_lanes=8), 20, 5),
        (Placement(2, 0, 1, lanes=1, most_lanes=8), 2, 1),
        (Placement(2, 0, 1, lanes=4, most_lanes=8), 10, 4),
        (Placement(2, 0, 1, lanes=1, most_lanes=8), 1000, 8),
        (Placement(1, 1, 8, lanes=6, most_lanes=64), 20, 20),
        (Placement(8, 8, 2, lanes=2, most_lanes=64), 20, 3),
    ],
)
def test_runs_that_do_not_learn_from_each_other_have_more_lanes(placement, independent, lanes):
    assert placement.lanes_for(independent) == lanes


def test_lanes_that_the_user_named_are_kept_to(monkeypatch):
    monkeypatch.setattr(placement, "usable_cores", lambda: 2)
    placed = place(PlacementRequest(gpus=0, lanes=2), "lanes", 24)
    assert (placed.lanes, placed.lanes_for(100)) == (2, 2)
    assert place(PlacementRequest(gpus=0), "processes", 24).lanes_for(100) == 1
