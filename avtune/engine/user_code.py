"""A user's own method or training function, named on the command line as `module:Name`.

Nothing but the command line names code to import: what a space, a study or a model says is looked up among what was
registered here, never imported. A registered method is in `methods.METHODS` under its `module:Name`. The folder that
holds the code comes last on the import path, so that no file of it takes the place of an installed package.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from avtune import methods
from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.hyper import Hyper
from avtune.core.protocol import VALIDATION
from avtune.methods import METHODS, ClosedForm, Method, check_config
from avtune.methods._base import REQUIRED_HYPERS, TRAINING_HYPERS
from avtune.methods._contract import check
from avtune.methods.pml import PREFIX as PML
from avtune.methods.pml import method_of, source_file
from avtune.space.space import Space

METHOD, TRAIN = "--method", "--train"
_EXAMPLES = {METHOD: "my_package:MyMethod", TRAIN: "my_module:train"}
_MANUAL = "see docs/own_method.md"
_PAIRS = (("lr_end", "warmup"), ("average", "average_decay"), ("mixup", "mixup_share"))
"""Of `TRAINING_HYPERS`: what the trainer reads together."""
_WIDTHS = ("embedding_dim", "hidden_dim")
SAFE_PATH = ("PYTHONSAFEPATH", "avtune")
"""Environment variable and our value of it, in all processes of a run: Python looks for modules neither in the current
folder nor beside the script. Code of the user's own may start scripts that need it to."""

Function = Callable[[dict[str, Any], Any, Any], Any]
"""`train(config, data, report)`, see `function_trainer`."""

_functions: dict[str, Function] = {}
_registered: list[tuple[str, str, str]] = []


def register(option: str, spec: str, folder: str | None = None) -> None:
    """Imports what `spec` names and makes it known in this process.

    Args:
        option: `METHOD` or `TRAIN`.
        spec: `module:Name`; the module is found from `folder`, or installed. `pml:Name` is a loss of
            pytorch-metric-learning, see `methods.pml`.
        folder: put at the end of the import path; None for the current one.

    Raises:
        UserError: there is no such module or name in it, it cannot be imported, its name is that of an installed
            package, or it is not what the option takes.
    """
    folder = folder or str(Path.cwd())
    if option == METHOD and spec.startswith(PML):
        METHODS[spec] = METHODS.get(spec) or _checked_method(spec, method_of(spec))
    elif option == METHOD:
        METHODS[spec] = _checked_method(spec, _find(option, spec, folder))
    else:
        _functions[spec] = _checked_function(spec, _find(option, spec, folder))
    if (option, spec, folder) not in _registered:
        _registered.append((option, spec, folder))


def registered() -> list[tuple[str, str, str]]:
    """What `register` was called with in this process, for the processes that it starts."""
    return list(_registered)


def restore(named: Sequence[tuple[str, str, str]]) -> None:
    """Registers in a process what `registered` gave in the one that started it."""
    if named and os.environ.get(SAFE_PATH[0]) == SAFE_PATH[1]:
        del os.environ[SAFE_PATH[0]]
    for option, spec, folder in named:
        register(option, spec, folder)


def function(name: str) -> Function | None:
    """The training function of that name; None when it names a method."""
    return _functions.get(name)


def names() -> list[str]:
    """Every name that `Trial.method` can have in this process."""
    return [*METHODS, *_functions]


def hypers_of(name: str) -> dict[str, Hyper] | None:
    """The hyper-parameters of a method; None for a training function, whose space file defines them."""
    return None if name in _functions else methods.hypers_of(name)


def facts(name: str) -> dict[str, str]:
    """What a study keeps of code of the user's own: how the command line names it, and the SHA-256 of its file. Empty
    for a method of ours."""
    for option, spec, _ in _registered:
        if spec == name:
            file = source_file(METHODS[name]) if name.startswith(PML) else _module_of(name).__file__
            return {"option": option, "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""}
    return {}


def _module_of(name: str) -> ModuleType:
    return sys.modules[name.partition(":")[0]]


def code_of(name: str) -> str:
    """SHA-256 of the file of the user's own code; empty for a method of ours."""
    return facts(name).get("sha256", "")


def check_labels(name: str, *, multi_label: bool) -> None:
    """Asks, before anything starts, whether a method or training function can learn from the labels of a dataset.

    Args:
        name: as `Trial.method` has it.
        multi_label: the dataset's clips have several labels.

    Raises:
        UserError: they have, and it takes one label a clip.
    """
    taker = _functions.get(name) or methods.get(name)
    if multi_label and not getattr(taker, "multi_label", False):
        said = (
            "say multi_label = True in your code if it takes labels as bool [.., C], a column a class"
            if ":" in name and not name.startswith(PML)
            else f"methods that can: {choices([one for one, kind in METHODS.items() if kind.multi_label])}"
        )
        raise UserError(f"{name} learns from one label a clip, and clips of this dataset have several; {said}")


def check_method(space: Space, dims: tuple[int, int, int], clips: int, *, multi_label: bool = False) -> None:
    """Asks a method of the user's own, with its default configuration, for all that training will ask; see
    `methods._contract`. Others are not asked.

    Args:
        dims: widths of the audio and the visual features, and number of classes.
        clips: in the training set.
        multi_label: they have several labels.

    Raises:
        UserError: it does not keep to the contract.
    """
    if ":" in space.method and space.method in METHODS:
        config = check_config(METHODS[space.method], space.defaults())
        rows = min(clips, int(config.get("batch_size", clips)))
        check(space.method, METHODS[space.method], config, dims, rows, multi_label=multi_label)


def check_function_search(space: Space, protocol: str, precision: str | None) -> None:
    """Raises:
    UserError: something is asked of a search that it cannot do with a training function.
    """
    if space.validation.folds is not None:
        raise UserError("validation.folds goes with methods; a training function takes validation.fraction")
    if protocol != VALIDATION:
        raise UserError(f"--protocol {protocol} goes with methods: a training function is embedded once, at its end")
    if precision is not None:
        raise UserError("--precision goes with methods; a training function decides it itself")


def _find(option: str, spec: str, folder: str) -> Any:
    module_name, _, name = spec.partition(":")
    if not all(part.isidentifier() for part in [*module_name.removesuffix(".py").split("."), name]):
        raise UserError(f"{option} is {spec!r}; give module:name, for example {option} {_EXAMPLES[option]}\n{_MANUAL}")
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    _check_not_hidden(option, module_name, Path(folder))
    module = _import(option, module_name, Path(folder))
    if hasattr(module, name):
        return getattr(module, name)
    fit = [key for key, thing in vars(module).items() if _fits(option, thing, module)]
    has = f"; it has {choices(fit)}" if fit else ""
    raise UserError(f"{module_name} has no {name!r}{did_you_mean(name, fit) or has}\n({option} {spec})")


def _check_not_hidden(option: str, name: str, folder: Path) -> None:
    """Raises:
    UserError: the folder holds a module of that name, and Python imports another one.
    """
    other, file = _instead_of(folder, name), folder / name.replace(".", os.sep)
    if other and (file.with_name(f"{file.name}.py").is_file() or (file / "__init__.py").is_file()):
        raise UserError(
            f"{option}: {name} in {folder} has the name of another module, which Python imports in its place: {other}\n"
            "rename yours; what is installed comes before the current folder"
        )


def _instead_of(folder: Path, name: str) -> str:
    """What Python imports instead of the folder's module, the first part of whose name counts; empty when it is that
    module or when the folder has none. A folder without `__init__.py` counts: Python may import it."""
    top = name.partition(".")[0]
    here = [path for path in (folder / f"{top}.py", folder / top / "__init__.py", folder / top) if path.exists()]
    try:
        spec = importlib.util.find_spec(top) if here else None
    except (ImportError, ValueError):  # for `__main__` and other modules without a spec
        return ""
    if spec is None:
        return ""
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
    same = {path.resolve() for path in here} & {Path(place).resolve() for place in places}
    return "" if same else ", ".join(places)


def _import(option: str, name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            other = _instead_of(folder, error.name or "")
            why = f"and Python finds {other} under that name; rename yours" if other else "which is not installed"
            raise UserError(f"{option}: {name} imports {error.name}, {why}") from None
        there = [path.stem for path in folder.glob("*.py")] + [path.parent.name for path in folder.glob("*/*.py")]
        raise UserError(
            f"{option}: no module {name!r} in {folder} or installed{did_you_mean(name, there)}\n"
            "give its name as `import` takes it, and start avtune in the folder that holds it"
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        frames = [at for at in traceback.extract_tb(error.__traceback__) if Path(at.filename).is_relative_to(folder)]
        where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        said = " ".join(str(error).split())
        raise UserError(f"{option}: {name} cannot be imported: {type(error).__name__}: {said}{where}") from None


def _fits(option: str, thing: Any, module: ModuleType) -> bool:
    if getattr(thing, "__module__", None) != module.__name__:
        return False
    return isinstance(thing, type) and issubclass(thing, Method) if option == METHOD else inspect.isfunction(thing)


def _checked_method(spec: str, thing: Any) -> type[Method]:
    if not (isinstance(thing, type) and issubclass(thing, Method)):
        hint = f"; a training function goes with {TRAIN} {spec}" if inspect.isfunction(thing) else f"; {_MANUAL}"
        raise UserError(f"{METHOD} {spec} is {_what(thing)}, not a subclass of avtune.methods.Method{hint}")
    missing = sorted(thing.__abstractmethods__)
    missing += [name for name in ("name", "summary", "source", "hypers") if not hasattr(thing, name)]
    if missing:
        raise UserError(f"{METHOD} {spec} does not define {', '.join(missing)}; {_MANUAL}")
    if not isinstance(thing.hypers, tuple) or not all(isinstance(hyper, Hyper) for hyper in thing.hypers):
        raise UserError(f"{METHOD} {spec}: hypers must be a tuple of avtune.methods.Hyper; {_MANUAL}")
    given = [hyper.name for hyper in thing.hypers]
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise UserError(f"{METHOD} {spec}: hypers has {twice[0]!r} twice; keep one")
    lacks = [hyper.name for hyper in REQUIRED_HYPERS if hyper.name not in given]
    if lacks and not issubclass(thing, ClosedForm):
        raise UserError(f"{METHOD} {spec}: hypers lacks {', '.join(lacks)}; add *TRAINING_HYPERS from avtune.methods")
    _check_trainers_names(spec, {hyper.name: hyper for hyper in thing.hypers})
    for hyper in thing.hypers:
        if not hyper.static and hyper.kind in ("choice", "bool"):
            raise UserError(
                f"{METHOD} {spec}: {hyper.name} is a {hyper.kind} and must have static=True, since lanes that share "
                "tensors can differ in numbers only"
            )
        try:
            hyper.check(hyper.default)
        except UserError as error:
            raise UserError(f"{METHOD} {spec}: the default of {error}") from None
    return thing


def _check_trainers_names(spec: str, own: dict[str, Hyper]) -> None:
    """The trainer reads `TRAINING_HYPERS` by their names: one of another meaning would switch on what it does by that
    name. The model card and `avtune plan` read widths by theirs.

    Raises:
        UserError: a hyper-parameter has the name of one of them and is another, or lacks the one it goes with.
    """
    for ours in TRAINING_HYPERS:
        if ours.name in own and not _is_ours(own[ours.name], ours):
            raise UserError(
                f"{METHOD} {spec}: {ours.name} is a name of avtune's own ({ours.doc}); give yours another name, or "
                f"take that of TRAINING_HYPERS from avtune.methods, whose default alone may be another; {_MANUAL}"
            )
    for pair in _PAIRS:
        lone = [name for name in pair if name in own]
        if len(lone) == 1:
            (other,) = {*pair} - {*lone}
            raise UserError(
                f"{METHOD} {spec}: hypers has {lone[0]} without {other}; take both from TRAINING_HYPERS of "
                "avtune.methods, or none"
            )
    for name in _WIDTHS:
        if name in own and own[name].kind != "int":
            raise UserError(
                f"{METHOD} {spec}: {name} is a {own[name].kind}; it must be an int, a width in units: give yours "
                f"another name or kind; {_MANUAL}"
            )


def _is_ours(own: Hyper, ours: Hyper) -> bool:
    """Whether a hyper-parameter is avtune's of its name, which may have another default; what every method needs may
    have another range and text too."""
    if ours in REQUIRED_HYPERS:
        return (own.kind, own.static) == (ours.kind, ours.static)
    return replace(own, default=ours.default) == ours


def _checked_function(spec: str, thing: Any) -> Function:
    if isinstance(thing, type) or not callable(thing):
        hint = f"; a method goes with {METHOD} {spec}" if isinstance(thing, type) else f"; {_MANUAL}"
        raise UserError(f"{TRAIN} {spec} is {_what(thing)}, not a function{hint}")
    try:
        inspect.signature(thing).bind(None, None, None)
    except TypeError as error:
        raise UserError(f"{TRAIN} {spec} is called as train(config, data, report), but: {error}") from None
    return thing  # type: ignore[no-any-return]


def _what(thing: Any) -> str:
    return "a class" if isinstance(thing, type) else "a function" if callable(thing) else f"a {type(thing).__name__}"
