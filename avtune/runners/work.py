"""What happens where a trial runs, the same for every runner."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save

from avtune import own
from avtune.data.prepare import Prepared
from avtune.function_trainer import train_function
from avtune.lanes.modules import Tensors
from avtune.lanes.worker import one_line
from avtune.study.files import write_bytes
from avtune.trainer import Report, train
from avtune.trial import Trial, TrialFailed


@dataclass(frozen=True)
class Failure:
    """Why a trial failed: one line, and the details for the log."""

    line: str
    details: str = ""


class _Passing(BaseException):
    """Carries what the report function raised past the handlers for the trial's own errors."""

    def __init__(self, raised: BaseException) -> None:
        super().__init__()
        self.raised = raised


def work(trial: Trial, data: Sequence[Prepared], report: Report, *, device: str) -> Failure | None:
    """Trains a trial and saves its weights (of a training function: what it embedded) if it says where. An exception of
    the trial's becomes a `Failure`; one that the report function raises passes through."""

    def passing(epoch: int, metrics: dict[str, float]) -> bool:
        try:
            return report(epoch, metrics)
        except TrialFailed:  # a time limit's, see `inline`
            raise
        except BaseException as error:
            raise _Passing(error) from None

    function = own.function(trial.method)
    try:
        if function is not None:
            assert len(data) == 1, "a training function sees one fold"
            embedded = train_function(function, trial, data[0], passing, device=device)
        else:
            trained = train(trial, data, passing, device=device)
    except _Passing as passing_error:
        raise passing_error.raised from None
    except TrialFailed as error:
        return Failure(str(error))
    except Exception as error:
        return Failure(one_line(error), traceback.format_exc())
    if trial.save_to is not None:
        if function is None:
            save_weights(trial, trained.params, trained.buffers)
        elif embedded is not None:
            tensors = dict(zip(("audio", "visual"), map(torch.from_numpy, embedded), strict=True))
            write_bytes(Path(trial.save_to), save(tensors, {"format": "avtune embeddings 1"}))
    return None


def save_weights(trial: Trial, params: Tensors, buffers: Tensors) -> None:
    """Writes a trial's weights to the file that it names."""
    assert trial.save_to is not None
    tensors = {f"params.{name}": value for name, value in params.items()}
    tensors |= {f"buffers.{name}": value for name, value in buffers.items()}
    write_bytes(Path(trial.save_to), save(tensors, {"format": "avtune weights 1"}))
