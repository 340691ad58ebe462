"""The words of every error of a space file: the line, what was given, what is allowed, the nearest valid name."""

from __future__ import annotations

import pytest

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper
from avtune.space.parse import parse as parse_space

PSD = (
    Hyper("margin", "float", 0.2, 0.0, 2.0),
    Hyper("lr", "float", 1e-3, 1e-6, 1.0),
    Hyper("batch_size", "int", 256, 2, 4096),
    Hyper("mining", "choice", "all", values=("all", "hard")),
    Hyper("swap", "bool", False),
)
METHODS = {"psd": {hyper.name: hyper for hyper in PSD}, "eics": {"alpha": Hyper("alpha", "float", 1.0, 0.0, 10.0)}}

TOP_KEYS = "constraints, early_stopping, final, method, search, space or validation"
TEXT = " (what is written is text; a number such as 0.001 has no quotes, units or commas)"


def check(message: str, text: str, *overrides: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_space(text, file="f.yaml", hypers_of=METHODS.__getitem__, method_names=METHODS, overrides=overrides)
    assert str(caught.value) == message
    assert "\n" not in message
    assert len(message) < 250


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml:1: a space file is a mapping that starts with 'method: NAME'; this one is empty"),
        ("- method", "f.yaml:1: a space file is a mapping that starts with 'method: NAME'; this one is a list"),
        ("space: {}", "f.yaml: no method; write for example 'method: psd' (eics or psd)"),
        ("method: psdd", "f.yaml:1: method is 'psdd'; allowed: one of eics or psd; did you mean 'psd'?"),
        ("method: [psd]", "f.yaml:1: method is a list; allowed: one of eics or psd"),
        ("method: psd\nbench: 1", "f.yaml:2: bench is 1; write keys and values, for example bench: {hidden_dim: 512}"),
        ("method: psd\nbench: {lrr: 1}", "f.yaml:2: method psd has no hyper-parameter 'lrr'; did you mean 'lr'?"),
        ("method: psd\nserch: 1", f"f.yaml:2: unknown key 'serch'; allowed: bench, {TOP_KEYS}; did you mean 'search'?"),
    ],
)
def test_errors_of_the_top_level(text: str, message: str) -> None:
    check(message, text)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("search: 5", "search is 5; write keys and values, for example search: {sampler: tpe}"),
        (
            "search: {zzz: 1}",
            "unknown key 'zzz' in search; allowed: lag, objective, sampler, seed, startup_trials, stop_when_flat or "
            "trials",
        ),
        (
            "final: {sedes: 3}",
            "unknown key 'sedes' in final; allowed: default, finalists, policy, reference, reshuffle or seeds; did you "
            "mean 'seeds'?",
        ),
        ("search: {trials: 0}", "search.trials is 0; allowed: a whole number from 1 to 100000"),
        ("search: {trials: 1.5}", "search.trials is 1.5; allowed: a whole number from 1 to 100000"),
        ("search: {trials: true}", "search.trials is True; allowed: a whole number from 1 to 100000"),
        ("search: {trials: '5'}", f"search.trials is '5'; allowed: a whole number from 1 to 100000{TEXT}"),
        ("search: {trials: {}}", "search.trials is a mapping; allowed: a whole number from 1 to 100000"),
        ("search: {trials: }", "search.trials is empty; allowed: a whole number from 1 to 100000"),
        ("search: {seed: -1}", "search.seed is -1; allowed: a whole number from 0 to 1e+09"),
        ("search: {lag: 0}", "search.lag is 0; allowed: a whole number from 1 to 100000"),
        (
            "search: {sampler: tp}",
            "search.sampler is 'tp'; allowed: one of gp, grid, qmc, random or tpe; did you mean 'tpe'?",
        ),
        ("early_stopping: {factor: 1}", "early_stopping.factor is 1; allowed: a whole number from 2 to 100"),
        ("validation: {fraction: 1}", "validation.fraction is 1; allowed: a number from 0.01 to 0.9"),
        ("validation: {folds: 1}", "validation.folds is 1; allowed: a whole number from 2 to 100"),
        (
            "validation: {folds: 5, fraction: 0.2}",
            "validation has both folds and fraction (at f.yaml:3); keep one",
        ),
        ("space: [1]", "space is a list; write keys and values, for example space: {margin: 0.2}"),
        ("space: {margn: 1}", "method psd has no hyper-parameter 'margn'; did you mean 'margin'?"),
        (
            "space: {zeta: 1}",
            "method psd has no hyper-parameter 'zeta'; it has batch_size, lr, margin, mining or swap",
        ),
        ("space: {margin: 3}", "space.margin is 3; allowed: a number from 0 to 2"),
        ("space: {margin: '1'}", f"space.margin is '1'; allowed: a number from 0 to 2{TEXT}"),
        ("space: {margin: 1_0}", f"space.margin is '1_0'; allowed: a number from 0 to 2{TEXT}"),
        ("space: {margin: 0,5}", "a key must be a name, this one is 5"),
        ("space: {mining: herd}", "space.mining is 'herd'; allowed: one of all or hard; did you mean 'hard'?"),
        ("space: {swap: yes}", "space.swap is 'yes'; allowed: true or false"),
        ("space: {batch_size: 2.5}", "space.batch_size is 2.5; allowed: a whole number from 2 to 4096"),
    ],
)
def test_errors_of_a_section(section: str, message: str) -> None:
    check(f"f.yaml:3: {message}", f"method: psd\n# a comment\n{section}\n")


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("low: 0, high: 1", "{} has no type; write for example margin: {{type: float, low: 0, high: 2}}"),
        (
            "tpye: float, low: 0",
            "unknown key 'tpye' in {}; allowed: high, log, low, step, type, values or when; did you mean 'type'?",
        ),
        (
            "type: flot",
            "{}.type is 'flot'; allowed for margin, which takes 0 to 2: choice or float; did you mean 'float'?",
        ),
        ("type: int", "{}.type is 'int'; allowed for margin, which takes 0 to 2: choice or float"),
        ("type: [float]", "{}.type is a list; allowed for margin, which takes 0 to 2: choice or float"),
        ("type: float, low: 0", "{} has no high; write for example margin: {{type: float, low: 0, high: 2}}"),
        ("type: choice", "{} has no values; write for example margin: {{type: choice, values: [0, 2]}}"),
        (
            "type: choice, values: [1], low: 0",
            "unknown key 'low' in {} (type choice); allowed: type, values or when",
        ),
        (
            "type: float, low: 0, high: 1, logs: true",
            "unknown key 'logs' in {} (type float); allowed: high, log, low, step, type or when; did you mean 'log'?",
        ),
        (
            "type: float, low: 1, high: 1",
            "{} has low 1 and high 1; low must be below high (a fixed value is written margin: 1)",
        ),
        ("type: float, low: 0.1, high: 9", "{}.high is 9; allowed: a number from 0 to 2"),
        ("type: float, low: 0.1, high: '1'", f"{{}}.high is '1'; allowed: a number from 0 to 2{TEXT}"),
        ("type: float, low: [0], high: 1", "{}.low is a list; allowed: a number from 0 to 2"),
        ("type: float, low: 0, high: 1, log: true", "{}.low is 0 with log: true; allowed: above 0, or leave log out"),
        ("type: float, low: 0, high: 1, log: 1", "{}.log is 1; allowed: true or false"),
        ("type: float, low: 0.1, high: 1, log: true, step: 0.1", "{} has both log and step; keep one"),
        (
            "type: float, low: 0, high: 1, step: 0.3",
            "{} has steps of 0.3 from 0, which miss high 1; the nearest high below is 0.9",
        ),
        ("type: float, low: 0, high: 1, step: 0", "{}.step is 0; allowed: a number from 1e-06 to 1"),
        ("type: float, low: 0, high: 1, step: 2", "{}.step is 2; allowed: a number from 1e-06 to 1"),
        ("type: choice, values: []", "{}.values is an empty list; write a list of at least one value: [..., ...]"),
        ("type: choice, values: 1", "{}.values is 1; write a list of at least one value: [..., ...]"),
        ("type: choice, values: [1, 1.0]", "{}.values has 1.0 twice; keep one"),
        ("type: choice, values: [1, 3]", "{}.values is 3; allowed: a number from 0 to 2"),
        (
            "type: choice, values: [1, null]",
            "{}.values holds null (nothing); take it out, or write a value in its place: 0 to 2 (the default is 0.2)",
        ),
        ("type: choice, values: [[1]]", "{}.values is a list; allowed: a number from 0 to 2"),
    ],
)
def test_errors_of_an_axis(axis: str, message: str) -> None:
    check(f"f.yaml:3: {message.format('space.margin')}", f"method: psd\nspace:\n  margin: {{{axis}}}\n")


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (
            "batch_size: {type: float, low: 2, high: 8}",
            "space.batch_size.type is 'float'; allowed for batch_size, which takes 2 to 4096: choice or int",
        ),
        (
            "batch_size: {type: int, low: 2, high: 8, step: 1.5}",
            "space.batch_size.step is 1.5; allowed: a whole number from 1 to 6",
        ),
        (
            "swap: {type: int, low: 0, high: 1}",
            "space.swap.type is 'int'; allowed for swap, which takes true or false: choice",
        ),
        (
            "mining: {type: choice, values: [herd]}",
            "space.mining.values is 'herd'; allowed: one of all or hard; did you mean 'hard'?",
        ),
        ("mining: {}", "space.mining has no type; write for example mining: {type: choice, values: [all, hard]}"),
        ("swap: {}", "space.swap has no type; write for example swap: {type: choice, values: [true, false]}"),
    ],
)
def test_errors_of_an_axis_by_kind(axis: str, message: str) -> None:
    check(f"f.yaml:3: {message}", f"method: psd\nspace:\n  {axis}\n")


def test_each_key_of_a_block_has_its_own_line() -> None:
    block = "method: psd\nspace:\n  margin:\n    type: float\n    low: 0\n    high: 3\n"
    check("f.yaml:6: space.margin.high is 3; allowed: a number from 0 to 2", block)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.trials=0", "search.trials is 0; allowed: a whole number from 1 to 100000"),
        (
            "search.trails=9",
            "unknown key 'trails' in search; allowed: lag, objective, sampler, seed, startup_trials, stop_when_flat or "
            "trials; did you mean 'trials'?",
        ),
        ("trials=9", f"unknown key 'trials'; keys start with {TOP_KEYS}; did you mean 'search.trials'?"),
        ("lr=1", f"unknown key 'lr'; keys start with {TOP_KEYS}; did you mean 'space.lr'?"),
        ("serch.seed=9", f"unknown key 'serch.seed'; keys start with {TOP_KEYS}; did you mean 'search.seed'?"),
        ("qqq=9", f"unknown key 'qqq'; keys start with {TOP_KEYS}"),
        ("space.margn=1", "method psd has no hyper-parameter 'margn'; did you mean 'margin'?"),
        (
            "space.margin.low=1.5",
            "space.margin has low 1.5 and high 1; low must be below high (a fixed value is written margin: 1.5)",
        ),
        (
            "space.margin.high=0.01",
            "space.margin has low 0.05 and high 0.01; low must be below high (a fixed value is written margin: 0.05)",
        ),
        ("space.swap.low=1", "space.swap is True, which has no keys; set space.swap itself"),
        (
            "space.mining.values=[all]",
            "space.mining has no type; write for example mining: {type: choice, values: [all, hard]}",
        ),
        ("space.lr=fast", f"space.lr is 'fast'; allowed: a number from 1e-06 to 1{TEXT}"),
        ("space.lr=", "space.lr is empty; allowed: a number from 1e-06 to 1"),
        (
            "space.lr=[1",
            "not valid YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
        ),
        ("method=ecis", "method is 'ecis'; allowed: one of eics or psd; did you mean 'eics'?"),
        ("search.trials", "give key=value, for example --set search.trials=64"),
        ("=1", "give key=value, for example --set search.trials=64"),
        ("search..trials=1", "give key=value, for example --set search.trials=64"),
        (
            "validation={fraction: 0.2, folds: 3}",
            "validation has both folds and fraction (at --set validation={fraction: 0.2, folds: 3}); keep one",
        ),
    ],
)
def test_errors_of_an_override(override: str, message: str) -> None:
    text = "method: psd\nspace: {margin: {type: float, low: 0.05, high: 1.0}, swap: true}\n"
    check(f"--set {override}: {message}", text, override)


def test_an_override_can_make_the_file_wrong() -> None:
    check(
        "f.yaml:2: method eics has no hyper-parameter 'lr'; it has alpha", "method: psd\nspace: {lr: 1}", "method=eics"
    )


def test_long_values_are_cut() -> None:
    check(f"f.yaml:1: unknown key '{'k' * 77}...'; allowed: bench, {TOP_KEYS}", f"{'k' * 900}: 1")
    check(f"f.yaml:1: method is '{'x' * 76}...; allowed: one of eics or psd", f"method: {'x' * 90_000}")
