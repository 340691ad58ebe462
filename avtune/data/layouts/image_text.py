"""Image-text features as the code of DSCMR and its followers keeps them: `train_img train_txt train_img_lab` and
`test_img test_txt test_img_lab`, as a folder of .mat files of one array each or as one file; labels also as
`train_lab`, one number or one column a class, from any start. `I_tr T_tr L_tr I_te T_te L_te` of the code of
cross-modal hashing are the same."""

from __future__ import annotations

from pathlib import Path

from avtune.data.dataset import Dataset
from avtune.data.layouts.paired import read_paired, recognised
from avtune.data.options import ReadOptions

TITLE = "image-text (DSCMR)"
KEYS = ("train_img", "train_txt", "train_img_lab", "test_img", "test_txt", "test_img_lab")
TAKES = frozenset({"views", "pool"})
_NAMES = {
    "audio": ("{}_img", "{}_image", "img_{}", "image_{}", "I_{}"),
    "visual": ("{}_txt", "{}_text", "txt_{}", "text_{}", "T_{}"),
    "lab": ("{}_img_lab", "{}_lab", "{}_label", "{}_labels", "lab_{}", "label_{}", "L_{}"),
    "same": ("{}_txt_lab",),
    "group": ("{}_group", "{}_groups"),
}


def recognise(path: Path) -> bool:
    """Whether it has images, texts and labels of both splits."""
    return recognised(path, _NAMES)


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of images and texts."""
    return read_paired(path, options, _NAMES, ("image", "text"))
