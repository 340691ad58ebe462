"""The options that say which clips a model is used on: a dataset's split, or any file of features."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from avtune.cli.arguments import Parser, add_reading, completes, reading_of
from avtune.cli.folders import model_folder
from avtune.core.errors import UserError, shown

if TYPE_CHECKING:
    from avtune.engine.model import Model
    from avtune.workflows.clips import Clips


def add_clips(to: Parser, *, optional: bool = False, view: bool = True) -> None:
    """DATA, --split, --map, --view, and how a dataset is read.

    Args:
        optional: DATA may be left out.
        view: one view is enough, and --view chooses it.
    """
    text = "a dataset (vegas, ave, demo, a path), or a file that holds a view: HDF5, npz, npy"
    completes(to.add_argument("data", metavar="DATA", help=text, nargs="?" if optional else None), "dataset")
    to.add_argument("--split", choices=("test", "train"), help="which rows of a dataset (test)")
    to.add_argument(
        "--map",
        action="append",
        metavar="VIEW=KEY",
        help="names of the arrays in the file: audio=KEY,visual=KEY,labels=KEY, or as the model's views are called",
    )
    if view:
        to.add_argument("--view", metavar="VIEW", help="only this view; of an .npy file, which one it is")
    add_reading(to, map=False)


def clips_of(given: argparse.Namespace, model: Model) -> Clips:
    """The clips that the command line names.

    Raises:
        UserError: they cannot be read, or do not fit the model.
    """
    from avtune.workflows.clips import Source, read_clips

    view, chosen = getattr(given, "view", None), _chosen(given.map or [])
    return read_clips(Source(given.data, given.split, view, chosen, reading_of(given), given.results), model)


def count_look_at_clips(given: argparse.Namespace, model: Model, clips: Clips) -> str:
    """Counts a look where the clips are a test split; what is to be said of it, see `workflows.looks`."""
    from avtune.workflows.looks import count_look_at

    if clips.dataset is None or clips.split is None:
        return ""
    place = model_folder(given)
    return count_look_at(model, place, clips.dataset, clips.split, results=given.results, method=given.method)


def _chosen(words: list[str]) -> dict[str, str]:
    """What --map says: names of arrays by what they are."""
    found: dict[str, str] = {}
    for part in (part for word in words for part in word.split(",")):
        what, sign, key = part.partition("=")
        if not sign or not key:
            raise UserError(f"--map has {shown(part)}; give VIEW=KEY, e.g. --map audio=vggish,visual=resnet")
        if what in found:
            raise UserError(f"--map names {what} twice")
        found[what] = key
    return found
