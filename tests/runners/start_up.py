"""Plants code into the processes that a test starts, through Python's own start-up hook."""

from pathlib import Path

_HOOK = """
import importlib.abc, importlib.util, sys

NAME, CODE = {name!r}, {code!r}

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != NAME:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            exec(CODE, {{"module": module, "__file__": __file__}})
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


def plant(folder: Path, name: str, code: str) -> None:
    """In processes with `folder` in PYTHONPATH, `code` runs once the module `name` has been imported: it finds that as
    `module`, and a file of the folder as `__file__`."""
    (folder / "sitecustomize.py").write_text(_HOOK.format(name=name, code=code))


def plant_function(folder: Path, name: str, call: str) -> None:
    """As `plant`; `call` uses the module `planted`."""
    tests = str(Path(__file__).parent)
    plant(folder, name, f"import sys\nsys.path.insert(0, {tests!r})\nimport planted\n{call}\n")
