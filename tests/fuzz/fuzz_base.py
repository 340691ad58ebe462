"""What the inputs are made from: a dataset, a space, a finished study, one in the middle, a bench."""

import contextlib
import io
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from toy import SPACE, write_toy

from avtune.cli.main import main
from avtune.core.files import append_line
from avtune.study.results import digest_of

_SMALL = (
    SPACE.replace("trials: 5", "trials: 4").replace("epochs: 6", "epochs: 4").replace("finalists: 2", "finalists: 1")
)
TINY = SPACE.replace("trials: 5", "trials: 1").replace("epochs: 6", "epochs: 1").replace("seeds: 2", "seeds: 1")
BENCH = [
    "--no-reference",
    "--methods",
    "cca,c_cca",
    "--trials",
    "2",
    "--epochs",
    "2",
    "--seeds",
    "2",
    "--runner",
    "inline",
    "--gpus",
    "0",
]


@dataclass(frozen=True)
class Base:
    """Paths below one folder, which nobody changes."""

    root: Path

    @property
    def data(self):
        return self.root / "toy.h5"

    @property
    def space(self):
        return self.root / "space.yaml"

    @property
    def tiny(self):
        return self.root / "tiny.yaml"

    @property
    def embeddings(self):
        return self.root / "embeddings.npz"

    def study(self, name):
        return self.root / "results" / name


def make_base(root):
    """Makes it, the same bytes every time on one machine."""
    root.mkdir(parents=True)
    base = Base(root)
    write_toy(root, train=30, test=12)
    base.space.write_text(_SMALL)
    base.tiny.write_text(TINY)
    where = ["--results", root / "results"]
    search = ["search", base.data, "--space", base.space, "--runner", "inline", "--gpus", "0", *where]
    _call(*search, "--name", "whole")
    _call(*search, "--name", "middle", "--deterministic")
    _call("bench", base.data, "--name", "bench", *BENCH, *where)
    _call("embed", "whole", base.data, "--out", base.embeddings, *where)
    for path in sorted(root.rglob("*")):
        if path.suffix in (".jsonl", ".log", ".json", ".yaml") and path.parent != root:
            _without_times(path, root)
    for study in (
        base.study("whole"),
        base.study("middle"),
        *(base.study("bench") / name for name in ("cca", "c_cca")),
    ):
        shutil.rmtree(study / "tensorboard")
        (study / "lock").unlink()
    middle = base.study("middle")
    shutil.rmtree(middle / "final")
    for name in ("best.yaml", "repeats.jsonl", "scored.jsonl", "report.html"):
        (middle / name).unlink()
    lines = (middle / "curves.jsonl").read_text().splitlines(keepends=True)
    (middle / "curves.jsonl").write_text("".join(lines[: 2 * len(lines) // 3]))
    return base


def _call(*words):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main([str(word) for word in words])
    assert code == 0, said.getvalue()


def _without_times(path, root):
    """Times, and paths of this run, would move what a seed changes."""
    text = path.read_text()
    text = re.sub(r'("(?:clips_per_)?seconds?": ?|"retraining_seconds": )[0-9.e-]+', r"\g<1>0.25", text)
    text = re.sub(r'("datetime_\w+": ?)"[^"]*"', r'\g<1>"2026-01-01T00:00:00.000000"', text)
    text = re.sub(r'("worker_id": ?)"[^"]*"', r'\g<1>"worker"', text)
    path.write_text(text.replace(str(root), "/base"))
    if path.suffix == ".json":
        facts = json.loads(path.read_text())
        if "sha256" in facts:
            path.write_text(json.dumps(facts | {"sha256": digest_of(facts)}, indent=2) + "\n")
    elif path.suffix == ".jsonl":  # with the checksums of the lines as they are now
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.unlink()
        for line in lines:
            append_line(path, {name: value for name, value in line.items() if name != "crc"})
