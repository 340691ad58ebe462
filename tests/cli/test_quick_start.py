"""A command that does no work starts at once: nothing heavy is imported for it."""

import json
import subprocess
import sys

import pytest

from avtune.cli.main import _FILES, _VERBS

HEAVY = {"torch", "ray", "optuna", "rich", "numpy", "scipy", "sklearn", "yaml", "h5py"}
COMMAND = """
import json, sys
from avtune.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted(name for name in sys.modules if "." not in name)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "usage: avtune "),
        (["--version"], "avtune "),
        (["serch"], "did you mean 'search'?"),
        (["search", "--help"], "usage: avtune search "),
        (["search", "vegas", "--trails", "4"], "did you mean '--trials'?"),
    ],
)
def test_nothing_heavy_is_imported(words, said):
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True)
    assert said in done.stdout + done.stderr
    imported = json.loads(done.stderr.splitlines()[-1])
    assert "argparse" in imported
    assert HEAVY.isdisjoint(imported)


def test_every_verb_has_a_file_of_its_name():
    assert [verb.__name__ for verb in _FILES.values()] == [f"avtune.cli.{name.replace('-', '_')}" for name in _FILES]
    assert _VERBS.keys() == _FILES.keys()
