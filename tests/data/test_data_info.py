from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avtune.data import demo, describe, from_arrays, load

Arrays = dict[str, Any]


def described(arrays: Arrays) -> dict[str, Any]:
    return describe(from_arrays(arrays, name="small", source="small.h5"))


def test_numbers(arrays: Arrays) -> None:
    arrays["audio_train"][3, 4] = 50
    said = described(arrays)
    assert json.loads(json.dumps(said)) == said
    assert (said["name"], said["source"], said["num_classes"]) == ("small", "small.h5", 3)
    assert (said["num_train"], said["num_test"], said["audio_dim"], said["visual_dim"]) == (12, 6, 10, 3)
    assert said["classes"] == [{"name": name, "train": 4, "test": 2} for name in ("4", "7", "9")]
    assert len(said["digest"]) == 64
    for key in ("audio_train", "visual_train", "audio_test", "visual_test"):
        x = arrays[key].astype(np.float64)
        expected = {"min": x.min(), "max": x.max(), "mean": x.mean(), "std": x.std()}
        assert said["ranges"][key] == pytest.approx(expected, rel=1e-6)


def test_nothing_wrong_means_no_problem(arrays: Arrays) -> None:
    assert described(arrays)["problems"] == []
    assert described(arrays)["notes"] == ["3 classes with fewer than 5 training clips: 4, 7, 9"]
    assert describe(demo())["problems"] == describe(demo())["notes"] == []


def test_problems_are_counted(arrays: Arrays) -> None:
    for view in ("audio", "visual"):
        arrays[f"{view}_test"][:2] = arrays[f"{view}_train"][5]
        arrays[f"{view}_train"][7] = arrays[f"{view}_train"][5]
    arrays["audio_train"][:, 3] = 0.25
    arrays["audio_test"][:2, 3] = 0.25
    arrays["visual_test"][4] = 0
    arrays["lab_test"][arrays["lab_test"] == 9] = 4
    arrays["lab_train"] = np.concatenate([arrays["lab_train"], np.full(40, 7)])
    rng = np.random.default_rng(3)
    for view, dim in (("audio", 10), ("visual", 3)):
        more = rng.normal(size=(40, dim)).astype(np.float32)
        arrays[f"{view}_train"] = np.concatenate([arrays[f"{view}_train"], more])
    arrays["audio_train"][:, 3] = 0.25
    said = described(arrays)
    assert said["problems"] == [
        "1 of 3 classes has no test clip: 9",
        "2 of 6 test clips have the same features as a training clip: "
        "test clip 0 = training clip 5, test clip 1 = training clip 5",
        "1 of 6 test clips has the same features as another test clip: test clip 1 = test clip 0",
        "1 of 6 test clips has visual features that are all zero",
    ]
    assert said["notes"] == [
        "imbalanced classes: '7' has 44 training clips and '4' has 4",
        "2 classes with fewer than 5 training clips: 4, 9",
        "1 of 52 training clips has the same features as another training clip: training clip 7 = training clip 5",
        "1 audio column constant in the training split",
    ]


def test_one_view_alone_is_no_repeated_clip(arrays: Arrays) -> None:
    arrays["audio_test"][:] = arrays["audio_train"][:6]
    assert not any("same features" in problem for problem in described(arrays)["problems"])


def test_real_file_has_no_problem(real_data: Callable[[str], Path]) -> None:
    said = describe(load(str(real_data("yt8m_ave15.h5"))))
    assert said["problems"] == []
    assert sum(c["train"] for c in said["classes"]) == 1663
    assert -2.1 < said["ranges"]["visual_test"]["min"] < said["ranges"]["visual_test"]["max"] < 2.1
