"""From the arguments of `avtune.finish` to a request; `cli/finish.py` is the command line's counterpart."""

from __future__ import annotations

from avtune.data.dataset import Dataset
from avtune.data.options import options_of
from avtune.study.folder import StudyFolder
from avtune.workflows.finish_search import ask
from avtune.workflows.finish_search import request_for as finish_request
from avtune.workflows.options import DeviceOptions
from avtune.workflows.python_data import Place, classes_text
from avtune.workflows.python_options import checked
from avtune.workflows.python_run import check_ray
from avtune.workflows.retrain import dataset_of
from avtune.workflows.search_plan import Request


def request_for(
    folder: StudyFolder, data: Dataset | None, options: DeviceOptions, code: str | None, *, classes: Place | None
) -> Request | None:
    """What a call asks for; None where another process works on the study, which has been asked to end its search.

    Args:
        data: the study's dataset; None to load it from where it was.
        classes: class file of the folder of tfrecord shards from which it is loaded.

    Raises:
        UserError: something the user gave is wrong.
    """
    options = checked(options)
    check_ray(options)
    if ask(folder) is not None:
        return None
    dataset = dataset_of(folder, data, options_of(classes=classes_text(classes)))
    return finish_request(folder, dataset, options, code, options.runner)
