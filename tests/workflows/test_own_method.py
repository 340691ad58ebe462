"""A user's own method from the command line: found, searched in lanes, continued, evaluated; and every way to get it
wrong."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
import yaml
from command import call
from toy import write_toy
from user_code import method_search

from avtune.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"
SPEC = "own_method:CrossContrast"
SMALL = ["hidden_dim=8", "embedding_dim=4", "batch_size=16"]


def search(*words, method=SPEC):
    sizes = [f"space.{setting}" for setting in SMALL] + ["early_stopping.epochs=4", "early_stopping.grace=1"]
    sizes += ["search.trials=3", "final.finalists=1", "final.seeds=2", "final.reference=none"]
    sets = [word for size in sizes for word in ("--set", size)]
    named = ["--method", method] if method else []
    return ["search", "toy.h5", *named, *sets, "--runner", "inline", "--gpus", "0", "--name", "one", *words]


@pytest.fixture
def toy(workplace):
    write_toy(workplace)
    return workplace


def test_the_manual_holds_the_examples_word_for_word():
    manual = (EXAMPLES.parent / "docs" / "own_method.md").read_text()
    for name in ("own_method.py", "own_training.py", "own_training.yaml"):
        assert (EXAMPLES / name).read_text() in manual


def test_a_search_over_a_method_of_ones_own(toy, capsys, forget):
    printed = call(capsys, *search())
    assert f"method     {SPEC}; searches tau, w_pair, dropout, lr" in printed
    metrics = json.loads(Path("results/one/final/metrics.json").read_text())
    assert metrics["test"]["map"]["mean"] > metrics["untrained"]["map"]["mean"] + 0.05
    settings = yaml.safe_load(Path("results/one/study.yaml").read_text())
    assert settings["space"]["method"] == SPEC
    assert re.fullmatch(r"[0-9a-f]{64}", settings["code"]["sha256"])
    assert settings["code"]["option"] == "--method"
    forget()
    assert "finished" in call(capsys, *search())
    assert "changed since" not in call(capsys, *search())
    scores = json.loads(call(capsys, "evaluate", "one", "toy.h5", "--method", SPEC, "--json"))
    assert scores["map"] == pytest.approx(metrics["test"]["map"]["seeds"][0], abs=1e-9)
    again = ["retrain", "one", "--method", SPEC, "--trial", "0", "--seeds", "1", "--runner", "inline", "--gpus", "0"]
    assert "retrained trial 0" in call(capsys, *again)
    assert "own pair" in call(capsys, "retrieve", "one", "toy.h5", "--method", SPEC, "--query", "3", "--k", "24")
    call(capsys, "export", "one", "--to", "hub", "--out", "hub", "--method", SPEC)
    readme = Path("hub/README.md").read_text()
    assert "- own_method-CrossContrast" in readme
    assert f"needs method='{SPEC}'" in readme
    assert json.loads(call(capsys, "evaluate", "hub", "toy.h5", "--method", SPEC, "--json"))["map"] == scores["map"]


def test_no_file_can_name_code_to_run(toy, capsys, forget):
    call(capsys, *search())
    commands = [
        search(method=None),
        ["evaluate", "one", "toy.h5"],
        ["embed", "one", "toy.h5", "--out", "e.npz"],
        ["retrieve", "one", "toy.h5", "--query", "0"],
        ["export", "one", "--to", "hub", "--out", "hub"],
        ["retrain", "one", "--runner", "inline"],
    ]
    Path("trap.py").write_text("raise SystemExit('a file was followed')\n")
    Path("space.yaml").write_text("method: trap:Method\n")
    commands += [["search", "toy.h5", "--space", "space.yaml"], ["space", "check", "space.yaml"]]
    for words in commands:
        forget()
        printed = call(capsys, *words, code=2)
        assert "--method" in printed, words
        assert "only the command line" in printed
    assert "interrupted" not in call(capsys, "status", "one"), "the status needs no code"


def test_a_study_continues_with_its_method_named_again(toy, capsys, monkeypatch, forget):
    import avtune.runners.work as work

    train, calls = work.train, []

    def interrupted(*arguments, **more):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return train(*arguments, **more)

    monkeypatch.setattr(work, "train", interrupted)
    assert main(search()) == 143
    capsys.readouterr()
    assert f"--method {SPEC}" in call(capsys, "status", "one")
    forget()
    Path("own_method.py").write_text(Path("own_method.py").read_text() + "\n# another line\n")
    printed = call(capsys, *search())
    assert "continues" in printed
    assert "own_method:CrossContrast has changed since this study began" in printed
    assert "retrained winner" in printed


def test_another_method_than_the_files(toy, capsys):
    assert "is for the method 'triplet', not for own_method:CrossContrast" in call(
        capsys, *search("--space", "space.yaml"), code=2
    )
    call(capsys, *search())
    assert "not of psd" in call(capsys, *search(method="psd"), code=2)
    call(capsys, "search", "toy.h5", "--space", "space.yaml", "--name", "two", "--runner", "inline", "--gpus", "0")
    assert "leave --method" in call(capsys, "evaluate", "two", "toy.h5", "--method", SPEC, code=2)


def test_a_method_of_ours_by_name(toy, capsys):
    assert "method     clip; searches" in call(capsys, *search(method="clip"))
    assert "did you mean 'clip'" in call(capsys, *search("--name", "two", method="clipp"), code=2)


def test_the_space_made_for_a_method_can_be_edited_and_given(toy, capsys):
    shown = call(capsys, "space", "show", "--method", SPEC)
    space = yaml.safe_load(shown)
    assert space["space"]["w_pair"] == {"type": "float", "low": 0.01, "high": 10.0, "log": True}
    assert space["space"]["tau"] == {"type": "float", "low": 0.02, "high": 1.0, "log": True}
    assert space["space"]["hidden_dim"] == 512
    Path("mine.yaml").write_text(shown)
    assert call(capsys, "space", "show", "mine.yaml", "--method", SPEC) == shown
    assert "a legal space" in call(capsys, "space", "check", "mine.yaml", "--method", SPEC)
    assert "name a space" in call(capsys, "space", "check", code=2)


def test_methods_shows_ones_own(toy, capsys):
    printed = call(capsys, "methods", SPEC)
    assert "w_pair" in printed
    assert "Khosla" in printed
    assert "own_method" not in call(capsys, "methods", "psd")


WRONG = """
from avtune.methods import ClosedForm, Hyper, Method, TRAINING_HYPERS

class Whole(Method):
    name, summary, source = "whole", "does nothing", "nobody"
    hypers = (*TRAINING_HYPERS,)
    init = embed = loss = None

class Half(Method):
    def embed(self): ...
    def init(self): ...

class Nameless(Whole):
    hypers = [*TRAINING_HYPERS]

class Poor(Whole):
    hypers = (Hyper("tau", "float", 0.1, 0.0, 1.0),)

class Twice(Whole):
    hypers = (Hyper("lr", "float", 0.1, 0.0, 1.0), *TRAINING_HYPERS)

class Wordy(Whole):
    hypers = (Hyper("how", "choice", "a", values=("a", "b")), *TRAINING_HYPERS)

class Outside(Whole):
    hypers = (Hyper("tau", "float", 2.0, 0.0, 1.0), *TRAINING_HYPERS)

def train(config, data, report): ...
def short(config): ...
number = 3
"""


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("wrong", "no method is called"),
        ("wrong:", "module:name"),
        ("a b:C", "module:name"),
        (":C", "module:name"),
        ("wrng:Whole", "did you mean 'wrong'"),
        ("wrong.py:Whole", "did you mean 'wrong'"),
        ("no.such.place:Whole", "no module 'no.such.place'"),
        ("wrong:Whol", "did you mean 'Whole'"),
        ("wrong:Unlike", "it has Half, Nameless"),
        ("wrong:train", "a training function goes with --train"),
        ("wrong:number", "a int, not a subclass"),
        ("wrong:Half", "does not define loss, name, summary, source, hypers"),
        ("wrong:Nameless", "must be a tuple"),
        ("wrong:Poor", "lacks lr, weight_decay, batch_size"),
        ("wrong:Twice", "'lr' twice"),
        ("wrong:Wordy", "how is a choice and must have static=True"),
        ("wrong:Outside", "the default of tau is 2.0; allowed: a number from 0 to 1"),
        ("broken:Method", "ZeroDivisionError: division by zero (broken.py, line 2)"),
        ("garbled:Method", "SyntaxError"),
        ("needy:Method", "needy imports no_such_library, which is not installed"),
        ("leaving:Method", "SystemExit: 3 (leaving.py, line 2)"),
    ],
)
def test_a_wrong_method_gets_a_helpful_line(spec, said, workplace, capsys):
    Path("wrong.py").write_text(WRONG)
    Path("broken.py").write_text("\n1 / 0\n")
    Path("garbled.py").write_text("def f(:\n")
    Path("needy.py").write_text("import no_such_library\n")
    Path("leaving.py").write_text("\nraise SystemExit(3)\n")
    before = sorted(path.name for path in workplace.iterdir())
    assert said in call(capsys, "search", "demo", "--method", spec, code=2)
    assert sorted(path.name for path in workplace.iterdir()) == before


TAKEN = """
from dataclasses import replace
from avtune.methods import Hyper, Method, TRAINING_HYPERS

class Whole(Method):
    name, summary, source = "whole", "does nothing", "nobody"
    init = embed = loss = None

class Proxies(Whole):
    hypers = (*TRAINING_HYPERS[:-1], Hyper("per_class", "int", 4, 1, 64, static=True, doc="proxies of a class"))

class Pooled(Whole):
    hypers = (*TRAINING_HYPERS[:3], Hyper("average", "choice", "mean", values=("mean", "max"), static=True))

class Fixed(Whole):
    hypers = (*TRAINING_HYPERS[:2], Hyper("batch_size", "float", 8, 8, 64))

class Lone(Whole):
    hypers = tuple(hyper for hyper in TRAINING_HYPERS if hyper.name != "mixup_share")

class Warm(Whole):
    hypers = tuple(hyper for hyper in TRAINING_HYPERS if hyper.name != "lr_end")

class Wordy(Whole):
    hypers = (Hyper("embedding_dim", "choice", "wide", values=("wide", "small"), static=True), *TRAINING_HYPERS)

class Tuned(Whole):
    hypers = (
        Hyper("lr", "float", 1e-2, 1e-3, 0.1, doc="mine"),
        *(replace(hyper, default=4) if hyper.name == "per_class" else hyper for hyper in TRAINING_HYPERS[1:]),
    )
"""


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("taken:Proxies", "per_class is a name of avtune's own (clips of each class in a batch (balanced batches)"),
        ("taken:Pooled", "average is a name of avtune's own"),
        ("taken:Fixed", "batch_size is a name of avtune's own"),
        ("taken:Lone", "hypers has mixup without mixup_share; take both"),
        ("taken:Warm", "hypers has warmup without lr_end; take both"),
        ("taken:Wordy", "embedding_dim is a choice; it must be an int"),
    ],
)
def test_names_that_the_trainer_reads_are_taken(spec, said, workplace, capsys):
    Path("taken.py").write_text(TAKEN)
    assert said in call(capsys, "search", "demo", "--method", spec, code=2)


def test_what_is_avtunes_own_may_have_another_default(workplace, capsys):
    Path("taken.py").write_text(TAKEN)
    assert "per_class" in call(capsys, "methods", "taken:Tuned")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("wrong:Whole", "a method goes with --method"),
        ("wrong:number", "a int, not a function"),
        ("wrong:short", "is called as train(config, data, report), but: too many positional arguments"),
        ("wrong:trian", "did you mean 'train'"),
        ("wrong", "--train my_module:train"),
    ],
)
def test_a_wrong_training_function_gets_a_helpful_line(spec, said, workplace, capsys):
    Path("wrong.py").write_text(WRONG)
    assert said in call(capsys, "search", "demo", "--train", spec, code=2)


@pytest.mark.parametrize("spec", ["numpy:Mine", "json:Mine", "xml.mine:Mine", "sys:Mine"])
@pytest.mark.parametrize("option", ["--method", "--train"])
def test_a_module_with_the_name_of_an_installed_one_is_refused(option, spec, workplace, capsys):
    """It would not be the one that is imported."""
    path = Path(*spec.partition(":")[0].split(".")).with_suffix(".py")
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise RuntimeError('imported')\n")
    said = call(capsys, "search", "demo", option, spec, code=2)
    assert "has the name of another module, which Python imports in its place" in said
    assert "rename yours" in said


def test_a_package_of_ones_own_may_be_named(workplace, capsys):
    Path("my_methods").mkdir()
    Path("my_methods", "one.py").write_text(Path("own_method.py").read_text())
    assert "w_pair" in call(capsys, "methods", "my_methods.one:CrossContrast")


def test_a_module_that_an_own_one_cannot_have(workplace, capsys):
    """Its neighbour has the name of an installed package."""
    Path("yaml.py").write_text("x = 1\n")
    Path("mine.py").write_text("import yaml.parts\n")
    said = call(capsys, "methods", "mine:Method", code=2)
    assert "mine imports yaml.parts, and Python finds " in said
    assert said.rstrip().endswith("rename yours")


def test_the_current_folder_comes_last(workplace, capsys):
    before = list(sys.path)
    call(capsys, "methods", SPEC)
    assert sys.path == [*before, str(workplace)]


def test_code_of_ones_own_may_start_scripts(workplace, monkeypatch):
    """The variable that keeps the current folder out of a run's processes would reach them."""
    from avtune.engine import user_code
    from avtune.runners.ray.session import SETTINGS

    for value, kept in ((SETTINGS["PYTHONSAFEPATH"], None), ("1", "1")):
        monkeypatch.setenv("PYTHONSAFEPATH", value)
        user_code.restore([])
        assert os.environ["PYTHONSAFEPATH"] == value
        user_code.restore([("--method", SPEC, str(workplace))])
        assert os.environ.get("PYTHONSAFEPATH") == kept


@pytest.mark.ray
def test_engines_know_the_method(toy, capsys):
    """The folder of the command is no part of Python's path: the engines are told of it."""
    words = search("--deterministic")
    words[words.index("inline")] = "lanes"
    call(capsys, *words)
    lanes = json.loads(Path("results/one/final/metrics.json").read_text())
    assert Path("results/one/trials.csv").read_text().count("FAIL") == 0
    call(capsys, *search("--deterministic", "--results", "here"))
    inline = json.loads(Path("here/one/final/metrics.json").read_text())
    assert lanes["test"]["map"]["mean"] == pytest.approx(inline["test"]["map"]["mean"], abs=1e-4)


@pytest.mark.parametrize("runner", ["inline", "lanes"])
def test_a_method_that_breaks_the_contract_starts_nothing(runner, workplace, capsys):
    line = "print('noise'); return {'loss': next(iter(params.values())).mean()}"
    words = method_search(line)
    words[words.index("inline")] = runner
    printed = call(capsys, *words, code=2)
    assert (
        "--method my_method:Mine: loss gives a tensor of shape [] and float32 for 'loss'; it must be of shape [2]"
        in printed
    )
    assert "see docs/own_method.md" in printed
    assert not Path("results").exists()


def test_a_method_that_needs_more_clips_than_a_few_is_not_refused(workplace, capsys):
    line = "assert batch.labels.shape[1] > 16, 'a covariance needs more'"
    assert "retrained winner" in call(capsys, *method_search(line, "--set", "space.batch_size=24", "--trials", "1"))
