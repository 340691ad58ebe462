"""The validation MAP on the device against the CPU's, lane by lane."""

import pytest
import torch

from avtune.lanes.validation import lane_map
from avtune.metrics import retrieval_scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("chunk", [1, 700, 1 << 20])
def test_lane_map_is_the_map_of_every_lane(ties, chunk):
    draw = torch.Generator().manual_seed(0)
    z_a, z_v = (torch.randn(3, 40, 6, generator=draw) for _ in range(2))
    if ties:  # axes and their opposites, whose cosines are exact in any order of summation; some rows of zeros
        axes = torch.cat([torch.eye(6), -torch.eye(6), torch.zeros(1, 6)])
        z_a, z_v = (axes[torch.randint(0, 13, (3, 40), generator=draw)] for _ in range(2))
    labels = torch.randint(0, 4, (40,), generator=draw)
    found = lane_map(z_a, z_v, labels, chunk)
    for lane in range(3):
        score = retrieval_scores(z_a[lane].numpy(), z_v[lane].numpy(), labels.numpy())
        assert found[lane].tolist() == pytest.approx([score.map_a2v, score.map_v2a], abs=1e-12)
