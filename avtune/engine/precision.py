"""The precision of large matrix products that a search uses where nobody names one."""

from __future__ import annotations

from pathlib import Path

import torch


def fast_precision(gpus: int) -> str:
    """`bf16` where the device multiplies bfloat16 in hardware, else `fp32`.

    Args:
        gpus: that the search uses; 0 for CPU cores.
    """
    if gpus:
        if not torch.cuda.is_available():  # a cluster's GPUs, which this machine cannot ask
            return "fp32"
        return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp32"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "fp32"
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"
