"""Where a process of Ray's trains."""

from __future__ import annotations

from avtune.core.trained_on import TrainedOn


def trained_on(process: str, device: str, *, cluster: bool) -> TrainedOn:
    """
    Args:
        process: what it is called.
        device: of torch, on which it trains; Ray shows a process its own GPUs only, from `cuda:0` on.
        cluster: the user named one, so that there may be several machines.
    """
    import ray

    gpus = ray.get_gpu_ids()
    kind = f"GPU {gpus[0]}" if device != "cpu" and gpus else "CPU"
    return TrainedOn(kind, process, str(ray.util.get_node_ip_address()) if cluster else "")
