"""Cluster canonical correlation analysis: CCA over all within-class pairs (Rasiwasia et al. 2014).

exact: every audio clip is paired with every visual clip of its class, and all these pairs are the samples of CCA. Their
covariances come from the sums of each class. At most C - 1 directions correlate; those beyond are arbitrary.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from avtune.methods._correlation import Moments, cluster_moments
from avtune.methods.cca import CCA


class ClusterCCA(CCA):
    """CCA over all pairs of an audio clip with a visual clip of the same class (exact)."""

    name: ClassVar[str] = "c_cca"
    summary: ClassVar[str] = "cluster-CCA: canonical correlation over all within-class pairs; closed form"
    source: ClassVar[str] = "Rasiwasia et al. 2014; exact"

    def _moments(self, audio_LBA: Tensor, visual_LBV: Tensor, labels_LB: Tensor) -> Moments:
        return cluster_moments(audio_LBA, visual_LBV, labels_LB, self.num_classes)
