"""Engines as the trials of one Ray Tune run: Tune gives them their devices and starts those again that die."""

from __future__ import annotations

import collections
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from avtune.runners.ray import private

_HEAD = re.compile(r"^Failure # \d+ \(occurred at .*\)\n", re.MULTILINE)  # of each error in Tune's file
_MOST = 1 << 20  # engines: without a number Tune starts them one after the other


class EngineList:
    """Which engines Tune is to start. More may be added while it runs; any thread may call.

    Args:
        count: how many there are from the start.
    """

    def __init__(self, count: int) -> None:
        self._named = 0
        self._waiting: collections.deque[str] = collections.deque()
        self.over = threading.Event()
        """Set when no engine that ends is missed, and none will come."""
        self.dismissed = threading.Event()
        """Set when Tune is to end all engines at its next step."""
        self.add(count)

    def add(self, count: int) -> None:
        """Tune starts so many more, as soon as there are devices for them."""
        for _ in range(count):
            self._waiting.append(f"engine {self._named}")
            self._named += 1

    def next(self) -> str | None:
        """The name of the next to start; None for none now."""
        return self._waiting.popleft() if self._waiting and not self.over.is_set() else None


def run_engines(
    function: Callable[..., None],
    engines: EngineList,
    resources: Mapping[str, float],
    storage: Path,
    *,
    on_death: Callable[[str, str], None],
    **parameters: Any,
) -> None:
    """Runs Tune until `engines` are over and each has returned or died for good.

    Args:
        function: a Tune function; `config["engine"]` is the engine's name.
        engines: which are to run.
        resources: what each asks of Ray.
        storage: folder for Tune's files.
        on_death: called with the name of an engine that has died and what Tune knows of it; from Tune's thread.
        parameters: further arguments of the function.
    """
    from ray import tune

    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(function, **parameters), dict(resources)),
        tune_config=tune.TuneConfig(
            search_alg=_searcher(engines),
            num_samples=-1,
            max_concurrent_trials=_MOST,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="engines",
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=-1),
            callbacks=[_deaths(on_death), *private.silent_progress()],
            stop=_stopper(engines.dismissed),
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
    """What Tune has written down of a trial's last error; empty where it has not."""
    file = Path(trial.error_file) if trial.error_file else None
    return last_error(file.read_text(errors="replace")) if file is not None and file.is_file() else ""


def last_error(text: str) -> str:
    """The last of the errors that Tune has collected in a file."""
    return _HEAD.split(text)[-1]


def _searcher(engines: EngineList) -> Any:
    """A searcher of Tune's whose suggestions are engines. Made here because its base class imports Ray."""
    from ray.tune.search import Searcher

    class EngineSearcher(Searcher):  # type: ignore[misc]
        def __init__(self, engines: EngineList) -> None:
            super().__init__(metric="engine", mode="max")
            self._engines = engines

        def suggest(self, trial_id: str) -> Any:
            if self._engines.over.is_set():
                return Searcher.FINISHED
            name = self._engines.next()
            return None if name is None else {"engine": name}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            """Nothing."""

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune pickles its searchers; there is nothing to keep

        def save(self, checkpoint_path: str) -> None:
            """Nothing."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing."""

    return EngineSearcher(engines)


def _deaths(on_death: Callable[[str, str], None]) -> Any:
    """A callback of Tune's that passes deaths on."""
    from ray import tune

    class EngineDeaths(tune.Callback):  # type: ignore[misc]
        def __init__(self, on_death: Callable[[str, str], None]) -> None:
            self._on_death = on_death

        def __getstate__(self) -> dict[str, Any]:
            return {}  # as above

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
