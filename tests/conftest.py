"""Fixtures for every test."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from avtune.core.system import usable_cores

# What tests and benchmarks share is in benchmarks/, which is not installed.
sys.path.append(str(Path(__file__).parents[1]))

# Triton's own functions are compiled or interpreted as they are first imported, by whichever test comes first.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Small tensors: more threads only wait for each other, for seconds on a busy machine.
torch.set_num_threads(1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests with Ray wait for more than half of their time."""
    return usable_cores() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with most tests that start Ray, or are slow, come first: what is left at the end can then be shared by the
    cores. A file is never shared (Makefile), and the longest one takes minutes."""
    length: Counter[Path] = Counter()
    for item in items:
        length[item.path] += 3 * bool(item.get_closest_marker("ray")) + bool(item.get_closest_marker("slow"))
    items.sort(key=lambda item: -length[item.path])


@pytest.fixture
def triton_interpreter() -> None:
    """The test is skipped where Triton is missing, or was imported for a GPU."""
    pytest.importorskip("triton", reason="triton is not installed (it comes with torch's CUDA builds)")
    if torch.cuda.is_available():
        pytest.skip("Triton compiles for the GPU in this process; benchmarks/gpu.py checks its kernels there")


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """`real_data(name)` is the path of a real feature file; the test is skipped when it is in neither place."""
    given = os.environ.get("AVTUNE_DATA")
    folders = [*([Path(given)] if given else []), Path(__file__).parents[1] / "../shared/data"]

    def find(name: str) -> Path:
        for folder in folders:
            if (folder / name).is_file():
                return (folder / name).resolve()
        pytest.skip(f"real data: no {name} in $AVTUNE_DATA nor in ../shared/data")

    return find


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a user's code in it: the examples. What is registered and imported there is forgotten
    again."""
    from avtune.engine import user_code
    from avtune.methods import METHODS

    for path in (Path(__file__).parents[1] / "examples").iterdir():
        if path.suffix in (".py", ".yaml"):
            shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(user_code, "_functions", {})
    monkeypatch.setattr(user_code, "_registered", [])
    methods, modules = dict(METHODS), set(sys.modules)
    yield tmp_path
    METHODS.clear()
    METHODS.update(methods)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def forget(workplace: Path) -> Callable[[], None]:
    """Forgets what the command line has named, as another process would have it."""
    from avtune.engine import user_code
    from avtune.methods import METHODS

    def forget() -> None:
        for name in [name for name in METHODS if ":" in name]:
            del METHODS[name]
        user_code._functions.clear()
        user_code._registered.clear()

    return forget
