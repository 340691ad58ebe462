import pytest

from avtune.runners._base import Slots


@pytest.mark.parametrize(("count", "gpus"), [(3, 1), (7, 2), (8, 8), (16, 8), (24, 8)])
def test_what_all_processes_ask_for_fits_on_the_gpus(count, gpus):
    slots = Slots(count, gpus, 1)
    assert slots.resources == {"cpu": 1, "gpu": slots.gpu_share}
    assert 0.999 * gpus <= slots.gpu_share * count <= gpus


def test_without_gpus_a_process_asks_for_a_core():
    assert Slots(4, 0, 1).resources == {"cpu": 1}
