"""Every command, every space and every piece of Python in docs/tutorial.md runs in its order, on the files that the
tutorial itself makes; but for how long is trained, and in this process."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from command import call

from avtune.cli.main import parser

TEXT = (Path(__file__).parents[2] / "docs/tutorial.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SHORT = {"search": ("--set", "final.seeds=2"), "bench": ("--trials", "2", "--epochs", "2", "--seeds", "2")}


@pytest.mark.slow
def test_it_runs_from_beginning_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands, printed = [], {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "docs/tutorial.md", "exec"), {})
        elif kind == "yaml":
            space = yaml.safe_load(text) | {"early_stopping": {"epochs": 2, "grace": 1}}
            assert TEXT.count("`my.yaml`") == 1
            Path("my.yaml").write_text(yaml.safe_dump(space))
        elif not kind:
            for line in text.splitlines():
                words = shlex.split(line)
                assert words[0] == "avtune", line
                more = [*SHORT.get(words[1], ()), "--runner", "inline", "--gpus", "0"]
                printed[line] = call(capsys, *words[1:], *(more if words[1] in SHORT else []))
                commands.append(words[1])
    assert [*dict.fromkeys(commands)] == [
        *("data", "methods", "space", "search", "status", "evaluate", "retrieve"),
        *("bench", "verify", "compare", "report", "export"),
    ]
    assert next(iter(printed.values())).endswith("no problems found\n")
    assert "no difference" in printed["avtune verify table"]
    for path in ("results/first/report.html", "results/table/leaderboard.html", "results/compare.html", "trials.csv"):
        assert Path(path).is_file(), path


def test_what_it_names_in_passing_is_legal():
    for line in re.findall(r"`(avtune [^`.]*)`", TEXT):
        if line.split()[1] in ("bench", "verify") and len(line.split()) == 2:
            continue  # the verb by itself
        parser().parse_args(shlex.split(line)[1:])
