"""The registry of methods: one line a method. `engine.user_code.register` adds those that the command line names."""

from __future__ import annotations

from avtune.core.errors import UserError, choices, did_you_mean, shown
from avtune.core.hyper import Hyper
from avtune.methods._base import (
    TRAINING_HYPERS,
    Batch,
    Method,
    Progress,
    check_config,
    defaults,
    named_part,
    static_values,
)
from avtune.methods._closed_form import ClosedForm
from avtune.methods.aadml import AADML
from avtune.methods.acmr import ACMR
from avtune.methods.c_cca import ClusterCCA
from avtune.methods.cca import CCA
from avtune.methods.classifiers import Classifiers
from avtune.methods.clip import CLIP
from avtune.methods.dcca import DCCA, ClusterDCCA
from avtune.methods.dscmr import DSCMR
from avtune.methods.eics import EICS
from avtune.methods.hcmsl import HCMSL
from avtune.methods.kcca import KernelCCA
from avtune.methods.proxy_anchor import ProxyAnchor
from avtune.methods.psd import PSD
from avtune.methods.scm import SCM
from avtune.methods.supcon import SupCon
from avtune.methods.tnn_ccca import TNNCCCA
from avtune.methods.triplet import HardTriplet, Triplet
from avtune.methods.two_stage import TwoStage
from avtune.methods.vae_cca import VAECCA

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        PSD,
        Triplet,
        HardTriplet,
        AADML,
        TwoStage,
        EICS,
        DSCMR,
        HCMSL,
        ACMR,
        TNNCCCA,
        VAECCA,
        CLIP,
        SupCon,
        ProxyAnchor,
        Classifiers,
        DCCA,
        ClusterDCCA,
        CCA,
        KernelCCA,
        ClusterCCA,
        SCM,
    )
}


def get(name: str) -> type[Method]:
    """The method of that name.

    Raises:
        UserError: no method has that name.
    """
    if ":" in name and name not in METHODS:
        raise UserError(f"{name} is code of your own, which only the command line may name: add --method {name}")
    if name not in METHODS:
        raise UserError(f"no method is called {shown(name)}{did_you_mean(name, METHODS)}\nmethods: {choices(METHODS)}")
    return METHODS[name]


def hypers_of(name: str) -> dict[str, Hyper]:
    """The hyper-parameters of the method `name` by their names."""
    return {hyper.name: hyper for hyper in get(name).hypers}


__all__ = [
    "METHODS",
    "TRAINING_HYPERS",
    "Batch",
    "ClosedForm",
    "Hyper",
    "Method",
    "Progress",
    "check_config",
    "defaults",
    "get",
    "hypers_of",
    "named_part",
    "static_values",
]
