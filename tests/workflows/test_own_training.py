"""A user's own training function: the example from the manual, and what happens when one does not keep to it. Long:
every way in which one may fail is here once."""

import contextlib
import json
import random
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command import call
from toy import toy_prepared, write_toy

from avtune.cli.main import main
from avtune.core.errors import UserError
from avtune.core.objective import MAP, objective
from avtune.core.trial import Trial
from avtune.data import load
from avtune.engine.function_trainer import train_function
from avtune.metrics import retrieval_scores
from avtune.runners.placement import PlacementRequest
from avtune.space.free import free_hypers
from avtune.space.yaml_lines import read
from avtune.study.folder import StudyFolder
from avtune.workflows.retrain import RetrainRequest, SilentRetrain, retrain

SPEC = "own_training:train"
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def toy(workplace):
    write_toy(workplace)
    return workplace


def search(*words, runner="inline"):
    sets = [
        "search.trials=4",
        "early_stopping.epochs=4",
        "space.batch_size=16",
        "final.seeds=2",
        "final.reference=none",
    ]
    words = [word for setting in sets for word in ("--set", setting)] + list(words)
    start = ["search", "toy.h5", "--train", SPEC, "--space", "own_training.yaml", "--gpus", "0", "--name", "one"]
    return [*start, *(["--runner", runner] if runner else []), *words]


def test_the_example_is_searched_retrained_and_scored(toy, capsys, forget):
    printed = call(capsys, *search())
    assert f"method     {SPEC}; searches lr, w_pair, width" in printed
    assert "retrained winner" in printed
    assert "untrained network" not in printed
    final = Path("results/one/final")
    metrics = json.loads((final / "metrics.json").read_text())
    assert metrics["test"]["map"]["mean"] > 0.6
    assert 0.3 < metrics["default"]["map"]["mean"] < 1
    scores = json.loads(call(capsys, "evaluate", "--embeddings", final / "test_embeddings.npz", "--json"))
    assert scores["map"] == pytest.approx(metrics["test"]["map"]["seeds"][0], abs=1e-9)
    card = (final / "MODEL_CARD.md").read_text()
    assert "a training function of its user's" in card
    assert "test embeddings in this folder" in card
    assert SPEC in Path("results/one/report.html").read_text()
    forget()
    assert "finished" in call(capsys, *search())
    assert "evaluate --embeddings" in call(capsys, "evaluate", "one", "toy.h5", code=2)
    again = ["retrain", "one", "--train", SPEC, "--trial", "1", "--seeds", "1", "--gpus", "0"]
    assert "retrained trial 1" in call(capsys, *again, "--runner", "inline")
    forget()
    assert "--train" in call(capsys, *again[:2], *again[4:], "--runner", "inline", code=2)


def test_a_function_that_the_process_knows_is_retrained_as_one_though_the_request_does_not_name_it(toy, capsys):
    call(capsys, *search("--no-default", "--set", "search.trials=1"))
    folder = StudyFolder(Path("results/one"))
    request = RetrainRequest(folder, load("toy.h5"), PlacementRequest(gpus=0), trial=0)
    assert request.function
    with pytest.raises(UserError, match="a training function goes with processes"):
        retrain(replace(request, runner="lanes"), SilentRetrain())


def test_a_search_is_the_same_twice(toy, capsys):
    call(capsys, *search("--deterministic"))
    call(capsys, *search("--deterministic", "--results", "other"))
    one, two = (json.loads(Path(at, "one/final/metrics.json").read_text()) for at in ("results", "other"))
    assert one["test"] == two["test"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runner", "lanes"], "processes (default) or inline"),
        (["--set", "validation.folds=3"], "validation.folds goes with methods"),
        (["--protocol", "published"], "goes with methods"),
        (["--precision", "bf16"], "--precision goes with methods"),
        (["--method", "psd"], "not allowed with"),
        (["--set", "space.lr.low=1.0"], "low must be below high"),
    ],
)
def test_what_does_not_go_with_a_training_function(words, said, toy, capsys):
    assert said in call(capsys, *search(*words, runner=None), code=2)
    assert not Path("results").exists()


def test_a_training_function_needs_a_space(toy, capsys):
    assert "needs --space FILE" in call(capsys, "search", "toy.h5", "--train", SPEC, code=2)


def axes(text):
    return free_hypers(read(text, lambda line: f"s.yaml:{line}").value)


def test_the_default_is_the_middle_of_every_axis():
    made, fixed = axes(
        "a: {type: float, low: 1.0, high: 3.0}\nb: {type: float, low: 1e-4, high: 1e-2, log: true}\n"
        "c: {type: int, low: 2, high: 9}\nd: {type: float, low: 0.0, high: 1.0, step: 0.25}\n"
        "e: {type: choice, values: [x, y]}\nf: {type: choice, values: [true, false]}\n"
        "g: {type: choice, values: [4, 8]}\n"
        "h: {type: choice, values: [0.5, 2]}\ni: 7\nj: word\nk: true\nl: {type: int, low: 1, high: 100, log: true}\n"
    )
    default = {axis.name: axis.default for axis in made}
    assert default == {
        "a": 2.0, "b": pytest.approx(1e-3), "c": 6, "d": 0.5, "e": "x", "f": True, "g": 4, "h": 0.5, "l": 10
    }  # fmt: skip
    assert isinstance(default["c"], int)
    assert all(axis.contains(axis.default) for axis in made)
    assert fixed == {"i": 7, "j": "word", "k": True}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seconds: 1", "cannot name a hyper-parameter"),
        ("a-b: 1", "cannot name a hyper-parameter"),
        ("log10_lr: 1", "cannot name a hyper-parameter"),
        ("a: [1, 2]", "a is a list"),
        ("a:", "a is empty"),
        ("a: {low: 1, high: 2}", "a is no axis"),
        ("a: {type: flaot, low: 1, high: 2}", "a is no axis"),
        ("a: {type: float, low: 1}", "a is no axis"),
        ("a: {type: choice, values: []}", "a is no axis"),
        ("a: {type: choice, values: [1, x]}", "values is 1, 'x'; allowed: numbers only, words only, or true and false"),
        ("a: {type: choice, values: [0.1, null]}", "values is 0.1, null; allowed: numbers only"),
        ("a: {type: choice, values: [null]}", "'none' for null"),
        ("a: {type: choice, values: [1, 1]}", "twice"),
        ("a: {type: float, low: 2, high: 1}", "low must be below high"),
        ("a: {type: float, low: 0, high: 1, log: true}", "above 0"),
        ("a: {type: float, low: 0, high: 1, stop: 1}", "unknown key 'stop'"),
    ],
)
def test_wrong_axes_are_refused_by_their_line(text, said):
    with pytest.raises(UserError, match=r"s\.yaml:1") as caught:
        axes(text)
    assert said in str(caught.value)


def test_the_stored_space_is_read_again_as_it_was(toy, capsys):
    call(capsys, *search())
    settings = yaml.safe_load(Path("results/one/study.yaml").read_text())
    assert settings["space"]["space"]["width"] == {"type": "choice", "values": [16, 64]}
    assert "search.trials: 4 -> 5" in call(capsys, *search("--set", "search.trials=5"))


def run(function, epochs=3, stop_after=99, unlabelled=False, goal=MAP):
    """What `report` heard of a training function, and what it returned."""
    heard = []

    def report(epoch, metrics):
        heard.append((epoch, metrics))
        return epoch < stop_after

    data = replace(toy_prepared(), objective=goal)
    if unlabelled:
        data = replace(data, validation=None, unlabelled=(data.validation.audio, data.validation.visual))
    return heard, train_function(function, Trial(0, "mine:train", {"a": 1}, 5, epochs), data, report, device="cpu")


def first_columns(audio, visual):
    return audio[:, :3], visual[:, :3]


def loop(config, data, report, *, epochs=None, embed=first_columns, metrics=None, answer=True):
    for epoch in range(1, (epochs or data.epochs) + 1):
        if not report(epoch, data.scores(embed) if metrics is None else metrics) and answer:
            break
    return embed


def test_a_function_reports_every_epoch_and_time_is_kept():
    heard, embedded = run(loop)
    assert [epoch for epoch, _ in heard] == [1, 2, 3]
    assert all(metrics["seconds"] > 0 and 0 < metrics["val_map"] < 1 for _, metrics in heard)
    assert embedded is None
    heard, embedded = run(loop, unlabelled=True)
    assert embedded[0].shape == (48, 3)
    assert "val_map" not in heard[0][1]


def test_a_function_reports_what_the_search_maximises():
    goal = objective("ndcg")
    heard, _ = run(loop, goal=goal)
    data = toy_prepared().validation
    score = retrieval_scores(*first_columns(data.audio, data.visual), data.labels, objective=goal)
    assert heard[0][1]["val_objective"] == score.objective
    assert heard[0][1]["val_map"] == score.map
    with pytest.raises(UserError, match="reported no val_objective"):
        run(lambda config, data, report: report(1, {"val_map": 0.5}), goal=goal)


def test_a_function_is_told_to_stop():
    heard, _ = run(loop, stop_after=2)
    assert [epoch for epoch, _ in heard] == [1, 2]


def test_seeds_are_set_and_the_configuration_is_the_functions_own():
    seen = []

    def draws(config, data, report):
        seen.append((config.pop("a"), data.seed, random.random(), np.random.rand(), float(torch.rand(()))))  # noqa: NPY002
        return loop(config, data, report)

    run(draws)
    run(draws)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"epochs": 2}, "ended after epoch 2 of 3 without being told to"),
        ({"epochs": 4, "answer": False}, "reported epoch 4 after epoch 3 of 3"),
        ({"metrics": {"loss": 1.0}}, "reported no val_map"),
        ({"metrics": {"val_map": "high"}}, "the metric val_map is 'high'"),
        ({"metrics": 0.5}, "reported float; report(epoch, metrics) takes a dict"),
        ({"embed": lambda a, v: (a[:5], v[:5])}, "for 48 clips"),
        ({"embed": lambda a, v: a}, "must return two arrays"),
        ({"embed": lambda a, v: (a[:, 0], v[:, 0])}, "both must be"),
        ({"embed": lambda a, v: (a * np.nan, a)}, "not finite"),
    ],
)
def test_a_function_that_does_not_keep_to_the_manual_fails(more, said):
    with pytest.raises(UserError, match=re.escape(said)):
        run(lambda config, data, report: loop(config, data, report, **more))


def test_the_callers_generators_are_left_as_they_were():
    """A program that searches in its own process goes on with its own random numbers."""

    def drawn():
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    def seed():
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        torch.manual_seed(5)

    def draws(config, data, report):
        drawn()
        return loop(config, data, report)

    seed()
    wanted = drawn()
    seed()
    run(draws)
    assert drawn() == wanted


def test_a_function_that_trains_on_after_false_fails():
    with pytest.raises(
        UserError, match="reported epoch 2 after epoch 1 of 3, for which report returned False; end the"
    ):
        run(lambda config, data, report: loop(config, data, report, answer=False), stop_after=1)


def test_a_function_that_catches_what_report_raises_fails_all_the_same():
    def stubborn(config, data, report):
        for epoch in (1, 3, 2, 3):
            with contextlib.suppress(Exception):
                report(epoch, data.scores(first_columns))
        return first_columns

    with pytest.raises(UserError, match="reported epoch 3 after epoch 1 of 3; report every epoch once"):
        run(stubborn)


@pytest.mark.parametrize("stop_after", [1, 99])
def test_a_function_must_return_embed_also_when_it_is_stopped(stop_after):
    with pytest.raises(UserError, match="returned tuple; it must return embed"):
        run(lambda config, data, report: (loop(config, data, report),), stop_after=stop_after)


def scales_with_numpy(rows):
    rows *= 0.5


def scales_with_torch(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that the array is read-only, and writes
        torch.from_numpy(rows).mul_(0.5)


@pytest.mark.parametrize(("scale", "raises"), [(scales_with_numpy, True), (scales_with_torch, False)])
@pytest.mark.parametrize("which", ["train", "validation", "unlabelled"])
def test_a_function_cannot_change_what_later_trials_read(scale, raises, which):
    data = toy_prepared()
    held_out = data.validation
    if which == "unlabelled":
        data = replace(data, validation=None, unlabelled=(held_out.audio, held_out.visual))
    before = [rows.copy() for rows in (data.train.audio, held_out.audio, held_out.visual)]

    def embed(audio, visual):
        if which == "unlabelled":
            scale(audio)
            scale(visual)
        return first_columns(audio, visual)

    def writes(config, given, report):
        if which != "unlabelled":
            scale(getattr(given, which).audio)
            scale(getattr(given, which).visual)
        return loop(config, given, report, embed=embed)

    with pytest.raises(ValueError, match="read-only") if raises else contextlib.nullcontext():
        train_function(writes, Trial(0, "mine:train", {}, 5, 2), data, lambda *_: True, device="cpu")
    after = (data.train.audio, held_out.audio, held_out.visual)
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_rows_that_are_not_this_processs_own_are_not_copied():
    data = toy_prepared()
    data.train.audio.flags.writeable = False  # as Ray hands them to a trial's process

    def look(config, given, report):
        assert np.shares_memory(given.train.audio, data.train.audio)
        assert not np.shares_memory(given.train.visual, data.train.visual)
        return loop(config, given, report)

    train_function(look, Trial(0, "mine:train", {}, 5, 1), data, lambda *_: True, device="cpu")


def test_an_embedding_may_be_of_bfloat16():
    def halves(audio, visual):
        return tuple(torch.tensor(view[:, :3]).bfloat16() for view in (audio, visual))

    _, (z_a, _) = run(lambda config, data, report: loop(config, data, report, embed=halves), unlabelled=True)
    assert z_a.dtype == np.float32
    assert np.array_equal(z_a, torch.tensor(z_a).bfloat16().float().numpy())


def test_a_function_must_return_embed():
    with pytest.raises(UserError, match=r"returned NoneType; it must return embed\(audio, visual\)"):
        run(lambda config, data, report: loop(config, data, report) and None)


def test_a_function_cannot_skip_an_epoch():
    with pytest.raises(UserError, match="reported epoch 3 after epoch 1 of 3"):
        run(lambda config, data, report: [report(epoch, data.scores(first_columns)) for epoch in (1, 3)])


def test_a_function_that_raises_fails_its_trials_with_its_own_words(toy, capsys):
    Path("own_training.py").write_text("def train(config, data, report):\n    raise RuntimeError('out of luck')\n")
    assert main(search()) == 1
    assert "every trial failed; the first: RuntimeError: out of luck" in capsys.readouterr().err
    assert "own_training.py" in Path("results/one/log.txt").read_text()


COMMANDS = re.findall(r"^avtune (.+?)(?: +#.*)?$", (EXAMPLES.parent / "docs" / "own_method.md").read_text(), re.M)
SMALL = ["--trials", "2", "--runner", "inline", "--gpus", "0"]
SMALL += [
    word
    for setting in ("early_stopping.epochs=2", "final.seeds=1", "final.reference=none")
    for word in ("--set", setting)
]


@pytest.fixture
def every_warning():
    """Torch says some things once a process."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


def test_the_manuals_commands_run_as_they_stand_without_a_warning(workplace, capsys, every_warning):
    assert len(COMMANDS) == 6
    for command in COMMANDS:
        words = command.split()
        call(capsys, *words, *(SMALL if words[0] == "search" else []))
    for name in ("contrast", "linear"):
        assert "FAIL" not in Path("results", name, "trials.csv").read_text()
        assert not Path("results", name, "output").exists()


def test_a_metric_may_be_a_tensor_with_a_gradient(every_warning):
    loss = torch.ones((), requires_grad=True) * 2
    heard, _ = run(lambda config, data, report: loop(config, data, report, metrics={"loss": loss, "val_map": 0.5}))
    assert heard[0][1]["loss"] == 2.0


def test_more_epochs_are_another_study_of_a_function_whose_schedule_is_its_own(toy, capsys):
    call(capsys, *search())
    assert "early_stopping.epochs: 4 -> 8" in call(capsys, *search("--epochs", "8"), code=2)
