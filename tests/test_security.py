"""What SECURITY.md promises: nothing that is read runs code, leaves its folder or steers a page or a terminal, and what
is written is private."""

import ast
import dataclasses
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_across import SCORES, made_sources
from toy import toy_dataset, write_toy

import avtune
from avtune.cli import console
from avtune.cli.main import main
from avtune.core.errors import StorageError, UserError
from avtune.core.files import append_line, private_files
from avtune.data import read
from avtune.engine.model import load_model
from avtune.report.card import model_card
from avtune.report.page import page
from avtune.report.text import escaped
from avtune.study.folder import StudyFolder
from avtune.study.results import read_results
from avtune.study.study import Study
from avtune.workflows.bench.across import compared
from avtune.workflows.bench.across_page import across_page
from avtune.workflows.bench.across_text import markdown as across_markdown
from avtune.workflows.bench.board import Board
from avtune.workflows.bench.leaderboard import markdown
from avtune.workflows.bench.leaderboard_page import leaderboard_page
from avtune.workflows.open_study import open_space

SOURCES = sorted(Path(avtune.__file__).parent.rglob("*.py"))
HOSTILE = '<script>alert("x")</script>|[a](http://x)\n# b \x1b[31m`c`'
_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "ctypes", "code"}
_CALLS = {"eval", "exec", "compile", "__import__", "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
_CALLS |= {"os.system", "os.popen", "yaml.load_all", "pd.read_pickle", "zipfile.extractall"}


def name_of(node):
    """`a.b.c` of an attribute or a name."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source):
    """What in a source could run what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in _MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _MODULES:
            yield node.module
        elif isinstance(node, ast.Call):
            name, words = name_of(node.func), {word.arg: word.value for word in node.keywords}
            if name in _CALLS or name.endswith((".extractall", ".extract")):
                yield name
            pickles = words.get("allow_pickle")
            if name in ("np.load", "np.savez", "np.save", "np.savez_compressed") or pickles is not None:
                yield from (
                    [] if isinstance(pickles, ast.Constant) and pickles.value is False else [f"{name}: allow_pickle"]
                )
            if "shell" in words:
                yield f"{name}: shell"
        elif isinstance(node, ast.ClassDef):
            loaders = {"yaml.Loader", "yaml.UnsafeLoader", "yaml.FullLoader", "yaml.CLoader"}
            yield from (name_of(base) for base in node.bases if name_of(base) in loaders)


def test_no_source_can_run_what_it_reads():
    assert len(SOURCES) > 80
    assert {path.name: found for path in SOURCES if (found := list(dangers(path.read_text())))} == {}


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "eval(x)", "torch.load(f)", "yaml.load(f)", "np.load(f)",
     "f(shell=True)", "np.load(f, allow_pickle=True)", "z.extractall()", "np.load(f, allow_pickle=x)",
     "class A(yaml.Loader): pass"],
)  # fmt: skip
def test_that_test_sees(source):
    assert list(dangers(source))


@pytest.mark.parametrize(
    "name", ["../up", "..", ".", "/tmp/up", "a/b", "-x", "x" * 101, "a\nb", "é", ".hidden", "a\0b"]
)
def test_no_name_leaves_the_folder_of_results(name, tmp_path, capsys):
    data, space = write_toy(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    words = [
        "search",
        str(data),
        "--space",
        str(space),
        f"--name={name}",
        "--results",
        str(tmp_path / "results" / "in"),
    ]
    assert main([*words, "--runner", "inline", "--gpus", "0"]) == 2
    assert "--name is" in capsys.readouterr().err
    assert (
        main(["bench", str(data), "--methods", "../up", f"--name={name}", "--results", str(tmp_path / "results")]) == 2
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_no_member_of_an_archive_leaves_it(tmp_path):
    path = tmp_path / "in" / "in" / "data.npz"
    path.parent.mkdir(parents=True)
    data = toy_dataset()
    arrays = {
        f"{view}_{name}": getattr(split, view)
        for name, split in (("train", data.train), ("test", data.test))
        for view in ("audio", "visual")
    }
    np.savez(path, lab_train=data.train.labels, lab_test=data.test.labels, **arrays)
    with zipfile.ZipFile(path, "a") as file:
        for name in ("../../up.npy", "/etc/avtune_up.npy", "..\\up.npy"):
            file.writestr(name, b"up")
    before = sorted(tmp_path.rglob("*"))
    assert read(path).digest == data.digest
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/etc/avtune_up.npy").exists()


def modes(folder):
    return {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A search and a bench by a user whose files are for all to read."""
    folder = tmp_path_factory.mktemp("private")
    data, space = write_toy(folder, train=30, test=12)
    mask = os.umask(0o022)
    try:
        where = ["--results", str(folder / "results"), "--runner", "inline", "--gpus", "0"]
        small = [
            "--trials",
            "2",
            "--set",
            "final.finalists=1",
            "--set",
            "final.seeds=1",
            "--set",
            "final.reference=none",
        ]
        assert main(["search", str(data), "--space", str(space), "--name", "one", *where, *small]) == 0
        assert main(["retrain", "one", "--epochs", "1", "--seeds", "1", *where]) == 0
        few = ["--methods", "cca", "--trials", "1", "--seeds", "1", "--no-reference"]
        assert main(["bench", str(data), "--name", "bench", *few, *where]) == 0
        assert (
            main(["embed", "one", str(data), "--out", str(folder / "e.npz"), "--results", str(folder / "results")]) == 0
        )
    finally:
        os.umask(mask)
    return folder / "results"


@pytest.mark.parametrize("name", ["one", "bench"])
def test_a_study_is_private(name, results):
    found = modes(results / name)
    assert len(found) > 12
    assert {path: oct(mode) for path, mode in found.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


def test_what_is_made_to_be_given_away_is_as_the_user_has_it(results):
    assert stat.S_IMODE((results.parent / "e.npz").stat().st_mode) == 0o644


def test_the_umask_is_as_before_after_private_files():
    before = os.umask(0o022)
    try:
        with pytest.raises(KeyError), private_files():
            raise KeyError
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_nothing_is_written_through_a_link(tmp_path):
    """A study folder that came from elsewhere cannot point our appends at the user's own files."""
    target = tmp_path / "precious"
    target.write_text("precious")
    folder = StudyFolder(tmp_path / "one")
    folder.root.mkdir()
    for path in (folder.curves, folder.log, folder.lock):
        path.symlink_to(target)
    with pytest.raises(StorageError):
        append_line(folder.curves, {"a": 1})
    with pytest.raises(StorageError):
        folder.note("x")
    with pytest.raises(StorageError), folder.locked():
        pass
    assert target.read_text() == "precious"


def test_a_pipe_in_a_study_is_no_file_to_wait_for(tmp_path, results):
    folder = StudyFolder(tmp_path)
    os.mkfifo(folder.curves)
    os.mkfifo(folder.journal)
    with pytest.raises(StorageError):
        append_line(folder.curves, {"a": 1})
    with pytest.raises(UserError, match="no regular file"):
        Study(folder, open_space(StudyFolder(results / "one")))


def test_pages_show_what_they_are_given_and_run_nothing(tmp_path, results):
    shutil.copytree(results / "one", tmp_path / "<b>&")
    folder = StudyFolder(tmp_path / "<b>&")
    study = Study(folder, open_space(folder))
    study.records[0].values.cut(0)
    study.records[0].state, study.records[0].reason = "FAIL", HOSTILE
    made = page(study, None, None)
    about = {
        "dataset": {
            "name": HOSTILE,
            "digest": HOSTILE,
            "train": 1,
            "test": 1,
            "classes": 2,
            "audio_dim": 1,
            "visual_dim": 1,
        }
    }
    about |= {"begun": HOSTILE, "command": HOSTILE, "precision": HOSTILE, "deterministic": False}
    about |= {"trials": 4, "epochs": 4, "seeds": 2, "grace": 1, "factor": 2, "finalists": 1, "fraction": 0.2}
    none = np.ones((0, 0))
    board = Board(about, (), (), none, none, 10_000, (), {HOSTILE: HOSTILE}, (HOSTILE,))
    data = {"name": HOSTILE, "digest": HOSTILE, "train": 1, "test": 1, "classes": 2}
    says = {0: {"dataset": data, "command": HOSTILE}, 1: {"command": HOSTILE, "precision": HOSTILE}}
    over = compared(made_sources({**SCORES, HOSTILE: (0.1, 0.1, 0.1)}, about=says, problems=(HOSTILE,)))
    # Pages without charts have their data alone.
    for html, scripts in ((made, 3), (leaderboard_page(board), 1), (across_page(over, tmp_path), 1)):
        assert "&lt;script&gt;" in html
        assert html.count("<script") == scripts
        assert html.count("</script") == scripts
        assert "<b>" not in html.replace("<body>", "")
    for line in (*markdown(board).splitlines(), *across_markdown(over).splitlines()):
        assert "<script" not in line
        assert "\x1b" not in line
        assert "[a](" not in line


def test_a_model_card_shows_hostile_names_as_they_are(results):
    folder = StudyFolder(results / "one")
    data = dataclasses.replace(toy_dataset(train=30, test=12), name=HOSTILE)
    card = model_card(data, open_space(folder), load_model(folder.root).config, read_results(folder))
    assert card.splitlines()[0] == f"# triplet on {escaped(HOSTILE)}"
    assert "<script" not in card
    assert "\x1b" not in card


def test_a_terminal_is_not_steered(capsys):
    console.say("a\x1b[31mb\tc", "d\ud800\u202e")
    console.error("x\x07\r")
    printed = capsys.readouterr()
    assert printed.out == "a\\x1b[31mb\tc\nd\\ud800\\u202e\n"
    assert printed.err == "avtune: x\\x07\\r\n"


# Names of packages that some process of ours imports, and of the standard library's that come after the current folder
# wherever that is first.
PLANTED = [
    "numpy",
    "torch",
    "pandas",
    "optuna",
    "ray",
    "yaml",
    "cloudpickle",
    "pyarrow",
    "h5py",
    "tensorboard",
    "scipy",
]
PLANTED += ["rich", "sklearn", "safetensors", "google", "psutil", "sitecustomize", "usercustomize", "multiprocessing"]
HOSTILE_MODULE = """
import sys
with open({marks!r}, "a") as file:
    file.write(f"{{__name__}} in {{sys.orig_argv}}\\n")
raise SystemExit("hostile")
"""
# What pip makes of the entry point `avtune`.
COMMAND = "import sys\nfrom avtune.cli.main import main\nsys.exit(main())\n"


@pytest.fixture(scope="module")
def trap(tmp_path_factory):
    """A folder with a dataset in it, and modules that leave a mark when they are imported. Called with the words of a
    command it returns (exit code, what it printed, the marks)."""
    folder = tmp_path_factory.mktemp("trap")
    marks, script = folder / "marks", tmp_path_factory.mktemp("bin") / "avtune"
    script.write_text(COMMAND)
    write_toy(folder)
    (folder / "own.py").write_text("import sys\nprint(sys.path)\n")
    np.savez(folder / "z.npz", audio=np.eye(4), visual=np.eye(4), labels=np.arange(4) % 2)
    for name in PLANTED:
        (folder / f"{name}.py").write_text(HOSTILE_MODULE.format(marks=str(marks)))
    (folder / "avtune").mkdir()
    (folder / "avtune" / "__init__.py").write_text(HOSTILE_MODULE.format(marks=str(marks)))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}

    def start(*words, command=script):
        start = [sys.executable, *(["-m", "avtune"] if command is None else [str(command)]), *words]
        return subprocess.Popen(
            start, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(*words, **more):
        process = start(*words, **more)
        printed = process.communicate(timeout=180)[0]
        return process.returncode, printed, marks.read_text() if marks.exists() else ""

    run.start, run.folder, run.marks = start, folder, marks
    return run


SMALL = [
    "--trials",
    "1",
    "--set",
    "final.finalists=1",
    "--set",
    "final.seeds=1",
    "--set",
    "final.reference=none",
    "--gpus",
    "0",
]


def trap_search(runner, *more):
    return ["search", "toy.h5", "--space", "space.yaml", "--name", runner, "--runner", runner, *SMALL, *more]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [trap_search("inline"), ["evaluate", "--embeddings", "z.npz", "--at", "1"], ["data", "info", "toy.h5"]],
    ids=lambda words: words[0],
)
def test_no_module_of_the_current_folder_is_imported(words, trap):
    code, printed, marks = trap(*words)
    assert (code, marks) == (0, ""), printed


@pytest.mark.ray
@pytest.mark.parametrize(
    "words",
    [trap_search("lanes"), pytest.param(trap_search("processes"), marks=pytest.mark.long), ["doctor"]],
    ids=" ".join,
)
def test_nor_by_a_process_that_ray_starts(words, trap):
    code, printed, marks = trap(*words)
    assert (code, marks) == (0, ""), printed


@pytest.mark.slow
def test_nor_by_tensorboard(trap):
    (trap.folder / "results").mkdir(exist_ok=True)
    process = trap.start("tensorboard", "--port", "0")
    try:
        for line in process.stdout:
            if "at http://127.0.0.1" in line:
                break
        assert not trap.marks.exists()
        assert "at http://127.0.0.1" in line
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.slow
def test_nor_by_python_m_avtune(trap):
    """Where the folder holds an avtune of its own, Python has run that before anything of ours."""
    (trap.folder / "avtune").rename(trap.folder / "aside")
    try:
        code, printed, marks = trap("evaluate", "--embeddings", "z.npz", "--at", "1", command=None)
        assert (code, marks) == (0, ""), printed
    finally:
        (trap.folder / "aside").rename(trap.folder / "avtune")


@pytest.mark.slow
def test_python_m_avtune_is_the_installed_one(tmp_path):
    """A copy in the current folder, which Python runs, is not what the processes of a search would find."""
    shutil.copytree(Path(avtune.__file__).parent, tmp_path / "avtune", ignore=shutil.ignore_patterns("__pycache__"))
    ended = subprocess.run([sys.executable, "-m", "avtune", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "holds an avtune that is not the installed one" in ended.stderr
    assert len(ended.stderr.splitlines()) == 2
