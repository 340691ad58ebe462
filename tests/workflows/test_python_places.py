"""The first lines of docs/python.md where people run them: in a script, in Jupyter, from a wheel, beside a Ray."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from toy import write_toy

import avtune

ROOT = Path(__file__).parents[2]
SMALL = (
    'epochs=2, set={"space.batch_size": 16, "space.hidden_dim": 16, "final.finalists": 1, "final.seeds": 1, '
    '"final.reference": "none"}'
)
CHECKS = """
assert len(study.trials) == 3 and study.state == "finished"
assert set(study.curves["trial"]) == {0, 1, 2}
assert study.best.trial in list(study.finalists["trial"])
assert abs(scores.map - study.results.test.map.mean) < 1e-6
assert avtune.load_study("results/first").path.samefile(study.path)
print("all is well")
"""


def snippet():
    """The first block of Python in the manual, on a file of the toy dataset, with a training of seconds."""
    text = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)[1]
    assert "trials=64," in text
    return text.replace("trials=64,", f"trials=3, {SMALL},")


def environment(**more):
    """Without anything that names the repository, or a Ray of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
    return kept | {"PYTHONPATH": str(Path(avtune.__file__).parents[1]), "RAY_USAGE_STATS_ENABLED": "0"} | more


def run(*command, cwd, **more):
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=280
    )


@pytest.fixture
def folder(tmp_path):
    """With the toy dataset as `features.h5`."""
    data, _ = write_toy(tmp_path)
    data.rename(tmp_path / "features.h5")
    return tmp_path


STATE = """
import logging, os, signal, sys, threading, warnings
import ray.tune.tune as tune

def state():
    os.umask(mask := os.umask(0))
    levels = {name: logging.getLogger(name).level for name in ("", "avtune", "ray", "ray.tune", "ray.train")}
    handlers = [signal.getsignal(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}]
    patched = tune._ray_auto_init, tune._setup_signal_catching
    return dict(os.environ), levels, handlers, patched, mask, list(sys.path), os.getcwd(), list(warnings.filters)

before = state()
assert before[1]["ray"] == logging.INFO, before[1]
assert all(one.__module__ == "ray.tune.tune" for one in before[3])
assert not [name for name in os.environ if name.startswith(("RAY_AUTH", "TUNE_"))]
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_a_script_without_a_main_guard_searches_twice_and_its_process_is_as_before(folder):
    again = 'study = avtune.search(data, space="ave", trials=3, gpus=0, name="second", quiet=True, ' + SMALL + ")"
    after = 'assert study.state == "finished"\nassert state() == before\nassert threading.active_count() == 1\n'
    (folder / "mine.py").write_text(f"{snippet()}{CHECKS}{STATE}\n{again}\n{after}")
    ended = run(sys.executable, "mine.py", cwd=folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("all is well") == 1, "no process of Ray's runs the script again"
    assert "[3/3] trial" in ended.stdout


BESIDE = """
import os
import sys
import ray
sys.path.append({tests!r})
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
import avtune
data = avtune.load_dataset("features.h5")
small = {{"final.finalists": 1, "final.seeds": 1, "final.reference": "none"}}
more = dict(space="space.yaml", trials=2, gpus=0, set=small, quiet=True)
try:
    avtune.search(data, **more)
except avtune.UserError as error:
    print(error)
assert not os.path.exists("results")
assert avtune.search(data, runner="inline", name="inline", **more).state == "finished"
study = avtune.search(data, cluster="auto", name="used", **more)
assert study.state == "finished"
assert ray.get(ray.remote(lambda: 7).remote()) == 7, "it stays the caller's"
ray.shutdown()
try:
    avtune.search(data, **more)
except avtune.UserError as error:
    print(error)
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_beside_a_ray_of_the_callers_it_is_refused_or_used(folder):
    (folder / "beside.py").write_text(BESIDE.format(tests=str(ROOT / "tests")))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}
    ended = run(sys.executable, "-W", "ignore", "beside.py", cwd=folder, **token)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == "this process is connected to a Ray of yours, and a search starts a private one"
    assert lines[1].startswith(
        "give cluster='auto' to train on yours, run the search in a process that has not imported"
    )
    assert lines[2].startswith("this process imported Ray before avtune could set it up")
    assert "or take runner='inline'" in lines[3]


LOST = """
import sys
import avtune
from avtune.cli.main import main
from avtune.runners.ray import private
from avtune.study.study import Study

real, left = Study.report, []

def report(study, *words):
    if not left:
        left.append(1)
        private.vital_processes()[0][0].kill()
    return real(study, *words)

Study.report = report
small = {"final.finalists": 1, "final.seeds": 1, "final.reference": "none"}
more = dict(space="space.yaml", name="lost", gpus=0, cpus=1, set=small, quiet=True)
try:
    avtune.search("features.h5", **more)
except avtune.UserError as error:
    print(error)
assert avtune.load_study("results/lost").state == "stopped"
assert avtune.search("features.h5", runner="inline", **more).state == "finished", "without Ray"
left.clear()
print("still here", flush=True)
sys.exit(main("search features.h5 --space space.yaml --name command --gpus 0 --cpus 1".split()))  # on another Ray
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_a_ray_that_is_lost_is_an_error_in_python_and_ends_a_command(folder):
    (folder / "lost.py").write_text(LOST)
    ended = run(sys.executable, "lost.py", cwd=folder)
    lines = ended.stdout.splitlines()
    assert lines[:2] == ["a process of Ray's has died, or was killed; the same call continues", "still here"], ended
    line = "avtune: a process of Ray's has died, or was killed; the same command continues\n"
    assert (ended.returncode, ended.stderr) == (1, line)


def notebook(folder, made):
    """Runs a notebook in a folder; returns what its cells printed and showed."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed; it is in the dependency group dev")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed; it is in the dependency group dev")
    places = {name: str(folder / name) for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    client = nbclient.NotebookClient(made, timeout=280, kernel_name="python3", resources={"metadata": {"path": folder}})
    client.execute(env=environment(**places))
    outputs = [output for cell in made.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    shown = "".join(output.data.get("text/html", "") for output in outputs if "data" in output)
    return printed, shown


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_in_jupyter(folder):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed; it is in the dependency group dev")
    cells = [snippet(), CHECKS, "study", "class Mine: pass\navtune.search(data, method=Mine)"]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.cells[-1].metadata["tags"] = ["raises-exception"]
    printed, shown = notebook(folder, made)
    assert "[3/3] trial" in printed
    assert "all is well" in printed
    assert "study first: finished, in results/first" in shown
    assert "<table" in shown
    (error,) = made.cells[-1].outputs
    assert error.ename == "UserError"
    assert "Mine of this notebook or script" in error.evalue


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.long
def test_the_notebook_of_the_examples_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed; it is in the dependency group dev")
    made = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    assert not any(cell.outputs for cell in made.cells if cell.cell_type == "code"), "it is kept without outputs"
    _, shown = notebook(tmp_path, made)
    assert "study demo: finished" in shown


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_outside_of_the_repository(folder):
    if importlib.util.find_spec("hatchling") is None or importlib.util.find_spec("pip") is None:
        pytest.skip("hatchling or pip is not installed; hatchling is in the dependency group dev")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheels, home = folder / "wheels", folder / "environment"
    ended = run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    ended = run(*pip, "--python", python, "install", "--no-deps", "--no-index", *wheels.iterdir(), cwd=folder)
    assert ended.returncode == 0, ended.stderr
    place = next(home.glob("lib/python*/site-packages"))
    assert (place / "avtune" / "py.typed").is_file()
    spaces = {path.stem for path in (place / "avtune" / "search_spaces").rglob("*.yaml")}
    assert spaces == {path.stem for path in (ROOT / "search_spaces").rglob("*.yaml")}
    # Its dependencies are those of this environment; a path in a .pth file brings no editable avtune with it.
    (place / "dependencies.pth").write_text(str(Path(pytest.__file__).parents[1]))
    where = "import json, avtune; print(json.dumps([avtune.__file__, avtune.__version__]))"
    ended = run(python, "-c", where, cwd=folder, PYTHONPATH="")
    assert json.loads(ended.stdout) == [str(place / "avtune" / "__init__.py"), avtune.__version__]
    (folder / "mine.py").write_text(snippet().replace("gpus=0,", 'gpus=0, runner="inline",') + CHECKS)
    ended = run(python, "mine.py", cwd=folder, PYTHONPATH="")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("all is well\n")
