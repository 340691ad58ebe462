"""The study against small functions of the epoch; no training. Long: its whole contract is here."""

import csv
import json
import math
import random
from dataclasses import replace

import pytest
import torch

from avtune.core.errors import UserError
from avtune.core.files import read_lines
from avtune.core.hyper import Hyper
from avtune.core.trained_on import TrainedOn
from avtune.runners.work import save_weights
from avtune.space.parse import parse
from avtune.study.folder import StudyFolder
from avtune.study.status import read_status
from avtune.study.study import Study

HYPERS = {
    "x": Hyper("x", "float", 0.5, 0.0, 1.0),
    "kind": Hyper("kind", "choice", "a", values=("a", "b", "c"), static=True),
    "fixed": Hyper("fixed", "int", 3, 1, 9),
}


def make_space(text="x: {type: float, low: 0.0, high: 1.0}", *, trials=12, **search):
    lines = "".join(f", {name}: {value}" for name, value in search.items())
    return parse(
        f"method: toy\nspace: {{{text}}}\nsearch: {{trials: {trials}, seed: 3{lines}}}\n"
        "early_stopping: {epochs: 9, grace: 1, factor: 3}",
        file="toy.yaml",
        hypers_of=lambda name: HYPERS,
        method_names=["toy"],
    )


@pytest.fixture
def make_folder(tmp_path):
    def make(name="one", space=None):
        folder = StudyFolder(tmp_path / name)
        settings = {"format": 1, "dataset": {"name": "toy", "digest": ""}, "space": (space or make_space()).as_dict()}
        settings |= {"deterministic": False, "precision": "fp32"}
        folder.create(settings, {})
        return folder

    return make


def value_of(trial, epoch):
    """Rises with x and with the epoch."""
    return round(trial.config["x"] * 0.5 + 0.04 * epoch, 6)


def drive(study, *, lanes=1, draw=None, most=10**6):
    """Runs `lanes` trials at a time, in turns or in random order, for at most `most` epochs."""
    running = {}
    spent = 0
    while True:
        while len(running) < lanes and (trial := study.ask()) is not None:
            running[trial.number] = (trial, 0)
        if not running or spent >= most:
            return spent
        number = draw.choice(sorted(running)) if draw else min(running)
        trial, epoch = running[number]
        epoch += 1
        spent += 1
        metrics = {"val_map": value_of(trial, epoch), "seconds": 0.5, "loss": 1.0}
        if study.report(number, epoch, metrics) and epoch < trial.epochs:
            running[number] = (trial, epoch)
        else:
            study.tell(number)
            del running[number]


def outcome(study):
    return [(r.state, r.values, r.trial.config) for r in study.records]


def test_a_search_ends_with_every_trial_ended(make_folder):
    study = Study(make_folder(), make_space())
    drive(study)
    assert study.exhausted
    assert study.ask() is None
    assert study.count("COMPLETE") + study.count("PRUNED") == 12
    assert study.count("PRUNED") > 0
    for record in study.records:
        assert len(record.values) == (9 if record.state == "COMPLETE" else max(record.values))
        assert record.state == "COMPLETE" or max(record.values) in (1, 3)
    assert study.best.best_value == max(r.best_value for r in study.records)


def test_what_is_maximised_decides_and_names_the_column(make_folder):
    space = make_space(trials=2, objective='"map@r"')
    study = Study(make_folder(space=space), space)
    for number, other in enumerate((0.2, 0.3)):
        trial = study.ask()
        assert study.report(trial.number, 1, {"val_map": 0.9 - other, "val_objective": other})
        assert study.report(trial.number, 2, {"val_map": 0.9, "val_objective": other / 2}) is not None
        study.tell(number)
    assert (study.best.number, study.best.best_value, study.best.best_epoch) == (1, 0.3, 1)
    study.close()
    assert study.folder.trials_csv.read_text().startswith("trial,state,epochs,best_epoch,val_map@r,x")
    status = read_status(study.folder)
    assert (status["objective"], status["best"]) == ("map@r", {"trial": 1, "epoch": 1, "val_objective": 0.3})
    again = Study(study.folder, space)
    assert [list(record.values) for record in again.records] == [list(record.values) for record in study.records]
    assert again.best.number == 1


@pytest.mark.parametrize(("trials", "random", "place"), [(12, 4, 4), (5, 4, 4), (4, 4, 0), (3, 4, 0), (12, 0, 0)])
def test_the_default_configuration_comes_once_after_the_random_ones(make_folder, trials, random, place):
    space = make_space(trials=trials, startup_trials=random)
    study = Study(make_folder(space=space), space)
    configs = [study.ask().config for _ in range(trials)]
    assert [config == {"x": 0.5, "kind": "a", "fixed": 3} for config in configs].index(True) == place
    assert sum(config["x"] == 0.5 for config in configs) == 1


def test_a_short_search_that_is_made_longer_has_it_once(make_folder):
    folder = make_folder()
    first = Study(folder, make_space(trials=3))
    shorter = [first.ask().config["x"] for _ in range(3)]
    first.close()
    longer = Study(folder, make_space(trials=12))
    assert [longer.ask().config["x"] for _ in range(12)].count(0.5) == shorter.count(0.5) == 1


def test_trials_have_seeds_of_their_own_and_the_same_again(make_folder):
    first, second = Study(make_folder("a"), make_space()), Study(make_folder("b"), make_space())
    ours, theirs = [[replace(study.ask(), lane_file=None) for _ in range(5)] for study in (first, second)]
    assert ours == theirs
    assert len({trial.seed for trial in ours}) == 5


@pytest.mark.parametrize("there", ["its own", "another's", ""])
def test_a_trial_killed_before_its_weights_were_written_is_trained_again(make_folder, there):
    folder = make_folder()
    study = Study(folder, make_space(), checkpoints=True)
    trial = study.ask()
    for epoch in range(1, 10):
        assert study.report(trial.number, epoch, {"val_map": 0.1 * epoch})
    if there:
        folder.checkpoints.mkdir()
        left = trial if there == "its own" else replace(trial, seed=trial.seed + 1)
        save_weights(left, {"w": torch.ones(1)}, {}, 9)
    again = Study(folder, make_space(), checkpoints=True)
    assert again.records[0].state == ("COMPLETE" if there == "its own" else "RUNNING")
    number = again.ask().number
    assert number == (1 if there == "its own" else 0)
    if there != "its own":
        assert again.report(0, 9, {"val_map": 0.5}), "it goes on, to its weights"
        again.tell(0)
        assert (again.records[0].state, again.best.best_value) == ("COMPLETE", pytest.approx(0.9))


def test_the_best_epoch_is_the_first_with_the_highest_value(make_folder):
    study = Study(make_folder(), make_space())
    trial = study.ask()
    for epoch, value in enumerate([0.1, 0.5, 0.5, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2], 1):
        study.report(trial.number, epoch, {"val_map": value})
    study.tell(trial.number)
    assert (study.best.best_epoch, study.best.best_value) == (2, 0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, None, "0.5", True, [0.5]])
def test_an_odd_metric_value_fails_the_trial_and_not_the_study(make_folder, bad):
    study = Study(make_folder(), make_space())
    trial = study.ask()
    assert study.report(trial.number, 1, {"val_map": bad}) is False
    assert study.records[0].state == "FAIL"
    assert "val_map" in study.records[0].reason
    drive(study)
    assert study.exhausted
    assert study.count("FAIL") == 1


def test_a_missing_metric_fails_the_trial(make_folder):
    study = Study(make_folder(), make_space())
    assert study.report(study.ask().number, 1, {"loss": 1.0}) is False
    assert study.records[0].state == "FAIL"


def test_a_failure_says_why_and_the_details_go_to_the_log(make_folder):
    study = Study(make_folder(), make_space())
    study.tell(study.ask().number, "it burned", "Traceback: flames")
    assert (study.records[0].state, study.records[0].reason) == ("FAIL", "it burned")
    assert "flames" in study.folder.log.read_text()


def test_a_trial_that_ends_without_a_result_fails(make_folder):
    study = Study(make_folder(), make_space())
    study.tell(study.ask().number)
    assert study.records[0].state == "FAIL"


def test_reports_and_tells_again_change_nothing(make_folder):
    study = Study(make_folder(), make_space())
    drive(study)
    before, lines = outcome(study), study.folder.curves.read_text()
    for record in study.records:
        study.report(record.number, 1, {"val_map": 0.99})
        study.tell(record.number, "late")
    assert outcome(study) == before
    assert study.folder.curves.read_text() == lines


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("spent", [0, 1, 7, 20, 33])
def test_a_continued_study_loses_nothing(make_folder, lanes, spent):
    folder = make_folder()
    first = Study(folder, make_space())
    drive(first, lanes=lanes, most=spent)
    before = [r for r in first.records if r.state != "RUNNING"]
    second = Study(folder, make_space())
    again = [second.records[r.number] for r in before]
    assert [(r.state, r.values, r.reason) for r in again] == [(r.state, r.values, r.reason) for r in before]
    drive(second, lanes=lanes)
    assert second.exhausted
    assert [r.number for r in second.records] == list(range(12))
    records, _ = read_lines(folder.curves, repair=False)
    epochs = [(line["trial"], line["epoch"]) for line in records if "epoch" in line]
    ends = [line["trial"] for line in records if "state" in line]
    assert len(epochs) == len(set(epochs))
    assert sorted(ends) == list(range(12))


def test_one_at_a_time_a_continued_study_is_the_undisturbed_one(make_folder):
    whole = Study(make_folder("whole"), make_space())
    drive(whole)
    folder = make_folder("parts")
    for _ in range(30):
        study = Study(folder, make_space())
        drive(study, most=11)
    assert outcome(study) == outcome(whole)


@pytest.mark.parametrize("seed", range(6))
def test_deterministic_mode_does_not_depend_on_speed_or_number_of_lanes(make_folder, seed):
    space = make_space(trials=20, lag=4, startup_trials=3)
    reference = Study(make_folder("reference"), space, deterministic=True)
    drive(reference)
    draw = random.Random(seed)
    study = Study(make_folder("other"), space, deterministic=True)
    drive(study, lanes=draw.randint(2, 6), draw=draw)
    assert study.exhausted
    assert outcome(study) == outcome(reference)
    assert study.best.number == reference.best.number


@pytest.mark.parametrize("seed", range(4))
def test_deterministic_mode_survives_interruptions(make_folder, seed):
    space = make_space(trials=15, lag=4, startup_trials=3)
    reference = Study(make_folder("reference"), space, deterministic=True)
    drive(reference)
    draw = random.Random(seed)
    folder = make_folder("other")
    for _ in range(200):
        study = Study(folder, space, deterministic=True)
        drive(study, lanes=draw.randint(1, 5), draw=draw, most=draw.randint(1, 25))
        if study.exhausted:
            break
    assert study.exhausted
    assert outcome(study) == outcome(reference)


@pytest.mark.parametrize("seed", range(8))
def test_deterministic_mode_given_more_epochs_in_steps_decides_as_if_it_had_them_from_the_beginning(make_folder, seed):
    def space(epochs):
        made = make_space(trials=20, lag=3, startup_trials=3, sampler="random")
        stopping = replace(made.early_stopping, epochs=epochs, factor=2, schedule=2 if epochs > 2 else None)
        return replace(made, early_stopping=stopping)

    reference = Study(make_folder("reference"), space(9), deterministic=True)
    drive(reference)
    draw = random.Random(seed)
    folder = make_folder("other")
    for epochs in (2, 3, 4, 5, 9):
        most = 10**6 if epochs == 9 else draw.choice([draw.randint(1, 60), 10**6])  # a kill, or none
        study = Study(folder, space(epochs), deterministic=True)
        drive(study, lanes=draw.randint(1, 5), draw=draw, most=most)
    assert study.exhausted
    assert outcome(study) == outcome(reference)
    assert outcome(Study(folder, space(9), deterministic=True)) == outcome(reference)


def test_what_holds_only_with_more_epochs_is_written_after_the_caller_has_kept_them(make_folder):
    """The further rung at epoch 2 stops trials that were complete."""

    def space(epochs):
        made = make_space(trials=20, lag=3, startup_trials=3, sampler="random")
        stopping = replace(made.early_stopping, epochs=epochs, factor=2, schedule=2 if epochs > 2 else None)
        return replace(made, early_stopping=stopping)

    def kept(study):
        assert len(study.records) == 20
        seen.append(folder.curves.read_bytes())

    def refuse(study):
        raise UserError("cannot be kept")

    folder, seen = make_folder(), []
    drive(Study(folder, space(2), deterministic=True))
    before = folder.curves.read_bytes()
    with pytest.raises(UserError, match="cannot be kept"):
        Study(folder, space(4), deterministic=True, before_writing=refuse)
    assert folder.curves.read_bytes() == before
    Study(folder, space(4), deterministic=True, before_writing=kept)
    assert seen == [before]
    assert len(folder.curves.read_bytes()) > len(before)


def test_a_trial_says_where_it_was_trained_when_that_changes(make_folder):
    study = Study(make_folder(), make_space())
    here, there = TrainedOn("CPU", "engine 0"), TrainedOn("GPU 1", "engine 3", "10.0.0.2")

    def epochs(study, *given):
        for epoch, where in given:
            if where is not None:
                study.trained_on(0, where)
            study.report(0, epoch, {"val_map": 0.1 * epoch})

    study.ask()
    epochs(study, (1, here), (2, None), (3, here), (4, there))
    study.ask()
    study.report(1, 1, {"val_map": 0.1})  # by a runner that does not say
    study.close()
    lines, _ = read_lines(study.folder.curves, repair=False)
    said = {(line["trial"], line["epoch"]): line["on"] for line in lines if "on" in line}
    assert said == {
        (0, 1): {"device": "CPU", "engine": "engine 0"},
        (0, 4): {"device": "GPU 1", "engine": "engine 3", "node": "10.0.0.2"},
    }
    again = Study(study.folder, make_space())
    assert again.records[0].places == study.records[0].places == [(1, here), (4, there)]
    assert again.records[1].places == []
    epochs(again, (5, there), (6, here))
    assert again.records[0].places == [(1, here), (4, there), (6, here)]
    again.records[0].stop(4)
    assert again.records[0].places == [(1, here), (4, there)], "what it trained since does not count"


@pytest.mark.parametrize("on", ["engine 0", {}, {"device": 1}, {"device": "CPU", "core": "3"}])
def test_a_line_with_a_device_that_is_none_is_damaged(make_folder, on):
    study = Study(make_folder(), make_space())
    study.ask()
    study.folder.add_curve_line({"trial": 0, "epoch": 1, "val_map": 0.5, "on": on})
    study.close()
    with pytest.raises(UserError, match=r"line 1 is damaged \(it does not say where the epoch was trained\)"):
        Study(study.folder, make_space())


def test_a_torn_last_line_is_cut_off_and_said(make_folder):
    folder = make_folder()
    study = Study(folder, make_space())
    drive(study, most=20)
    for path in (folder.curves, folder.journal):
        data = path.read_bytes()
        path.write_bytes(data[:-5])
    again = Study(folder, make_space())
    assert again.repaired
    drive(again)
    assert again.exhausted
    assert sorted(r.number for r in again.records) == list(range(12))
    assert not Study(folder, make_space()).repaired


def test_a_damaged_line_inside_is_an_error_that_names_it(make_folder):
    folder = make_folder()
    drive(Study(folder, make_space()))
    lines = folder.curves.read_text().splitlines()
    lines[2] = "{nonsense"
    folder.curves.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="line 3"):
        Study(folder, make_space())


def test_a_finite_space_is_searched_once_through(make_folder):
    space = make_space("kind: {type: choice, values: [a, b, c]}, fixed: {type: int, low: 1, high: 2}", trials=50)
    study = Study(make_folder(), space)
    seen = []
    while (trial := study.ask()) is not None:
        seen.append((trial.config["kind"], trial.config["fixed"]))
        study.report(trial.number, 1, {"val_map": 0.1})
        study.tell(trial.number)
    assert sorted(seen) == [(kind, fixed) for kind in "abc" for fixed in (1, 2)]
    assert study.exhausted


def test_more_trials_may_be_asked_for_later(make_folder):
    folder = make_folder()
    first = Study(folder, make_space(trials=5))
    drive(first)
    second = Study(folder, make_space(trials=9))
    assert not second.exhausted
    drive(second)
    assert outcome(second)[:5] == outcome(first)
    assert len(second.records) == 9


def test_trials_csv_has_a_row_a_configuration(make_folder):
    study = Study(make_folder(), make_space())
    drive(study)
    study.close()
    with study.folder.trials_csv.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == list(range(12))
    for row, record in zip(rows, study.records, strict=True):
        assert row["state"] == record.state
        assert float(row["val_map"]) == pytest.approx(record.best_value, abs=1e-6)
        assert int(row["epochs"]) == max(record.values)
        assert int(row["best_epoch"]) == record.best_epoch
        assert float(row["x"]) == record.trial.config["x"]
        assert (row["kind"], row["fixed"]) == ("a", "3")
        assert float(row["seconds"]) == pytest.approx(0.5 * len(record.values))


def test_the_journal_is_an_ordinary_optuna_study(make_folder):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    study = Study(make_folder(), make_space())
    drive(study)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(study.folder.journal)))
    loaded = optuna.load_study(study_name=study.folder.root.name, storage=storage)
    assert [trial.state.name for trial in loaded.trials] == [record.state for record in study.records]
    complete = [record.best_value for record in study.records if record.state == "COMPLETE"]
    assert loaded.best_value == max(complete)


@pytest.mark.parametrize("name", ["avtune", "some other name"])
def test_a_study_that_was_renamed_goes_on(make_folder, tmp_path, name):
    """Its journal keeps the name that it had; those of before say `avtune`."""
    whole = Study(make_folder("whole"), make_space())
    drive(whole)
    study = Study(make_folder(), make_space())
    drive(study, most=7)
    moved = StudyFolder(tmp_path / "moved")
    study.folder.root.rename(moved.root)
    journal = moved.journal.read_text()
    assert journal.count(f'"study_name":"{study.folder.root.name}"') == 1
    moved.journal.write_text(journal.replace(f'"study_name":"{study.folder.root.name}"', f'"study_name":"{name}"'))
    again = Study(moved, make_space())
    drive(again)
    assert outcome(again) == outcome(whole)
    assert moved.journal.read_text().count("study_name") == 1


@pytest.mark.parametrize("line", [b'{"op_code": 4, "wor\x00\x00er"}', b"\xff\xfe", b"\0" * 30])
def test_a_journal_whose_last_line_is_damaged_is_refused_when_it_is_opened(make_folder, line):
    """Optuna reads over such a line as long as it is the last."""
    folder = make_folder()
    study = Study(folder, make_space("x: {type: float, low: 0.1, high: 1.0}"))
    drive(study, most=3)
    study.close()
    whole = folder.journal.read_bytes()
    folder.journal.write_bytes(whole + line + b"\n")
    with pytest.raises(UserError, match=r"journal\.log is damaged .*; restore it from a copy"):
        Study(folder, make_space("x: {type: float, low: 0.1, high: 1.0}"))
    folder.journal.write_bytes(whole)
    Study(folder, make_space("x: {type: float, low: 0.1, high: 1.0}")).close()


def test_a_journal_of_two_studies_is_damaged(make_folder):
    study = Study(make_folder(), make_space())
    drive(study, most=2)
    first = study.folder.journal.read_text().splitlines()[0]
    with study.folder.journal.open("a") as file:
        file.write(first.replace(study.folder.root.name, "two") + "\n")
    with pytest.raises(UserError, match="it holds 2 studies"):
        Study(study.folder, make_space())


def test_listeners_hear_everything_once(make_folder):
    class Ear:
        def __init__(self):
            self.heard = []

        def started(self, record):
            self.heard.append(("started", record.number))

        def epoch(self, record, epoch, metrics):
            self.heard.append(("epoch", record.number, epoch))

        def ended(self, record):
            self.heard.append(("ended", record.number))

    ear = Ear()
    study = Study(make_folder(), make_space(), listeners=[ear])
    drive(study, lanes=3)
    assert len(ear.heard) == len(set(ear.heard))
    assert sum(event[0] == "ended" for event in ear.heard) == 12
    assert sum(event[0] == "epoch" for event in ear.heard) == sum(len(r.values) for r in study.records)


def test_status_reads_without_changing_anything(make_folder):
    folder = make_folder()
    study = Study(folder, make_space())
    drive(study, most=25)
    with folder.curves.open("a") as file:
        file.write('{"trial": 3, "ep')
    before = folder.curves.read_bytes()
    status = read_status(folder)
    assert folder.curves.read_bytes() == before
    assert status["states"]["COMPLETE"] == study.count("COMPLETE")
    assert status["states"]["PRUNED"] == study.count("PRUNED")
    assert status["best"] == {
        "trial": study.best.number,
        "epoch": study.best.best_epoch,
        "val_map": study.best.best_value,
    }
    assert json.dumps(status)


def test_two_owners_are_refused(make_folder):
    folder = make_folder()
    with folder.locked(), pytest.raises(UserError, match="another avtune"), folder.locked():
        pass
    with folder.locked():
        pass


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="is no study"):
        StudyFolder(tmp_path / "one").create({}, {})
    assert (tmp_path / "one" / "letter.txt").read_text() == "dear"


def test_a_line_on_the_machines_is_in_the_log_and_for_who_watches(make_folder):
    watched = []
    study = Study(make_folder(), make_space(), noted=watched.append)
    study.note("4 trials at a time")
    study.note("node n2 has joined the cluster", shown=True)
    study.close()
    assert watched == ["node n2 has joined the cluster"]
    log = study.folder.log.read_text()
    assert "4 trials at a time" in log
    assert "node n2 has joined the cluster" in log
