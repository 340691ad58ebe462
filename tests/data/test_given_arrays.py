"""Arrays that a program gives: columns of tables, sparse and masked ones, groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from avtune.core.errors import UserError
from avtune.data import Dataset

DRAW = np.random.default_rng(0)
AUDIO, VISUAL, LABELS = DRAW.normal(size=(18, 4)), DRAW.normal(size=(18, 5)), np.arange(18) % 3
TEST = (AUDIO[:9] + 1, VISUAL[:9] + 1, LABELS[:9])


def refused(audio: Any = AUDIO, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        Dataset.from_arrays(train=(audio, VISUAL, LABELS), test=TEST, **more)
    return str(caught.value)


def test_a_column_of_arrays_is_to_be_stacked() -> None:
    for column in (pd.Series(list(AUDIO)), pd.Series([row.tolist() for row in AUDIO])):
        said = "arrays: audio of train is a column of arrays, one a clip; give one array"
        assert refused(column).startswith(said)
        stacked = Dataset.from_arrays(train=(np.stack(list(column)), VISUAL, LABELS), test=TEST)
        assert stacked.audio_dim == 4


def test_sparse_and_masked_arrays() -> None:
    for sparse in (scipy.sparse.csr_matrix(AUDIO), scipy.sparse.coo_array(AUDIO)):
        assert "is a sparse matrix; give it whole: x.toarray()" in refused(sparse)
    masked = np.ma.masked_greater(AUDIO, AUDIO.max() - 1e-9)
    assert "has masked values in 1 row; leave these clips out" in refused(masked)
    whole = np.ma.masked_array(AUDIO)
    assert Dataset.from_arrays(train=(whole, VISUAL, LABELS), test=TEST).audio_dim == 4


def test_groups_by_split() -> None:
    videos = {"train": [f"v{i // 2}" for i in range(18)], "test": ["v0", *"abcdefgh"]}
    dataset = Dataset.from_arrays(train=(AUDIO, VISUAL, LABELS), test=TEST, groups=videos)
    assert dataset.groups is not None
    assert dataset.leaked == 1
    assert "groups names 'tran'; did you mean 'train'?; the splits are" in refused(groups={"tran": [1]})
    assert "groups is a list; give them by split" in refused(groups=[1])
    assert "groups of train has 2 rows for 18 training clips" in refused(groups={"train": [1, 2]})
    assert "groups of train is missing" in refused(groups={"test": [1] * 9})
