"""Runs the commands of an input in this process and says what came of it."""

import contextlib
import io
import json
import os
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from fuzz_inputs import make_input

from avtune.cli.main import main

LARGEST = 512 << 20
"""Bytes that an input, of a few kB, may take."""
_MOST_LINES, _MOST_LETTERS = 6, 2000
# Files of a study that are written anew whenever it is opened, and what is added at the end of the others.
_REWRITTEN = ("lock", "log.txt", "trials.csv", "report.html")
_APPENDED = (".jsonl", ".log")


@dataclass(frozen=True)
class Verdict:
    """What came of an input: `outcome` is right, refused (exit code 2), failed (a search without a winner, 1), or
    PROBLEM, with the reason in `why`."""

    seed: int
    kind: str
    what: str
    outcome: str
    why: str = ""


def judge(seed, base, folder):
    """The verdict on the input of a seed; its files are in `folder`."""
    kind, made = make_input(seed, base, folder)
    (folder / "kind").write_text(f"{kind}: {made.what}", errors="backslashreplace")
    before = _tree(made.study) if made.study else {}
    os.chdir(folder)
    outcomes, problem = [], None
    with contextlib.suppress(FileNotFoundError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    start = _peak()
    for words in made.commands:
        code, out, err = call(words)
        problem = problem or _wrong(words, code, out, err, made)
        outcomes.append({0: "right", 1: "failed"}.get(code, "refused"))
        if problem or code:
            break
    if not problem and outcomes[0] == "refused":
        for words in made.refused:
            code, out, err = call(words)
            problem = problem or _wrong(words, code, out, err, made)
            if code != 2:
                problem = problem or f"{words[:2]} gave {code} where the check had refused"
    if not problem and "refused" in outcomes:
        problem = _left_behind(made, folder, before)
    if not problem and _peak() - start > LARGEST:
        problem = f"it took {(_peak() - start) >> 20} MiB"
    return Verdict(seed, kind, made.what, "PROBLEM" if problem else outcomes[0], problem or "")


def call(words):
    """A command's exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        for category in (RuntimeWarning, UserWarning):
            warnings.simplefilter("always", category)
        try:
            code = main([str(word) for word in words])
        except SystemExit as left:  # --help and --version
            code = left.code or 0
        except BaseException as error:
            code = f"{type(error).__name__}: {error}"
    return code, out.getvalue(), err.getvalue()


def _wrong(words, code, out, err, made):
    """What is wrong with how a command ended, None if nothing."""
    said = " ".join(map(str, words[:3]))
    if code not in (0, 1, 2):
        return f"{said}: {code}"
    if "Traceback" in err or "Traceback" in out:
        return f"{said}: {err[-600:]}"
    if re.search(r"[Uu]nable to allocate|allocation failed|[Cc]annot allocate|MemoryError", err):
        return f"{said}: an allocation failed: {err[:600]}"
    lines = err.splitlines()
    if code == 0:
        if err:
            return f"{said}: succeeded and said {err[:600]!r}"
        return _not_right(words, out, made)
    if not lines or not lines[0].startswith("avtune: ") or len(lines) > _MOST_LINES or len(err) > _MOST_LETTERS:
        return f"{said}: {code} and said {err[:600]!r}"
    if not all(line.replace("\t", "").isprintable() for line in lines):
        return f"{said}: what it said steers the terminal: {err[:600]!r}"
    if re.match(r"avtune: \w*(Error|Exception|Exit)\b", lines[0]):
        return f"{said}: {err[:600]!r}"
    if code == 1 and not re.match(r"avtune: (every trial|every finalist|retraining) failed", lines[0]):
        return f"{said}: 1 and said {err[:600]!r}"
    return None


def _not_right(words, out, made):
    """What is wrong with a result."""
    if "--json" not in words:
        return None if out or words[0] == "space" else f"{words[:2]}: nothing was printed"
    try:
        facts = json.loads(out, parse_constant=_refused)
    except ValueError as error:
        return f"{words[:2]}: {error}"
    if words[0] == "data":
        if made.digest not in (None, facts["digest"]):
            return "another dataset was read, and checksums went unheeded"
        if min(facts["num_train"], facts["num_test"], facts["audio_dim"], facts["visual_dim"]) < 1:
            return "an empty dataset was read"
    if words[0] == "evaluate" and not 0 <= facts["map"] <= 1:
        return f"map is {facts['map']}"
    return None


def _refused(constant):
    raise ValueError(f"{constant} in JSON")


def _left_behind(made, folder, before):
    """What a refused command left, or took."""
    if made.nothing_at is not None and made.nothing_at.exists():
        names = sorted(str(path.relative_to(folder)) for path in [made.nothing_at, *made.nothing_at.rglob("*")])
        if any("/" in name for name in names) or made.nothing_at.is_file():
            return f"it left {names[:6]}"
    if made.study is None:
        return None
    after = _tree(made.study)
    # What may change has been recorded, and the study has gone on until the damage was met.
    gone_on = b"\nchanges:\n" in after.get(made.study / "study.yaml", b"")
    for path, data in before.items():
        if path.name in _REWRITTEN or (gone_on and path.name in ("study.yaml", "metrics.json")):
            continue
        now = after.get(path)
        if now is None:
            return f"it took {path.name} away"
        whole = data[: data.rfind(b"\n") + 1] if path.suffix in _APPENDED else data
        if not (now.startswith(whole) if path.suffix in _APPENDED else now == data):
            return f"it changed {path.name}"
    torn = [path.name for path in after if re.match(r"\..*-\w{8}$", path.name) and path not in before]
    return f"it left {torn}" if torn else None


def _tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _peak():
    try:
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
    except FileNotFoundError:
        return 0


def quiet():
    """What C libraries write themselves goes nowhere; what Python writes is caught by `call`."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    sys.stdin = None
