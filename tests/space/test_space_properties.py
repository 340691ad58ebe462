"""Properties of space files: the way to YAML and back, legal samples, and no other exception than `UserError`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import optuna
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper, Value
from avtune.space.parse import parse as parse_space
from avtune.space.space import Space
from avtune.space.yaml_lines import decode

# words that YAML 1.1 or 1.2 would read as something else must come back as words
WORDS = ("all", "no", "1e-3", "1_0", "null", "~", "<<", "=", "2026-01-01", "a: b", "#x", "it's", "", " x", "\u00e9\n")
PSD = (
    Hyper("margin", "float", 0.2, 0.0, 2.0),
    Hyper("lr", "float", 1e-3, 1e-6, 1.0),
    Hyper("batch_size", "int", 256, 2, 4096),
    Hyper("mining", "choice", "all", values=WORDS),
    Hyper("swap", "bool", False),
)
METHODS = {"psd": {hyper.name: hyper for hyper in PSD}}
GOOD = """\
method: psd
space:
  margin: {type: float, low: 0.05, high: 1.0}
  lr: {type: float, low: 1e-5, high: 1e-2, log: true}
  batch_size: {type: choice, values: [256, 512]}
  swap: true
search: {sampler: random, trials: 40, seed: 7}
early_stopping: {epochs: 27}
"""


def parse(text: str, *overrides: str) -> Space:
    return parse_space(text, file="f.yaml", hypers_of=METHODS.__getitem__, method_names=METHODS, overrides=overrides)


def legal_values(hyper: Hyper) -> st.SearchStrategy[Value]:
    if hyper.kind == "bool":
        return st.booleans()
    if hyper.kind == "choice":
        return st.sampled_from(hyper.values)
    assert hyper.low is not None
    assert hyper.high is not None
    if hyper.kind == "int":
        return st.integers(int(hyper.low), int(hyper.high))
    return st.floats(hyper.low, hyper.high)


@st.composite
def axes(draw: st.DrawFn, hyper: Hyper) -> dict[str, object]:
    values = legal_values(hyper)
    if hyper.kind in ("bool", "choice") or draw(st.booleans()):
        return {"type": "choice", "values": draw(st.lists(values, min_size=1, max_size=4, unique=True))}
    low, high = sorted(draw(st.lists(values, min_size=2, max_size=2, unique=True)))
    assert not isinstance(low, str)
    axis: dict[str, object] = {"type": hyper.kind, "low": low, "high": high}
    if low > 0 and draw(st.booleans()):
        axis["log"] = True
    elif hyper.kind == "int" and draw(st.booleans()):
        step = draw(st.integers(1, int(high) - int(low)))
        axis |= {"step": step, "high": low + (int(high) - int(low)) // step * step}
    return axis


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, object]:
    """A legal space file, as what YAML would hold."""
    made: dict[str, object] = {}
    for hyper in PSD:
        part = draw(st.one_of(st.none(), legal_values(hyper), axes(hyper)))
        if part is not None:
            made[hyper.name] = part
    validation = draw(st.one_of(st.fixed_dictionaries({"folds": st.integers(2, 9)}), st.just({"fraction": 0.25})))
    return {
        "method": "psd",
        "space": made,
        "search": {"trials": draw(st.integers(1, 1000)), "sampler": draw(st.sampled_from(["tpe", "random"]))},
        "early_stopping": {"epochs": draw(st.integers(1, 200)), "factor": draw(st.integers(2, 5))},
        "validation": validation,
    }


@settings(deadline=None, max_examples=60)
@given(spaces())
def test_yaml_round_trip(made: dict[str, object]) -> None:
    first = parse(json.dumps(made))
    again = parse(first.to_yaml())
    assert again == first
    assert again.difference(first) == []
    assert again.as_dict() == first.as_dict()
    assert {*(axis.name for axis in first.axes), *first.fixed} == set(METHODS["psd"])


@settings(deadline=None, max_examples=60)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_sampled_values_are_legal(made: dict[str, object], seed: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    got = parse(json.dumps(made))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(3):
        for name, value in study.ask(got.distributions()).params.items():
            assert METHODS["psd"][name].check(value) == value
            assert next(axis for axis in got.axes if axis.name == name).contains(value)


def only_user_errors(call: Callable[[], object]) -> None:
    message = ""
    try:
        call()
    except UserError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 500


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_arbitrary_text_is_a_user_error_or_a_space(text: str) -> None:
    only_user_errors(lambda: parse(text))
    only_user_errors(lambda: parse(GOOD, text))
    only_user_errors(lambda: parse(GOOD, "space.margin=" + text))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["psd", "float", "int", "choice", "tpe", "all"]),
)
KEYS = st.sampled_from(
    [
        "method",
        "space",
        "search",
        "validation",
        "final",
        "margin",
        "batch_size",
        "mining",
        "swap",
        "type",
        "low",
        "high",
        "log",
        "step",
        "values",
        "trials",
        "folds",
        "fraction",
        "x",
    ]
)


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        KEYS,
        st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6)),
    ),
    st.booleans(),
)
def test_arbitrary_structures_are_user_errors_or_spaces(made: dict[str, object], with_method: bool) -> None:
    text = yaml.safe_dump({**made, "method": "psd"} if with_method else made)
    only_user_errors(lambda: parse(text))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), st.binary(max_size=4)), min_size=1, max_size=3)
)
def test_damaged_files_are_user_errors_or_spaces(edits: list[tuple[int, int, bytes]]) -> None:
    data = GOOD.encode()
    for at, cut, put in edits:
        data = data[:at] + put + data[at + cut :]
    only_user_errors(lambda: parse(decode(data, "f.yaml")))


def test_the_floats_of_a_space_survive_exactly() -> None:
    low, high = 0.1 + 0.2, math.nextafter(0.5, 1)
    got = parse(f"method: psd\nspace: {{margin: {{type: float, low: {low!r}, high: {high!r}}}, lr: 1e-06}}")
    again = parse(got.to_yaml())
    assert (again.axes[0].low, again.axes[0].high, again.fixed["lr"]) == (low, high, 1e-6)
