"""Space files: what is read, overrides, names of files. Errors and properties have test files of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper
from avtune.space import files
from avtune.space.axis import Axis
from avtune.space.parse import parse as parse_space
from avtune.space.settings import EarlyStopping, Final, SearchSettings, Validation
from avtune.space.space import Space

PSD = (
    Hyper("margin", "float", 0.2, 0.0, 2.0),
    Hyper("lr", "float", 1e-3, 1e-6, 1.0),
    Hyper("batch_size", "int", 256, 2, 4096, static=True),
    Hyper("mining", "choice", "all", values=("all", "hard")),
    Hyper("swap", "bool", False),
)
METHODS = {"psd": {hyper.name: hyper for hyper in PSD}, "eics": {"alpha": Hyper("alpha", "float", 1.0, 0.0, 10.0)}}

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


def test_the_parts_of_a_space() -> None:
    got = parse(GOOD)
    assert got == Space(
        method="psd",
        axes=(
            Axis("margin", "float", 0.05, 1.0),
            Axis("lr", "float", 1e-5, 1e-2, log=True),
            Axis("batch_size", "choice", values=(256, 512)),
        ),
        fixed={"swap": True, "mining": "all"},
        search=SearchSettings("random", 40, 7),
        early_stopping=EarlyStopping(epochs=27),
        validation=Validation(0.2),
        final=Final(3, 5),
    )
    assert got.defaults() == {"margin": 0.2, "lr": 1e-3, "batch_size": 256, "swap": True, "mining": "all"}
    assert got.distributions() == {
        "margin": optuna.distributions.FloatDistribution(0.05, 1.0),
        "lr": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True),
        "batch_size": optuna.distributions.CategoricalDistribution((256, 512)),
    }


def test_values_take_the_type_of_the_hyper_parameter() -> None:
    got = parse("method: psd\nspace: {margin: 1, batch_size: 64.0, lr: {type: choice, values: [1, 1e-2]}}")
    assert type(got.fixed["margin"]) is float
    assert type(got.fixed["batch_size"]) is int
    assert got.axes[0].values == (1.0, 0.01)
    assert all(type(value) is float for value in got.axes[0].values)


def test_the_order_of_the_file_does_not_matter() -> None:
    assert parse(
        "space: {lr: {type: float, low: 0.1, high: 1}, margin: {type: float, low: 0, high: 1}}\nmethod: psd"
    ) == parse("method: psd\nspace: {margin: {type: float, low: 0, high: 1}, lr: {type: float, low: 0.1, high: 1}}")


def test_a_minimal_file_is_one_configuration_and_says_so() -> None:
    got = parse("method: psd\nspace:\nsearch:\n")
    assert got.axes == ()
    assert got.fixed == {hyper.name: hyper.default for hyper in PSD}
    assert got.notes() == ["nothing is searched: there is one configuration for 200 trials"]
    assert parse("method: psd", "search.trials=1", "final.finalists=1").notes() == []


def test_notes_name_settings_without_effect() -> None:
    text = "method: psd\nspace: {margin: {type: float, low: 0.5, high: 1}}\nearly_stopping: {epochs: 9, grace: 9}"
    assert parse(text).notes() == [
        "the method's default margin 0.2 lies outside the searched values",
        "no trial is stopped early: early_stopping.grace 9 is not below epochs 9",
    ]


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        (
            "{trials: 5}",
            "no suggestion sees a result, configurations that are not known beforehand are drawn at random: "
            "search.startup_trials 10 is not below trials 5",
        ),
        ("{trials: 12, sampler: random}", None),
        ("{trials: 12}", "no suggestion sees a result: search.lag 16 is not below trials 12"),
        ("{trials: 12, lag: 4}", None),
        ("{trials: 2, sampler: random}", "every trial is a finalist: final.finalists 3 is more than trials 2"),
    ],
)
def test_notes_name_numbers_that_exclude_each_other(settings: str, note: str | None) -> None:
    made = parse(f"method: psd\nspace: {{margin: {{type: float, low: 0, high: 1}}}}\nsearch: {settings}")
    assert made.notes(deterministic=True) == ([note] if note else [])


def test_an_axis_may_lack_what_is_optional() -> None:
    axes = parse(
        "method: psd\n"
        "space: {batch_size: {type: int, low: 32, high: 512, step: 32}, swap: {type: choice, values: [true, false]}}"
    ).axes
    assert axes == (Axis("batch_size", "int", 32, 512, step=32), Axis("swap", "choice", values=(True, False)))
    assert axes[0].distribution() == optuna.distributions.IntDistribution(32, 512, step=32)
    assert [axes[0].contains(value) for value in (32, 96, 100, 512, 544)] == [True, True, False, True, False]


@pytest.mark.parametrize(
    ("override", "change"),
    [
        ("search.trials=64", "search.trials: 40 -> 64"),
        ("search.sampler=tpe", "search.sampler: random -> tpe"),
        ("space.margin.low=1e-1", "space.margin.low: 0.05 -> 0.1"),
        ("space.lr=1e-3", "space.lr: {type: float, low: 1.0e-05, high: 0.01, log: true} -> 0.001"),
        (
            "space.mining={type: choice, values: [all, hard]}",
            "space.mining: all -> {type: choice, values: [all, hard]}",
        ),
        ("validation.folds=5", "validation: {fraction: 0.2} -> {folds: 5}"),
        ("final={seeds: 2}", "final.seeds: 5 -> 2"),
        (" search.seed = 1", "search.seed: 7 -> 1"),
    ],
)
def test_an_override_changes_one_thing(override: str, change: str) -> None:
    assert parse(GOOD).difference(parse(GOOD, override)) == [change]


def test_the_last_override_wins() -> None:
    assert parse(GOOD, "search.seed=1", "search.seed=2").search.seed == 2
    assert parse(GOOD, "validation.folds=5", "validation.fraction=0.3").validation == Validation(0.3)
    file = "method: psd\nvalidation: {fraction: 0.3}"
    assert parse(file, "validation.folds=4").validation == Validation(None, 4)
    assert parse(GOOD, "space.margin.low=0.9", "space.margin=0.5").fixed["margin"] == 0.5
    assert parse("method: eics", "method=psd").method == "psd"


def test_difference_is_empty_for_equals_and_short_for_another_method() -> None:
    assert parse(GOOD).difference(parse(GOOD)) == []
    eics = parse(
        "method: eics", "search.sampler=random", "search.trials=40", "search.seed=7", "early_stopping.epochs=27"
    )
    assert parse(GOOD).difference(eics) == ["method: psd -> eics"]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two spaces, and a working directory elsewhere."""
    folder = tmp_path / "checkout" / "search_spaces"
    for path in (folder / "datasets" / "ave.yaml", folder / "methods" / "vegas.yaml"):
        path.parent.mkdir(parents=True)
        path.write_text(GOOD)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "checkout" / "avtune" / "space" / "files.py"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def load(name: str | Path, *overrides: str) -> Space:
    return files.load(name, hypers_of=METHODS.__getitem__, method_names=METHODS, overrides=overrides)


def test_find_takes_paths_and_names(shipped: Path) -> None:
    assert files.names() == ["ave", "vegas"]
    assert files.find("ave") == shipped / "datasets" / "ave.yaml"
    assert files.find(str(shipped / "methods" / "vegas.yaml")) == shipped / "methods" / "vegas.yaml"
    Path("ave").mkdir()  # a folder of that name is not a space file
    assert files.find("ave") == shipped / "datasets" / "ave.yaml"
    assert load("ave", "search.seed=3").search.seed == 3


def test_the_names_inside_the_package_come_first(shipped: Path) -> None:
    inside = shipped.parent / "avtune" / "search_spaces" / "datasets"
    inside.mkdir(parents=True)
    (inside / "ave.yaml").write_text(GOOD)
    assert files.find("ave") == inside / "ave.yaml"


@pytest.mark.parametrize("name", ["vegsa", "x/y.yaml", "", ".", "a\0b", "a" * 5000, "/dev/null"])
def test_find_names_what_there_is(shipped: Path, name: str) -> None:
    with pytest.raises(UserError, match="give the path of one, or a name: ave or vegas") as caught:
        files.find(name)
    assert len(str(caught.value)) < 250


def test_find_suggests_names_and_files_beside(shipped: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'vegas'"):
        files.find("vegsa")
    Path("mine.yaml").write_text(GOOD)
    with pytest.raises(UserError, match=r"did you mean 'mine\.yaml'"):
        files.find("mien.yaml")


def test_load_names_the_file_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"method: psd\nspace: {margin: 9}\n")
    with pytest.raises(UserError, match=rf"^{path}:2: space\.margin is 9"):
        load(path)
    path.write_bytes(b"method: psd\n# \xff\n")
    with pytest.raises(UserError, match=rf"^{path}:2: not UTF-8"):
        load(path)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(UserError, match=rf"^{path}: larger than"):
        load(path)


def test_torch_and_ray_are_not_imported() -> None:
    code = "import sys, avtune.space.files; print(sorted({'torch', 'ray', 'numpy.random'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" not in done.stdout
    assert "ray" not in done.stdout


def test_the_spaces_that_come_with_avtune_lie_where_they_are_for_and_have_names_of_their_own() -> None:
    root = Path(__file__).parents[2] / "search_spaces"
    paths = sorted(root.rglob("*.yaml"))
    assert {path.stem for path in (root / "datasets").glob("*.yaml")} == {"demo", "ave", "vegas"}
    assert sorted(path.stem for path in paths) == files.names()
    for path in (root / "methods").glob("*.yaml"):
        assert f"\nmethod: {path.stem}\n" in path.read_text()
    assert {path.parent.parent for path in paths} == {root}
    assert {path.parent.name for path in paths} == {"datasets", "methods", "wide"}
