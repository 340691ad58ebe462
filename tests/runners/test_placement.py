from dataclasses import replace
from types import SimpleNamespace

import pytest

from avtune.core.errors import UserError
from avtune.methods import METHODS, check_config
from avtune.runners import placement
from avtune.runners._base import Slots
from avtune.runners.lanes import spare_trials
from avtune.runners.placement import Wish, slots
from avtune.workflows.choose_runner import has_wide_lanes


@pytest.mark.parametrize(("count", "gpus"), [(3, 1), (7, 2), (8, 8), (16, 8), (24, 8)])
def test_what_all_processes_ask_for_fits_on_the_gpus(count, gpus):
    slots = Slots(count, gpus, 1)
    assert slots.resources == {"cpu": 1, "gpu": slots.gpu_share}
    assert 0.999 * gpus <= slots.gpu_share * count <= gpus


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(gpus=2), "--gpus is 2, and the runner inline uses one GPU; allowed: 0 or 1"),
        (Wish(trials_per_gpu=2), "--trials-per-gpu is 2, and the runner inline trains one trial at a time"),
    ],
)
def test_more_than_the_runner_inline_can_use_is_refused(monkeypatch, wish, said):
    monkeypatch.setattr(placement.torch.cuda, "device_count", lambda: 4)
    assert slots(Wish(), "inline", 24).gpus == 1  # where nobody says a number
    with pytest.raises(UserError, match=said):
        slots(wish, "inline", 24)


def test_without_gpus_a_process_asks_for_a_core():
    assert Slots(4, 0, 1).resources == {"cpu": 1}


@pytest.mark.parametrize(
    ("slots", "spare"),
    [
        (Slots(2, 0, 1, lanes=4), 1),  # two cores
        (Slots(1, 0, 1), 1),
        (Slots(16, 0, 1, lanes=4), 8),
        (Slots(1, 1, 8, lanes=64), 2),
        (Slots(8, 8, 2, lanes=64), 16),
    ],
)
def test_few_trials_are_asked_for_ahead_of_need(slots, spare):
    assert spare_trials(slots) == spare


@pytest.mark.parametrize(("trials", "narrow", "wide"), [(8, 1, 1), (24, 3, 1), (64, 4, 3), (100, 4, 4), (1000, 4, 4)])
def test_a_search_on_a_cpu_has_several_generations_of_trials_and_more_where_lanes_are_wide(
    monkeypatch, trials, narrow, wide
):
    monkeypatch.setattr(placement, "usable_cores", lambda: 2)
    wish = Wish(gpus=0)
    assert slots(wish, "lanes", trials).lanes == narrow
    assert slots(wish, "lanes", trials, wide=True).lanes == wide
    assert slots(replace(wish, lanes=7), "lanes", trials, wide=True).lanes == 7


def test_a_gpu_has_as_many_lanes_however_wide_they_are(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert slots(Wish(), "lanes", 64, wide=True).lanes == slots(Wish(), "lanes", 64).lanes == 16


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
    ("slots", "independent", "lanes"),
    [
        (Slots(2, 0, 1, lanes=1, most_lanes=8), 0, 1),  # a search
        (Slots(2, 0, 1, lanes=1, most_lanes=8), 20, 5),
        (Slots(2, 0, 1, lanes=1, most_lanes=8), 2, 1),
        (Slots(2, 0, 1, lanes=4, most_lanes=8), 10, 4),
        (Slots(2, 0, 1, lanes=1, most_lanes=8), 1000, 8),
        (Slots(1, 1, 8, lanes=6, most_lanes=64), 20, 20),
        (Slots(8, 8, 2, lanes=2, most_lanes=64), 20, 3),
    ],
)
def test_runs_that_do_not_learn_from_each_other_have_more_lanes(slots, independent, lanes):
    assert slots.lanes_for(independent) == lanes


def test_lanes_that_the_user_named_are_kept_to(monkeypatch):
    monkeypatch.setattr(placement, "usable_cores", lambda: 2)
    places = slots(Wish(gpus=0, lanes=2), "lanes", 24)
    assert (places.lanes, places.lanes_for(100)) == (2, 2)
    assert slots(Wish(gpus=0), "processes", 24).lanes_for(100) == 1
