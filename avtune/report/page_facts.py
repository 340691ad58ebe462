"""What the report page says of the study itself: dataset, date, command, environment, settings."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from avtune import __version__
from avtune.core.objective import MAP
from avtune.core.view_names import VIEWS, views_in
from avtune.report.page_search import LEARNERS
from avtune.report.page_times import Times, span
from avtune.study.folder import StudyFolder
from avtune.study.study import Study

Fact = tuple[str, str]


def facts(study: Study, times: Times) -> list[Fact]:
    """Name and value, in the order in which they are shown. What a file does not say is left out."""
    settings, environment = study.folder.settings(), _environment(study.folder)
    when = span(times)
    found = [
        ("dataset", _dataset(settings["dataset"])),
        ("digest of the dataset", str(settings["dataset"]["digest"])),
        ("method", study.space.method),
        ("trials", _trials(study)),
        ("validation rows", study.space.validation_rows),
        ("ended early", study.ended_early),
        ("begun", when[0] if when else ""),
        ("last trial", when[1] if when else ""),
        ("command", _command(environment)),
        ("changes since", "; ".join(settings.get("changes", []))),
        ("runner", _runner(settings)),
        ("machine", _machine(environment)),
        ("versions", ", ".join(f"{name} {value}" for name, value in _table(environment.get("versions")).items())),
        ("read by", f"avtune {__version__}"),
    ]
    return [(name, value) for name, value in found if value]


def _environment(folder: StudyFolder) -> Mapping[str, Any]:
    """What `environment.json` holds; a file that cannot be read is named in the place of the machine."""
    try:
        found = json.loads(folder.environment_json.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"platform": f"{folder.environment_json.name} cannot be read"}


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dataset(about: Mapping[str, Any]) -> str:
    sizes = [f"{about[key]} {word}" for key, word in (("train", "training"), ("test", "test")) if key in about]
    parts = [f"{' and '.join(sizes)} clips"] if sizes else []
    parts += [f"{about['classes']} classes"] if "classes" in about else []
    named = zip(VIEWS, views_in(about), strict=True)
    parts += [f"{name} {about[f'{view}_dim']}-d" for view, name in named if f"{view}_dim" in about]
    return f"{about['name']}: {', '.join(parts)}" if parts else str(about["name"])


def _trials(study: Study) -> str:
    search, stopping = study.space.search, study.space.early_stopping
    learns = LEARNERS.get(search.sampler, "").removeprefix("the ")
    sampler = f"{learns} after {search.startup_trials} random ones" if learns else search.sampler
    until = "until their curves are flat" if study.horizon.open else f"{stopping.epochs} epochs at most"
    goal = "" if search.objective == MAP.text else f", maximises {search.objective}"
    mode = ", deterministic" if study.deterministic else ""
    return (
        f"{search.trials}, {sampler}, seed {search.seed}{goal}{mode}; {until}, 1 in {stopping.factor} goes on at a rung"
    )


def _command(environment: Mapping[str, Any]) -> str:
    words = environment.get("command")
    if not isinstance(words, list) or not words:
        return ""
    first = "avtune" if words[0] in ("__main__.py", "avtune") else str(words[0])
    return shlex.join([first, *map(str, words[1:])])


def _runner(settings: Mapping[str, Any]) -> str:
    said = [settings.get("runner", ""), settings.get("placement", ""), settings.get("precision", "")]
    return ", ".join(str(one) for one in said if one)


def _machine(environment: Mapping[str, Any]) -> str:
    gpus, cores = environment.get("gpus"), environment.get("cores")
    said = [str(environment.get("cpu", "")), f"{cores} cores" if cores else "", str(environment.get("platform", ""))]
    said[2:2] = [str(gpu) for gpu in gpus] if isinstance(gpus, list) else []
    return ", ".join(one for one in said if one)
