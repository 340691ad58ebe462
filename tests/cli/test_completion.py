"""What a shell completes, with the script sourced in that shell."""

import builtins
import shutil
import subprocess

import pytest
from command import call
from toy import write_toy

from avtune.cli.main import _FILES
from avtune.data.registry import REGISTRY
from avtune.methods import METHODS
from avtune.space.files import names

CASES = {
    "avtune ": set(_FILES),
    "avtune sea": {"search"},
    "avtune search ve": {"vegas"},
    "avtune search toy": {"toy.h5"},
    "avtune search demo --met": {"--method"},
    "avtune search demo --method c": {name for name in METHODS if name.startswith("c")},
    "avtune bench demo --methods psd,tri": {"psd,triplet"},
    "avtune search demo --space v": {name for name in names() if name.startswith("v")},
    "avtune search demo --space sp": {"space.yaml"},
    "avtune search demo --runner ": {"lanes", "processes", "inline"},
    "avtune search demo --precision b": {"bf16"},
    "avtune search demo --protocol p": {"published"},
    "avtune methods ps": {"psd"},
    "avtune space ": {"check", "show", "list"},
    "avtune space show de": {"demo"},
    "avtune data info ": {*REGISTRY, "toy.h5", "space.yaml", "results", "script.bash", "script.zsh"},
    "avtune status f": {"first"},
    "avtune across s": {"second"},
    "avtune across f": set(),
    "avtune evaluate first to": {"toy.h5"},
    "avtune retrain first --tr": {"--trial", "--train", "--trials-per-gpu", "--trial-timeout"},
    "avtune completion ": {"bash", "zsh"},
}
BASH = """
source script.bash || exit 1
complete -p avtune | grep -q -- '-F _shtab_avtune' || exit 2
while IFS= read -r line; do
  read -ra COMP_WORDS <<< "$line"
  [[ "$line" == *' ' ]] && COMP_WORDS+=('')
  COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
  COMPREPLY=()
  _shtab_avtune
  echo "${COMPREPLY[*]}"
done
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of a user: a dataset, a space, two studies and the scripts."""
    pytest.importorskip("shtab", reason="shtab, which writes completion scripts, is not installed")
    made = tmp_path_factory.mktemp("work")
    write_toy(made)
    for name, file in {"first": "study.yaml", "second": "bench.yaml", "other": "notes.txt"}.items():
        (made / "results" / name).mkdir(parents=True)
        (made / "results" / name / file).touch()
    return made


@pytest.fixture
def scripts(folder, capsys, monkeypatch):
    for shell in ("bash", "zsh"):
        (folder / f"script.{shell}").write_text(call(capsys, "completion", shell))
    monkeypatch.chdir(folder)
    return folder


def test_bash_completes(scripts):
    asked = CASES
    ended = subprocess.run(
        ["bash", "--norc", "-c", BASH], input="\n".join(asked) + "\n", capture_output=True, text=True, check=True
    )
    found = dict(zip(asked, map(str.split, ended.stdout.splitlines()), strict=True))
    assert {line: set(words) for line, words in found.items()} == asked
    assert "command not found" not in ended.stderr


def test_zsh_takes_the_script(scripts):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    command = 'autoload -Uz compinit && compinit -u -D; eval "$(<script.zsh)"'
    command += "; print $_comps[avtune] $functions[(I)_avtune_study*]"
    ended = subprocess.run(["zsh", "-f", "-c", command], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["_shtab_avtune", "_avtune_study_files"], ended.stderr
    assert ended.stderr == ""


def test_without_shtab_it_says_what_to_install(capsys, monkeypatch):
    real = builtins.__import__

    def missing(name, *more, **settings):
        if name == "shtab":
            raise ImportError(name)
        return real(name, *more, **settings)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert "pip install 'avtune[completion]'" in call(capsys, "completion", "bash", code=2)
