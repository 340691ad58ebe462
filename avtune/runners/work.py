"""What happens where a trial runs, the same for every runner."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from avtune.core.output import Output
from avtune.core.run_files import origin
from avtune.core.trial import Trial, TrialFailed
from avtune.data.prepare import Prepared
from avtune.engine import user_code
from avtune.engine.failures import one_line
from avtune.engine.function_trainer import train_function
from avtune.engine.trainer import Report, train
from avtune.lanes.modules import Tensors
from avtune.runners.study_files import SeenFiles, StudyFiles

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Why a trial failed: one line, and the details for the log."""

    line: str
    details: str = ""


class _Passing(BaseException):
    """Carries what the report function raised past the handlers of the trial's own errors; also past `except Exception`
    in code of the user's own."""


def work(
    trial: Trial,
    data: Sequence[Prepared],
    report: Report,
    *,
    device: str,
    interrupted: Callable[[], bool] = lambda: False,
    files: StudyFiles | None = None,
) -> Failure | None:
    """Trains a trial and saves its weights (of a training function: what it embedded) if it says where. Whatever the
    trial's code raises, `SystemExit` included, becomes a `Failure`; what the report function raises passes through,
    whatever the code does with it.

    Args:
        interrupted: whether this process was told to end (Ctrl-C or a signal), which code of the user's own may have
            caught. A `KeyboardInterrupt` that such code raises by itself is a failure like any other.
        files: reaches the files that the trial names; None where this machine sees them.
    """
    files = files or SeenFiles()
    trial = files.received(trial)
    passed: list[BaseException] = []
    output = Output(trial.output, f"{Path(trial.output or '').stem}, seed {trial.seed}")

    def passing(epoch: int, metrics: dict[str, float]) -> bool:
        if passed:  # the user's code has caught the exception and goes on
            raise _Passing
        try:
            if interrupted():
                raise KeyboardInterrupt
            files.sync()
            with output.paused():
                return report(epoch, metrics)
        except TrialFailed:  # raised by the time limit of the runner `inline`
            raise
        except BaseException as error:
            passed.append(error)
            raise _Passing from None

    failure = None
    _LOG.debug("trial %d: %s on %s, at most %d epochs", trial.number, trial.method, device, trial.epochs)
    try:
        with output.captured():
            save = _train(trial, data, passing, device, files)
    except TrialFailed as error:
        failure = Failure(str(error))
    except BaseException as error:
        # Our own methods do not raise it: this is Ctrl-C.
        if isinstance(error, KeyboardInterrupt) and ":" not in trial.method:
            raise
        failure = Failure(one_line(error), traceback.format_exc())
    if passed:
        raise passed[0] from None
    if interrupted():
        raise KeyboardInterrupt
    output.close()
    files.sync()
    if failure is None:
        save()
    _LOG.debug("trial %d: %s", trial.number, "has ended" if failure is None else f"has failed: {failure.line}")
    return failure


def _train(
    trial: Trial, data: Sequence[Prepared], report: Report, device: str, files: StudyFiles
) -> Callable[[], None]:
    """Trains a trial; returns what saves what came of it."""
    function = user_code.function(trial.method)
    if function is None:
        trained = train(trial, data, report, device=device)
        return lambda: (
            None
            if trial.save_to is None
            else save_weights(trial, trained.params, trained.buffers, trained.epochs, files)
        )
    assert len(data) == 1, "a training function sees one fold"
    embedded = train_function(function, trial, data[0].for_seed(trial.seed), report, device=device)
    return lambda: None if embedded is None else _save_embeddings(files, trial, embedded)


def _save_embeddings(files: StudyFiles, trial: Trial, embedded: tuple[np.ndarray, np.ndarray]) -> None:
    if trial.save_to is not None:
        tensors = dict(zip(("audio", "visual"), map(torch.from_numpy, embedded), strict=True))
        files.write(Path(trial.save_to), save(tensors, origin(trial, trial.epochs).metadata("avtune embeddings 2")))


def save_weights(trial: Trial, params: Tensors, buffers: Tensors, epochs: int, files: StudyFiles | None = None) -> None:
    """Writes a trial's weights after so many epochs to the file that it names."""
    assert trial.save_to is not None
    tensors = {f"params.{name}": value for name, value in params.items()}
    tensors |= {f"buffers.{name}": value for name, value in buffers.items()}
    (files or SeenFiles()).write(Path(trial.save_to), save(tensors, origin(trial, epochs).metadata("avtune weights 2")))
