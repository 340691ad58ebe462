"""From the arguments of `avtune.retrain` to a request; `cli/retrain.py` is the command line's counterpart."""

from __future__ import annotations

from pathlib import Path

from avtune.data.dataset import Dataset
from avtune.data.options import options_of
from avtune.study.folder import StudyFolder
from avtune.workflows.choose_runner import placement_request
from avtune.workflows.options import DeviceOptions
from avtune.workflows.python_data import Place, classes_text
from avtune.workflows.python_options import checked, whole_or_none
from avtune.workflows.python_run import check_ray
from avtune.workflows.retrain import RetrainRequest, dataset_of, shared_folder


def request_for(
    study: Path,
    data: Dataset | None,
    options: DeviceOptions,
    code: str | None,
    numbers: tuple[int | None, int | None, int | None],
    *,
    out: Path | None,
    classes: Place | None,
) -> RetrainRequest:
    """What a call asks for; see `RetrainRequest`.

    Args:
        study: the folder of the study.
        data: its dataset; None to load it from where it was.
        numbers: trial, epochs and seeds.
        classes: class file of the folder of tfrecord shards from which it is loaded.

    Raises:
        UserError: something the user gave is wrong.
    """
    options = checked(options)
    names = ("trial", "epochs", "seeds")
    trial, epochs, seeds = (whole_or_none(name, value) for name, value in zip(names, numbers, strict=True))
    check_ray(options)
    folder = StudyFolder(study)
    return RetrainRequest(
        folder=folder,
        dataset=dataset_of(folder, data, options_of(classes=classes_text(classes))),
        placement=placement_request(options.at(shared_folder(folder, out))),
        trial=trial,
        epochs=epochs,
        seeds=seeds,
        out=out,
        code=code,
        runner=options.runner,
    )
