"""A few of the stories of `make stories`; see `python -m tests.stories --help`."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="forks and looks into /proc")]

ROOT = Path(__file__).parents[2]


def test_a_few_stories_end_well(tmp_path):
    words = ["--first-seed", "313", "--stories", "2", "--out", str(tmp_path)]
    told = subprocess.run(
        [sys.executable, "-m", "tests.stories", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    report = next(tmp_path.glob("*-stories.md")).read_text()
    assert "| stories with a problem | 0 |" in report
    assert "SIGKILL" in report
