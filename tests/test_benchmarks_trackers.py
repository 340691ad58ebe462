"""The benchmark of trackers, without its searches: addresses that are dead or silent, and its report."""

import argparse
import importlib
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks import trackers


def test_the_client_meets_nobody_where_nobody_listens_and_silence_at_the_other(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    with trackers._mlflow(tmp_path, real=False), trackers._silent() as silent:
        importlib.invalidate_caches()
        client = importlib.import_module("mlflow").MlflowClient
        with pytest.raises(ConnectionRefusedError):
            client(f"http://127.0.0.1:{trackers._closed_port()}")
        monkeypatch.setattr("socket.socket.recv", lambda one, size: (_ for _ in ()).throw(TimeoutError))
        with pytest.raises(TimeoutError):  # it was connected, and waits
            client(f"http://127.0.0.1:{silent.port}")
        assert (silent.taken(), silent.taken()) == (1, 0)
    monkeypatch.delitem(sys.modules, "mlflow")


def test_the_report_has_the_differences_round_by_round():
    search = trackers.Search
    found = {
        "no tracker": [search(5.0, 4.0, 0, 0), search(6.0, 4.2, 0, 0)],
        "nobody listens": [search(5.5, 4.1, 2, 0), search(6.0, 4.3, 1, 0)],
        "never answers": [search(4.0, 4.0, 0, 1), search(7.0, 4.2, 0, 1)],
    }
    given = argparse.Namespace(rounds=2, trials=3, epochs=4)
    claim, about, table = trackers._sections(found, given, "MLflow")
    assert "- nobody listens: +0.1000 ± 0.0000 s of processor time more than 4.10 s" in claim
    assert "- never answers: 0 s of processor time" in claim
    assert "tracked with MLflow" in about
    assert "| nobody listens | 5.75 (5.50 to 6.00) | 4.20 (4.10 to 4.30) | +0.25 (+0.00 to +0.50) |" in table
    assert "| 0, 2 |" in table
