"""Closed streams. What the core of Ray writes while a cluster is attached to is held back on the terminal alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from avtune.runners.ray import cluster, watched


def test_its_lines_are_held_back_and_what_follows_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    with cluster._core_silenced():
        os.write(2, b"of the core\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.parametrize("name", ["stderr", "__stderr__"])
def test_where_standard_error_is_closed_its_number_may_be_another_files(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setattr(sys, name, None)
    with cluster._core_silenced():
        os.write(2, b"of another file\n")
    assert capfd.readouterr().err == "of another file\n"


def test_a_search_whose_ray_is_lost_ends_where_standard_output_is_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(watched.os, "_exit", codes.append)
    monkeypatch.setattr(watched.signals, "say", lambda why, code: code)
    watched._end(None, "gone", tmp_path / "none")
    assert codes == [1]
