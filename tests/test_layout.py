"""Imports between the folders of avtune/ go one way. Read from the code, those inside functions included."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import avtune

sys.path.append(str(Path(__file__).parents[1] / "docs"))

from draw_structure import PICTURE, WHAT, imports, modules_of, picture

PACKAGE = Path(avtune.__file__).parent
BELOW = {
    "core": "",
    "data": "core",
    "metrics": "core",
    "space": "core",
    "lanes": "core metrics",
    "methods": "core lanes",
    "study": "core space",
    "engine": "core data metrics space lanes methods",
    "runners": "core data lanes engine",
    "finals": "core data metrics space methods engine study runners",
    "report": "core data metrics space methods engine study",
    "workflows": "core data metrics space lanes methods engine study runners finals report",
    "cli": "core data metrics space lanes methods engine study runners finals report workflows",
}
"""What the files of each folder may import of avtune, beside their own folder."""


def folder_of(path):
    return path.relative_to(PACKAGE).parts[0]


# 37, 20 and 25 parameters, each with its type and most with their line in the docstring; 45 lines are left at most.
LONG = {"api.py: search", "api.py: retrain", "api_bench.py: bench"}


def sources():
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


@pytest.mark.parametrize("folder", BELOW)
def test_a_folder_imports_only_what_lies_below_it(folder):
    allowed = {folder, *BELOW[folder].split()}
    back = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in sources()
        if folder_of(path) == folder
        for module in modules_of(path)
        if "." in module and module.split(".")[1] not in allowed
    ]
    assert back == []


def test_every_folder_has_its_place_and_none_lies_below_itself():
    assert {folder_of(path) for path in sources()} == BELOW.keys() == WHAT.keys()
    done: set[str] = set()
    while missing := BELOW.keys() - done:
        ready = {folder for folder in missing if set(BELOW[folder].split()) <= done}
        assert ready, f"a cycle among {sorted(missing)}"
        done |= ready


def test_the_house_stays_small_in_its_parts():
    """At most 8 files beside the folders, 16 folders, 400 lines a file."""
    assert len(list(PACKAGE.glob("*.py"))) <= 8
    assert len([path for path in PACKAGE.rglob("*") if path.is_dir() and any(path.glob("*.py"))]) <= 16
    long = {path.name: lines for path in PACKAGE.rglob("*.py") if (lines := len(path.read_text().splitlines())) > 400}
    assert long == {}


def test_no_function_but_the_python_interfaces_is_longer_than_60_lines():
    long = {
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 60
    }
    assert long == LONG


def test_the_picture_in_the_manual_shows_the_imports_that_there_are():
    assert PICTURE.read_text() == picture(imports()), "run: python docs/draw_structure.py"


HEAVY = """
import importlib, pkgutil, sys
names = []
for folder in sys.argv[2:]:
    inside = importlib.import_module(f"avtune.{folder}").__path__
    modules = [module.name for module in pkgutil.iter_modules(inside)]
    names += [f"avtune.{folder}.{name}" for name in modules if not name.endswith("_triton")]  # these need Triton
for name in sorted(set(names) - {"avtune.engine.user_code", "avtune.engine.function_trainer"}):
    importlib.import_module(name)
print(sorted(set(sys.argv[1].split(",")) & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("packages", "folders"),
    [("torch,ray", ["study", "space"]), ("ray,optuna", ["methods", "lanes", "engine"])],
    ids=["search state", "training"],
)
def test_what_a_part_does_without_is_not_imported(packages, folders):
    command = [sys.executable, "-c", HEAVY, packages, *folders]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
