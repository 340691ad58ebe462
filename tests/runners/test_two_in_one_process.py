"""Two searches at a time in two threads of a process: the second is refused at once, and the first goes on. No Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy import write_toy

import avtune
from avtune.core.errors import UserError
from avtune.runners.one_search import only_search
from avtune.runners.ray import session
from avtune.workflows import python_run

SAID = "another search runs in this process; wait for it, or run this one in a process of its own"


def elsewhere(act: Callable[[], object]) -> str:
    """What another thread is told, first line."""

    def told() -> str:
        with pytest.raises(UserError) as caught:
            act()
        return str(caught.value).splitlines()[0]

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(told).result()


def enter(block: AbstractContextManager[object]) -> None:
    with block:
        pytest.fail("both at the same time")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """In the place of Ray, which is not imported here."""
    stand_in = SimpleNamespace(on=False)
    stand_in.is_initialized = lambda: stand_in.on
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    monkeypatch.setattr(session, "_set_up_here", True)
    return stand_in


def test_a_second_ray_is_refused_and_the_environment_of_the_first_stays() -> None:
    with only_search():
        before = dict(os.environ)
        assert elsewhere(lambda: enter(session.ray_session({"RAY_AUTH_TOKEN": "b"}))) == SAID
        assert dict(os.environ) == before


@pytest.mark.parametrize("given", [(None, None), ("lanes", "auto"), ("inline", None)])
def test_the_ray_of_a_search_is_not_taken_for_the_callers(ray: SimpleNamespace, given: tuple[str, str]) -> None:
    ray.on = True
    runner, cluster = given
    none: Any = SimpleNamespace(runner=None, cluster=None)
    asked: Any = SimpleNamespace(runner=runner, cluster=cluster)
    with only_search():
        assert elsewhere(lambda: python_run.check_ray(asked)) == SAID
    with pytest.raises(UserError, match="connected to a Ray of yours"):
        python_run.check_ray(none)


def test_a_workflow_in_another_thread_is_refused_whatever_its_runner() -> None:
    assert python_run.run(lambda: elsewhere(lambda: python_run.run(lambda: pytest.fail("it ran")))) == SAID


def test_one_after_the_other_and_one_within_another_of_the_same_thread_run() -> None:
    with pytest.raises(UserError, match="wrong"):
        python_run.run(lambda: (_ for _ in ()).throw(UserError("wrong")))
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(python_run.run, lambda: 1).result() == 1
    assert python_run.run(lambda: python_run.run(lambda: 2)) == 2


def test_a_search_from_a_thread_while_another_trains_leaves_nothing(tmp_path: Path) -> None:
    data, space = write_toy(tmp_path)
    with only_search():
        results = data.parent / "results"
        assert elsewhere(lambda: avtune.search(data, space=space, runner="inline", results=results)) == SAID
        assert not results.exists()
