"""Image-text features of the noisy-label and multi-view literature (`wiki_deep_doc2vec_data_corr_ae.h5py`, `wiki.mat`,
NUS-WIDE, MS-COCO): `train_imgs_deep train_texts train_imgs_labels`, the same of `test` and perhaps of `valid`. Labels
begin at 1 or 0, or have one column a class."""

from __future__ import annotations

from pathlib import Path

from avtune.data.dataset import Dataset
from avtune.data.layouts.paired import read_paired, recognised
from avtune.data.options import ReadOptions

TITLE = "deep image features and texts"
KEYS = ("train_imgs_deep", "train_texts", "train_imgs_labels", "test_imgs_deep", "test_texts", "test_imgs_labels")
TAKES = frozenset({"views", "pool"})
_NAMES = {
    "audio": ("{}_imgs_deep", "{}_imgs"),
    "visual": ("{}_texts", "{}_text", "{}_texts_doc"),
    "lab": ("{}_imgs_labels", "{}_labels"),
    "same": ("{}_texts_labels",),
    "group": ("{}_groups",),
    "names": ("label_names",),
}


def recognise(path: Path) -> bool:
    """Whether it has deep image features, texts and labels of both splits."""
    return recognised(path, _NAMES)


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of images and texts."""
    return read_paired(path, options, _NAMES, ("image", "text"))
