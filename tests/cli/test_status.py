"""`avtune status`: a study seen from another terminal, while it runs, in its finals, and afterwards."""

import contextlib
import json
import os
from pathlib import Path

import pytest
from command import call
from terminal import terminal
from toy import SPACE, toy_dataset

from avtune.cli import status
from avtune.cli.live import Region
from avtune.cli.main import main
from avtune.cli.watching import Watching
from avtune.core.files import append_line, to_yaml
from avtune.core.run_key import run_key
from avtune.finals.select import candidates, repeat_trials
from avtune.methods import hypers_of
from avtune.space.parse import parse
from avtune.study.best import Best, Finalist, write_best
from avtune.study.folder import StudyFolder
from avtune.study.study import Study
from avtune.workflows.open_study import basis_of

assert terminal  # a fixture
DATASET = {"name": "toy", "digest": toy_dataset().digest, "spec": "toy.h5"}
SETTINGS = {"format": 1, "dataset": DATASET, "precision": "fp32", "deterministic": False, "rows": 45}
PLACES = {"runner": "lanes", "placement": "4 at a time on the CPU: 2 engines of 2 lanes"}


def make_space():
    return parse(SPACE, file="toy.yaml", hypers_of=hypers_of, method_names=["triplet"])


@pytest.fixture
def study(tmp_path, monkeypatch):
    """One that has begun, in `results/one`."""
    monkeypatch.chdir(tmp_path)
    folder = StudyFolder(Path("results/one"))
    folder.create({**SETTINGS, **PLACES, "space": make_space().as_dict()}, {})
    made = Study(folder, make_space())
    yield made
    made.close()


def train(study, count):
    """Trains the next trials, each to its end."""
    for _ in range(count):
        trial = study.ask()
        epoch = 1
        while study.report(trial.number, epoch, {"val_map": 0.1 + trial.number / 10, "seconds": 2.0}) and epoch < 6:
            epoch += 1
        study.tell(trial.number)


@pytest.fixture
def driver(study, monkeypatch):
    """Somebody trains a trial between two looks, until there is none; then the study is let go."""
    held = contextlib.ExitStack()
    held.enter_context(study.folder.locked())
    drawn, start = [], Region.start
    monkeypatch.setattr(Region, "start", lambda self, refresh=False: (drawn.append(self), start(self))[1])

    def between(seconds):
        for region in drawn:
            region.refresh()
        if study.exhausted:
            held.close()
        else:
            train(study, 1)

    monkeypatch.setattr(status.time, "sleep", between)
    yield
    held.close()


def test_a_search_that_runs_is_shown_until_it_ends(study, driver, terminal):
    screen = terminal(60, 24)
    assert status_of("one") == 0
    lines = screen.lines
    assert max(map(len, lines)) <= 60
    text = "\n".join(lines)
    for ended in range(6):
        assert f"trials     {ended} of 5 ended" in text
    assert "4 lanes busy" in text
    shown = screen.screen()
    assert shown[0].startswith("study ")
    assert "trials     5 of 5 ended (5 complete)" in shown
    assert any(line.startswith("interrupted; to continue:") for line in shown)


def status_of(*words):
    return main(["status", *words, "--results", "results"])


def test_how_to_continue_names_the_cluster_or_the_job_of_slurm(study, capsys):
    def hint():
        assert status_of("one", "--once") == 0
        return capsys.readouterr().out.splitlines()[-1].partition("to continue: ")[2]

    alone = hint()
    assert alone == f"avtune search toy.h5 --name one --results {study.folder.root.parent}"
    for placement in (
        "4 at a time on 2 GPUs of the cluster at 10.0.0.5:6379: 2 engines of 2 lanes",
        "2 at a time on the CPU of the cluster at 10.0.0.5:6379, 2 threads each",
    ):
        settings = study.folder.settings() | {"placement": placement}
        study.folder.study_yaml.write_text(to_yaml(settings))
        assert hint() == f"{alone} --cluster 10.0.0.5:6379"
    script = Path("results/slurm/one.sh")
    script.parent.mkdir()
    script.touch()
    assert hint() == f"sbatch {script.absolute()}", "the address was that of the job's own Ray"


def test_where_every_trial_failed_it_says_why_and_how_to_go_on(study, capsys):
    for count in range(5):
        study.tell(study.ask().number, f"no room for {count}")
    assert status_of("one") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "every trial failed; the first: no room for 0",
        "once the cause is mended: avtune search toy.h5 --name one --results "
        f"{study.folder.root.parent} --retry-failed",
    ]


def test_all_studies_are_watched_elsewhere_too(study, capsys, monkeypatch):
    looks = iter([lambda: None, lambda: train(study, 1), lambda: None])

    def slept(seconds):
        try:
            next(looks)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(status.time, "sleep", slept)
    assert status_of("--watch") == 0
    told = [line[9:] for line in capsys.readouterr().out.splitlines()]
    assert told[0].startswith("one ")
    assert told[0].endswith(", 0/5 trials")
    assert told[1].endswith(", 1/5 trials, val MAP 0.1000")
    assert len(told) == 2


def test_elsewhere_a_line_says_what_has_changed(study, driver, capsys):
    assert status_of("one", "--watch") == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line[9:] for line in lines if "trials ended" in line]
    assert [line[:21] for line in told] == [f"{count} of 5 trials ended, " for count in range(6)]
    assert "best val MAP 0.5000 (trial 4)" in told[-1]


@pytest.mark.parametrize("words", [["--once"], ["--json"]])
def test_once_is_one_look(words, study, driver, terminal):
    train(study, 2)
    screen = terminal()
    assert status_of("one", *words) == 0
    text = "\n".join(screen.lines)
    assert "running now: process" in text if words == ["--once"] else json.loads(text)["states"]["COMPLETE"] == 2
    assert len(study.records) == 2, "nobody has waited"


def test_ctrl_c_is_how_one_stops_looking(study, driver, terminal, monkeypatch):
    def pressed(seconds):
        raise KeyboardInterrupt

    screen = terminal()
    monkeypatch.setattr(status.time, "sleep", pressed)
    assert status_of("one") == 0
    assert status_of("--watch") == 0
    assert screen.raw.count(b"\x1b[?25l") == screen.raw.count(b"\x1b[?25h") == 2


def test_watching_and_json_do_not_go_together(study, capsys):
    assert "--json is one look" in call(capsys, "status", "one", "--watch", "--json", code=2)


def test_all_studies_are_listed_at_any_width(study, terminal):
    train(study, 2)
    screen = terminal(40, 24)
    assert status_of() == 0
    assert screen.screen()[:5] == [
        "study one",
        "  dataset   toy",
        "  method    triplet",
        "  state     interrupted",
        "  trials    2/5",
    ]


def test_a_retraining_is_no_search_at_work(study, capsys):
    train(study, 2)
    study.ask()
    with study.folder.locked("retraining trial 0"):
        assert status_of("one", "--once") == 0
        out = capsys.readouterr().out
        assert f"running now: process {os.getpid()} on {os.uname().nodename} is retraining trial 0" in out
        assert "1 interrupted" in out
        assert "time left" not in out
        assert "\ninterrupted; to continue: " in out
        assert status_of("--once") == 0
        assert "interrupted" in capsys.readouterr().out
        assert status_of("one", "--json") == 0
        assert json.loads(capsys.readouterr().out)["running"] is None


def test_the_finals_are_counted_by_their_runs(study):
    """The runs on record have names, which follow from the study's files."""
    space, folder = make_space(), study.folder
    train(study, 5)
    with folder.locked():
        watching = Watching(folder)
        runs = repeat_trials(candidates(study.ranking(), space), study.horizon, "fp32", basis_of(space, toy_dataset()))
        assert len(runs) == (2 + 1) * 2, "two finalists and the default, which is in neither"
        for count, run in enumerate([None, *runs]):
            if run is not None:
                curve = {str(epoch): 0.5 for epoch in range(1, 7)}
                append_line(folder.repeats, {"run": run_key(run), "curve": curve, "seconds": 12.0})
            stage = watching.view().stage
            if count < len(runs):
                assert stage.text == f"finalists: {count} of 6 runs done"
        assert stage.text == "finalists whose curves still rise: 0 runs done"
        append_line(folder.repeats, {"run": "f" * 24, "curve": {"1": 0.5}, "seconds": 1.0})
        assert watching.view().stage.text == "finalists whose curves still rise: 1 run done"
        winner = Finalist(4, 6, 0.5, 0.1, is_default=False)
        config = dict(study.records[4].trial.config)
        write_best(folder, Best(4, 6, 0.5, config, (winner,), 6))
        for count in range(4):
            assert watching.view().stage.text == f"retraining: {count} of 4 runs done"
            assert Watching(folder).view().stage.text == f"retraining: {count} of 4 runs done"
            append_line(folder.repeats, {"run": str(count) * 24, "curve": {}, "seconds": 1.0})
        seen = watching.view()
        assert seen.left.finals is not None
    assert watching.view().stage is not None
    assert Watching(folder).view().stage is None, "nobody works on it"


def test_without_the_row_of_the_default_there_are_fewer_runs(study):
    train(study, 5)
    text = study.folder.study_yaml.read_text()
    assert "seeds: 2" in text
    study.folder.study_yaml.write_text(text.replace("seeds: 2", "seeds: 2\n    default: false", 1))
    with study.folder.locked():
        append_line(study.folder.repeats, {"run": "f" * 24, "curve": {"1": 0.5}, "seconds": 1.0})
        assert Watching(study.folder).view().stage.text == "finalists: 0 of 4 runs done"
        winner = Finalist(4, 6, 0.5, 0.1, is_default=False)
        write_best(study.folder, Best(4, 6, 0.5, dict(study.records[4].trial.config), (winner,), 6))
        append_line(study.folder.repeats, {"run": "e" * 24, "curve": {}, "seconds": 1.0})
        assert Watching(study.folder).view().stage.text == "retraining: 1 of 2 runs done"


def test_a_method_of_the_users_own_needs_no_code(study, capsys):
    train(study, 5)
    settings = study.folder.study_yaml.read_text().replace("method: triplet", "method: mine:Method")
    study.folder.study_yaml.write_text(settings)
    with study.folder.locked():
        append_line(study.folder.repeats, {"run": "a" * 24, "curve": {"1": 0.5}, "seconds": 1.0})
        assert Watching(study.folder).view().stage.text == "finalists: 1 run done"
        assert status_of("one", "--once") == 0
    assert "finals     finalists: 1 run done" in capsys.readouterr().out
