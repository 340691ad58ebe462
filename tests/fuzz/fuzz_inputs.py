"""The kinds of input, and how a seed makes one: files in a folder of its own, and the commands that meet them. Long:
every kind is here once, but the files of views (`fuzz_views.py`) and of labs (`fuzz_layouts.py`)."""

import json
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from fuzz_base import BENCH, TINY
from fuzz_datasets import good_arrays, spoiled_arrays, write_hdf5, write_npz, write_shards
from fuzz_layouts import layout_files
from fuzz_mutate import HOSTILE, damaged, damaged_json_lines, damaged_lines, damaged_tree
from fuzz_views import views_file

from avtune.methods import METHODS, hypers_of

_SPACES = Path(__file__).parents[2] / "search_spaces"


@dataclass
class Input:
    """One mutated input.

    Attributes:
        what: what was done, for a report.
        commands: command lines, each judged.
        refused: command lines that must be refused if the first command is, and leave nothing behind.
        study: a folder that a refused command must leave as it was.
        nothing_at: a folder that a refused command must not make.
        digest: of the dataset, when a success must give this very one.
    """

    what: str
    commands: list = field(default_factory=list)
    refused: list = field(default_factory=list)
    study: Path | None = None
    nothing_at: Path | None = None
    digest: str | None = None


def make_input(seed, base, folder):
    """The input of a seed: (its kind, the input), its files in `folder`, which exists and is empty."""
    kind = ORDER[seed % len(ORDER)]
    return kind, KINDS[kind](random.Random(f"avtune {seed}"), base, folder)


def _dataset_commands(path, base, folder, draw, what, words=()):
    results = folder / "results"
    search = ["search", path, *words, "--space", base.tiny, "--name", "one", "--results", results, "--runner", "inline"]
    made = Input(what, nothing_at=results)
    if draw.random() < 0.75:
        made.commands = [["data", "info", path, *words, "--json"]]
        made.refused = [[*search, "--gpus", "0"]] if draw.random() < 0.2 else []
    elif draw.random() < 0.7:
        made.commands = [[*search, "--gpus", "0"]]
    else:
        made.commands = [
            ["data", "convert", path, folder / "out.h5", *words],
            ["data", "info", folder / "out.h5", "--json"],
        ]
        made.nothing_at = folder / "out.h5"
    return made


def _arrays(name, write):
    """Inputs of a format that holds arrays, in the file `name`: wrong arrays, wrong bytes, or both."""

    def made(draw, base, folder):
        path = folder / name
        arrays, done = good_arrays(draw), []
        if draw.random() < 0.55:
            arrays = spoiled_arrays(arrays, draw)
            done.append("arrays")
        write(path, arrays, draw)
        if not done or draw.random() < 0.3:
            path.write_bytes(damaged(path.read_bytes(), draw))
            done.append("bytes")
        return _dataset_commands(path, base, folder, draw, " and ".join(done))

    return made


def _tfrecord(draw, base, folder):
    path = folder / "shards"
    spoil = draw.random() < 0.5
    write_shards(path, draw, spoil=spoil)
    made = _dataset_commands(path, base, folder, draw, "records" if spoil else "bytes")
    if not spoil:
        from avtune.data import read

        made.digest = read(path).digest if made.commands[0][0] == "data" else None
        shard = path / draw.choice(("train0.tfrecord", "train1.tfrecord"))
        shard.write_bytes(damaged(shard.read_bytes(), draw))
        if draw.random() < 0.1:
            (path / "train2.tfrecord").write_bytes(shard.read_bytes())
    return made


def _layout(draw, base, folder):
    path, words, what = layout_files(draw, folder)
    return _dataset_commands(path, base, folder, draw, what, words)


_BEGINNINGS = (
    b"", bytes(40), b"MATLAB 5.0 MAT-file", b"\x93NUMPY\x01\x00", b"\x80\x04\x95", b"PK\x03\x04",
    b"PK\x05\x06" + bytes(18), b"PAR1", b"\x1f\x8b", b"<html>", b"version https://git-lfs", b"\x89HDF\r\n\x1a\n",
    b"RIFF", b"a,b\n1,2\n", b'{"a": ', b"\xff\xd8\xff", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
)  # fmt: skip


def _another_kind(draw, base, folder):
    """A file that begins like one of another kind and goes on somehow, under any name."""
    path = folder / draw.choice(("a.h5", "it's.npz", "a.pkl", "a.tfrecord", "\x1b[31m.csv", "Gef\u00fchle", "a b.mat"))
    more = draw.choice((b"", draw.randbytes(draw.randint(1, 3000)), b"text\n" * draw.randint(1, 900)))
    path.write_bytes(draw.choice(_BEGINNINGS) + more)
    if draw.random() < 0.3:
        return Input("a beginning", [["evaluate", "--embeddings", path, "--json"]])
    return _dataset_commands(path, base, folder, draw, "a beginning")


def _space_file(draw, base, folder):
    text = draw.choice(
        [*(path.read_text() for path in sorted(_SPACES.rglob("*.yaml"), key=lambda path: path.name)), TINY]
    )
    kind = draw.randrange(4)
    if kind == 0:
        data = damaged(text.encode(), draw)
    elif kind == 1:
        data = damaged_lines(text, draw).encode()
    else:
        tree = damaged_tree(yaml.safe_load(text), draw)
        data = (json.dumps(tree) if kind == 2 else yaml.safe_dump(tree, sort_keys=False)).encode(errors="surrogatepass")
    path = folder / "space.yaml"
    path.write_bytes(data)
    results = folder / "results"
    search = ["search", base.data, "--space", path, "--name", "one", "--results", results, "--runner", "inline"]
    commands = [["space", "check", path], ["space", "show", path]]
    return Input(
        ["bytes", "lines", "JSON tree", "tree"][kind], commands, [[*search, "--gpus", "0"]], nothing_at=results
    )


def _assignment(draw, base, folder):
    words = []
    for _ in range(draw.choice((1, 1, 2))):
        method = draw.choice(sorted(METHODS))
        key = draw.choice(
            (
                *(f"space.{name}" for name in hypers_of(method)),
                *("search.trials", "search.seed", "search.sampler", "early_stopping.epochs", "validation.folds"),
                *("final.seeds", "method", "space", "search", "x", "", "space.", "a.b.c.d", "search.trials.x"),
            )
        )
        value = str(
            draw.choice((*HOSTILE, "{type: float, low: 0.1, high: 1}", "[1, 2]", "{", "*a", "&a 1", "! x", "1e-3"))
        )
        word = draw.choice((f"{key}={value}", f"{key}={value}", key, value, f"{key} = {value}"))
        words += [
            "--set",
            damaged(word.encode(errors="ignore"), draw).decode(errors="ignore") if draw.random() < 0.3 else word,
        ]
    words = [word.replace("\0", "") for word in words]
    results = folder / "results"
    search = [
        "search",
        base.data,
        "--space",
        "psd",
        *words,
        "--name",
        "one",
        "--results",
        results,
        "--runner",
        "inline",
    ]
    return Input(" ".join(words)[:300], [["space", "check", "psd", *words]], [search], nothing_at=results)


def _arguments(draw, base, folder):
    results = base.root / "results"
    good = draw.choice(
        (
            ["status", "whole", "--results", results],
            ["evaluate", "whole", base.data, "--at", "1,5", "--split", "test", "--results", results],
            ["evaluate", "--embeddings", base.embeddings, "--at", "5"],
            ["embed", "whole", base.data, "--out", folder / "out.npz", "--results", results],
            ["data", "info", base.data],
            ["data", "convert", base.data, folder / "out.h5"],
            ["space", "check", "psd"],
            ["methods", "psd"],
            [
                "search",
                base.data,
                "--space",
                base.tiny,
                "--name",
                "one",
                "--results",
                folder / "r",
                "--runner",
                "inline",
            ],
            [
                "bench",
                base.data,
                "--methods",
                "cca",
                "--trials",
                "1",
                "--name",
                "b",
                "--results",
                folder / "r",
                *BENCH[-4:],
            ],
        )
    )
    words = [str(word) for word in good]
    odd = (
        "",
        "-",
        "--",
        "-1",
        "0",
        "x",
        "--help-me",
        "..",
        "../up",
        "/",
        "a/b",
        "nan",
        "1e9",
        "\x1b[31m",
        "é" * 200,
        "~",
        "~x",
    )
    # Of a search no more than one: without its space or its runner it would take minutes.
    for _ in range(1 if words[0] in ("search", "bench") else draw.choice((1, 2))):
        at = draw.randrange(len(words))
        change = draw.randrange(4)
        if change == 0:
            del words[at]
        elif change == 1:
            words[at] = draw.choice(odd)
        elif change == 2:
            words[at] = (
                damaged(words[at].encode(errors="ignore"), draw)
                .decode(errors="surrogateescape")
                .replace("\0", "")[:300]
            )
        else:
            words.insert(
                at, draw.choice((*odd, "--json", "--overwrite", "--gpus", "--trial-timeout", "--lanes", "--runner"))
            )
        if not words:
            words = [""]
    return Input(repr(words)[:300], [words], nothing_at=folder / "r")


def _embeddings(draw, base, folder):
    path = folder / "e.npz"
    with np.load(base.embeddings) as kept:
        arrays = {key: kept[key] for key in kept}
    done = "bytes"
    if draw.random() < 0.6:
        done, arrays = "arrays", spoiled_arrays(arrays, draw)
    write_npz(path, arrays, draw)
    if done == "bytes":
        path.write_bytes(damaged(path.read_bytes(), draw))
    return Input(done, [["evaluate", "--embeddings", path, "--json"]])


def _views(draw, base, folder):
    path, words, what = views_file(draw, folder)
    out = folder / f"out{draw.choice(('.npz', '.parquet', '.csv'))}"
    where = ["--results", base.root / "results", *words]
    commands = [["embed", "whole", path, "--out", out, *where], ["retrieve", "whole", path, "--query", "0", *where]]
    return Input(what, [commands[0] if "--view" in words else draw.choice(commands)], nothing_at=out)


def _model(draw, base, folder):
    model = folder / "model"
    shutil.copytree(base.study("whole") / "final", model)
    if draw.random() < 0.5:
        what = _damage_file(model / "config.yaml", draw)
    else:
        what = _damage_weights(model / "model.safetensors", draw)
    out = folder / "out.npz"
    commands = [["evaluate", model, base.data, "--json"], ["embed", model, base.data, "--out", out]]
    return Input(what, [draw.choice(commands)], nothing_at=out)


def _damage_weights(path, draw):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if draw.random() < 0.4:
        path.write_bytes(damaged(data, draw))
        return "weights: bytes"
    if draw.random() < 0.4:  # the numbers behind the header
        body = np.frombuffer(data[8 + size :], np.float32).copy()
        body[draw.randrange(len(body)) :: draw.choice((1, 7, 1000))] = draw.choice(
            (np.nan, np.inf, 3e38, -1e30, 0.0, 1e-40)
        )
        path.write_bytes(data[: 8 + size] + body.tobytes())
        return "weights: values"
    header = json.loads(data[8 : 8 + size])
    tensor = draw.choice([name for name in header if name != "__metadata__"])
    kind = draw.randrange(4)
    if kind == 0:
        header[tensor]["dtype"] = draw.choice(("F64", "I32", "BF16", "C64", "F8_E4M3", "U32", "BOOL", "F4", "X"))
    elif kind == 1:
        header[tensor]["shape"] = draw.choice(
            ([], [1], [10**9, 10**9], [-1], [0, 10**18], header[tensor]["shape"][::-1])
        )
    elif kind == 2:
        header[draw.choice(("x", "params.x", "../up"))] = header.pop(tensor)
    else:
        header = damaged_tree(header, draw)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    return "weights: header"


def _damage_file(path, draw):
    """Damages a file of a study in the way of its kind; returns what was done."""
    kind = draw.randrange(8)
    if kind == 0:
        path.unlink()
        return f"{path.name}: gone"
    if kind == 1 and draw.random() < 0.5:
        path.unlink()
        path.mkdir()
        return f"{path.name}: a folder"
    if path.suffix in (".jsonl", ".log"):
        path.write_bytes(damaged_json_lines(path.read_text(), draw))
        return f"{path.name}: lines"
    if path.suffix in (".yaml", ".json") and kind > 3:
        tree = damaged_tree(yaml.safe_load(path.read_text()), draw)
        text = (
            json.dumps(tree) if path.suffix == ".json" or draw.random() < 0.5 else yaml.safe_dump(tree, sort_keys=False)
        )
        path.write_bytes(text.encode(errors="surrogatepass"))
        return f"{path.name}: tree"
    if path.suffix in (".yaml", ".json") and kind == 3:
        path.write_text(damaged_lines(path.read_text(), draw))
        return f"{path.name}: lines"
    path.write_bytes(damaged(path.read_bytes(), draw))
    return f"{path.name}: bytes"


def _study(draw, base, folder):
    name = draw.choice(("whole", "whole", "middle"))
    study = folder / "results" / name
    shutil.copytree(base.study(name), study)
    files = ["study.yaml", "journal.log", "curves.jsonl"]
    if name == "whole":
        files += ["best.yaml", "final/metrics.json", "repeats.jsonl", "scored.jsonl", "environment.json", "trials.csv"]
    what = _damage_file(study / draw.choice(files), draw)
    where = ["--results", folder / "results", "--runner", "inline", "--gpus", "0"]
    search = ["search", base.data, "--space", base.space, "--name", name, *where]
    retrain = ["retrain", name, "--epochs", "1", "--seeds", "1", "--dataset", base.data, *where]
    commands = (
        ["status", name, *where[:2]],
        ["status", name, "--json", *where[:2]],
        [*search, *(["--deterministic"] if name == "middle" else [])],
        [*search, "--trials", "5", *(["--deterministic"] if name == "middle" else [])],
        [*retrain, *draw.choice(([], ["--trial", "1"]))],
        ["evaluate", name, base.data, *where[:2]],
    )
    return Input(f"{name}: {what}", [draw.choice(commands)], study=study)


def _bench(draw, base, folder):
    bench = folder / "results" / "bench"
    shutil.copytree(base.study("bench"), bench)
    method = bench / draw.choice(("cca", "c_cca"))
    files = [bench / "bench.yaml", bench / "leaderboard.md", method / "study.yaml", method / "best.yaml"]
    files += [method / "environment.json", method / "final/metrics.json", method / "final/query_ap.npz"]
    files += [method / "curves.jsonl", method / "journal.log"]
    what = _damage_file(draw.choice(files), draw)
    command = ["bench", base.data, "--name", "bench", *BENCH, "--results", folder / "results"]
    return Input(what, [command], study=bench)


KINDS = {
    "HDF5": _arrays("data.h5", write_hdf5),
    "npz": _arrays("data.npz", write_npz),
    "tfrecord": _tfrecord,
    "layout": _layout,
    "another kind": _another_kind,
    "space file": _space_file,
    "--set": _assignment,
    "arguments": _arguments,
    "embeddings": _embeddings,
    "views": _views,
    "model folder": _model,
    "study folder": _study,
    "bench folder": _bench,
}
ORDER = [
    *("HDF5", "study folder", "npz", "space file", "HDF5", "study folder", "model folder", "tfrecord", "--set"),
    "another kind",
    *(
        "HDF5",
        "study folder",
        "npz",
        "space file",
        "arguments",
        "study folder",
        "model folder",
        "embeddings",
        "views",
        "layout",
        "bench folder",
        "layout",
    ),
]
