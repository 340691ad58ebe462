"""What we use of Optuna that it does not promise to keep: each test fails when Optuna changes it."""

import inspect
import json
import logging

import optuna
import pytest
from optuna.trial import TrialState

from avtune.space.axis import Axis
from avtune.space.space import Space
from avtune.study import optuna_private
from avtune.study.optuna_private import Tpe, takes_gamma
from avtune.study.window import _rank

SPACE = Space("toy", (Axis("x", "float", 0.0, 1.0),), {})
AXES = SPACE.distributions()


@pytest.fixture
def without_gamma(monkeypatch):
    """An Optuna whose TPE has no such argument any more."""

    def init(self, *, seed, n_startup_trials, multivariate, constant_liar):
        kept(self, seed=seed, n_startup_trials=n_startup_trials, multivariate=multivariate, constant_liar=constant_liar)

    kept = optuna.samplers.TPESampler.__init__
    monkeypatch.setattr(optuna.samplers.TPESampler, "__init__", init)
    takes_gamma.cache_clear()
    yield
    takes_gamma.cache_clear()


def test_tpe_still_takes_the_share_of_good_trials_and_asks_it(monkeypatch):
    """When this fails, look for what has taken its place: without it, TPE counts twice as many trials as good."""
    assert "gamma" in inspect.signature(optuna.samplers.TPESampler.__init__).parameters
    study = optuna.create_study(direction="maximize", sampler=Tpe(SPACE, seed=0, startup_trials=2))
    for number in range(4):
        study.tell(study.ask(AXES), float(number))
    asked = []
    monkeypatch.setattr(optuna_private, "good_trials", lambda ended: asked.append(ended) or 1)
    study.sampler = Tpe(SPACE, seed=0, startup_trials=2)
    study.ask(AXES)
    assert asked == [4]


def test_without_it_tpe_goes_on_with_optunas_share_and_says_so_once(without_gamma, caplog):
    with caplog.at_level(logging.WARNING, logger=optuna_private.__name__):
        study = optuna.create_study(direction="maximize", sampler=Tpe(SPACE, seed=0, startup_trials=1))
        study.tell(study.ask(AXES), 0.5)
        study.sampler = Tpe(SPACE, seed=1, startup_trials=1)
        assert 0.0 <= study.ask(AXES).params["x"] <= 1.0
    assert len([record for record in caplog.records if "gamma" in record.message]) == 1


def test_the_windows_order_of_trials_is_tpes():
    """`test_window.py` compares which trials count as good; this one the whole order."""
    study = optuna.create_study(direction="maximize")
    for number in range(12):
        trial = study.ask(AXES)
        trial.report((number * 5 % 7) / 10, (1, 3, 9)[number % 3])
        whole = number % 4 == 0
        study.tell(trial, (number * 3 % 5) / 10 if whole else None, state=None if whole else TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False)
    ours = sorted(trials, key=lambda trial: (*_rank(trial), trial.number))
    split = optuna.samplers._tpe.sampler._split_trials
    for count in range(len(trials) + 1):
        good = split(study, trials, count)[0]
        assert {trial.number for trial in good} == {trial.number for trial in ours[:count]}


def test_optuna_reads_a_journal_that_is_one_json_object_a_line(tmp_path):
    """`study.journal` writes the lines itself: these are the very ones that Optuna's backend writes."""
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    logs = [{"op_code": 0, "name": "é", "value": None}, {"op_code": 1, "values": [0.5, 1e-9]}]
    backend.append_logs(logs)
    lines = (tmp_path / "journal").read_text().splitlines()
    assert lines == [json.dumps(log, separators=(",", ":")) for log in logs]
    assert list(backend.read_logs(0)) == logs
