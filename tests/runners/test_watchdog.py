"""The time limit of a process that trains."""

import subprocess
import sys

import pytest

from avtune.runners.watchdog import Watch, last_stack

HANGS = {
    "in Python": "while True: pass",
    "in C, holding Python's lock": "import re; re.match(r'(a+)+$', 'a' * 60 + 'b')",
    "asleep": "import time; time.sleep(60)",
}


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
def test_a_process_that_hangs_ends_and_leaves_its_stack(hang, tmp_path):
    code = (
        f"from pathlib import Path\nfrom avtune.runners.watchdog import Watch\n"
        f"watch = Watch(0.3, Path({str(tmp_path / 'stack')!r}))\n"
        f"watch.begin(); watch.end(); watch.begin()\n"
        f"def hanging():\n    {hang}\nhanging()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert ended.returncode == 1
    assert "in hanging" in last_stack(tmp_path / "stack")
    assert last_stack(tmp_path / "stack") == "", "once"


def test_no_limit_leaves_nothing(tmp_path):
    watch = Watch(None, tmp_path / "stack")
    watch.begin()
    watch.end()
    assert not list(tmp_path.iterdir())
    assert last_stack(tmp_path / "stack") == ""


def test_a_stack_that_cannot_be_kept_is_no_reason_to_fail(tmp_path):
    watch = Watch(60, tmp_path / "no such folder" / "stack")
    watch.end()
