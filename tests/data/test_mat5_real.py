"""Files that MATLAB itself wrote, of both byte orders, which come with scipy's tests: read as scipy reads them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from avtune.core.errors import UserError
from avtune.data.layouts.mat5 import MAGIC
from avtune.data.opening import open_arrays

FOLDER = Path(scipy.io.__file__).parent / "matlab/tests/data"
FILES = sorted(path for path in FOLDER.glob("*.mat") if path.read_bytes().startswith(MAGIC))


@pytest.mark.skipif(not FILES, reason="this scipy comes without its tests")
def test_files_that_matlab_wrote() -> None:
    read, texts, refused = 0, 0, 0
    for path in FILES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wanted = scipy.io.loadmat(path)
        except Exception:
            wanted = {}  # damaged on purpose
        try:
            with open_arrays(path, ()) as container:
                for key in container.keys:
                    try:
                        found = container.declare(key).read()
                    except UserError:
                        refused += 1
                        assert not _is_plain(wanted.get(key)), (path.name, key)
                        continue
                    if found.dtype == object or key not in wanted:  # a text; a file that is wrong on purpose
                        texts += 1
                        continue
                    full = wanted[key].toarray() if scipy.sparse.issparse(wanted[key]) else wanted[key]
                    np.testing.assert_array_equal(found, full, err_msg=f"{path.name}: {key}")
                    read += 1
        except UserError:
            assert not wanted or path.name.startswith("bad"), path.name
    assert read > 25
    assert texts > 10
    assert refused > 25


def _is_plain(value: object) -> bool:
    """A full real matrix."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
