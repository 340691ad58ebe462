"""Engines as the trials of one Ray Tune run: Tune gives them their devices and starts those again that die."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avtune.runners._base import Placement


def run_engines(
    function: Callable[..., None],
    placement: Placement,
    storage: Path,
    *,
    on_death: Callable[[str, str], None],
    dismissed: threading.Event,
    **parameters: Any,
) -> None:
    """Runs Tune until every engine has returned or died for good.

    Args:
        function: a Tune function; `config["engine"]` is the engine's name.
        placement: how many, on which devices.
        storage: folder for Tune's files.
        on_death: called with the name of an engine that has died and what Tune knows of it; from Tune's thread.
        dismissed: when it is set, Tune ends all engines at its next step.
        parameters: further arguments of the function.
    """
    from ray import tune

    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(function, **parameters), placement.resources),
        param_space={"engine": tune.grid_search([f"engine {index}" for index in range(placement.count)])},
        tune_config=tune.TuneConfig(trial_dirname_creator=lambda trial: trial.trial_id),
        run_config=tune.RunConfig(
            name="engines",
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=-1),
            callbacks=[_deaths(on_death)],
            stop=_stopper(dismissed),
        ),
    )
    tuner.fit()


def here() -> dict[str, Any]:
    """Options of an actor that lives on the driver's machine: what all engines need must not go with the machine of
    one."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def error_text(trial: Any) -> str:
    """What Tune has written down of a trial's error; empty where it has not."""
    file = Path(trial.error_file) if trial.error_file else None
    return file.read_text(errors="replace") if file is not None and file.is_file() else ""


def _deaths(on_death: Callable[[str, str], None]) -> Any:
    """A callback of Tune's that passes deaths on. Made here because its base class imports Ray."""
    from ray import tune

    class EngineDeaths(tune.Callback):  # type: ignore[misc]
        def __init__(self, on_death: Callable[[str, str], None]) -> None:
            self._on_death = on_death

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune pickles its callbacks; there is nothing to keep

        def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._on_death(trial.config["engine"], error_text(trial))

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self.on_trial_recover(iteration, trials, trial)

    return EngineDeaths(on_death)


def _stopper(dismissed: threading.Event) -> Any:
    """A stopper of Tune's that ends all engines once the event is set."""
    from ray import tune

    class Dismissed(tune.Stopper):  # type: ignore[misc]
        def __init__(self, dismissed: threading.Event) -> None:
            self._dismissed = dismissed

        def __getstate__(self) -> dict[str, Any]:
            return {}  # as above

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return self._dismissed.is_set()

    return Dismissed(dismissed)
