"""Optuna's browser-only page reads the journal as Optuna does: its own reader, in Node.

The reader is a file of TypeScript in the repository of optuna-dashboard, `tslib/storage/src/journal.ts`, and in none of
its packages. CONTRIBUTING.md says how to get it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from test_study import drive, make_folder, make_space  # noqa: F401

from avtune.study.study import Study

READER = "AVTUNE_OPTUNA_READER"
READ = """
import {{ readFileSync }} from "node:fs";
import {{ JournalFileStorage }} from {reader};
const storage = new JournalFileStorage(readFileSync(process.argv[1]));
console.log(JSON.stringify({{ studies: await storage.getStudies(), errors: storage.getErrors() }}));
"""


@pytest.fixture
def read():
    """What the page makes of a journal: `studies`, and `errors` of lines that it cannot read."""
    reader, node = os.environ.get(READER), shutil.which("node")
    if reader is None:
        pytest.skip(f"${READER} does not name the reader of Optuna's page; see CONTRIBUTING.md")
    if node is None:
        pytest.skip("node is not on the PATH")

    def of(journal):
        code = READ.format(reader=json.dumps(Path(reader).resolve().as_uri()))
        command = [node, "--input-type=module", "--eval", code, str(journal)]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return of


def searched(folder):
    """A study with a choice, rungs, a trial that failed twice, one that failed and was trained again, and one that has
    not ended."""
    text = "x: {type: float, low: 1.0e-3, high: 1.0, log: true}, kind: {type: choice, values: [a, b, c]}"
    space = make_space(text)
    study = Study(folder, space)
    for number in range(2):
        study.ask()
        study.tell(number, f"trial {number} broke")
    drive(study, most=30)
    study.close()
    study = Study(folder, space)
    drive(study, lanes=2)
    study.retry_failed()
    study.ask()
    study.tell(0, "it broke again")
    drive(study)
    study.close()
    longer = Study(folder, make_space(text, trials=13))
    longer.ask()
    longer.close()
    return folder.journal


def test_the_page_reads_what_optuna_reads(make_folder, read):  # noqa: F811
    journal = searched(make_folder())
    found = read(journal)
    assert found["errors"] == []
    (page,) = found["studies"]
    study = optuna.load_study(study_name="one", storage=JournalStorage(JournalFileBackend(str(journal))))
    assert (page["name"], page["directions"]) == ("one", ["maximize"])
    assert page["metric_names"] == study.metric_names == ["validation MAP"]
    assert len(page["trials"]) == len(study.trials) > 13
    assert {trial.state.name for trial in study.trials} == {"COMPLETE", "PRUNED", "FAIL", "RUNNING"}
    for shown, trial in zip(page["trials"], study.trials, strict=True):
        assert (shown["number"], shown["state"].upper()) == (trial.number, trial.state.name)
        no_value = shown.get("values") in (None, [None])  # Optuna begins a trial with `"value": null`
        assert no_value if trial.values is None else shown["values"] == trial.values
        assert {one["step"]: one["value"] for one in shown["intermediate_values"]} == trial.intermediate_values
        params = {one["name"]: one["param_external_value"] for one in shown["params"]}
        assert params | {"x": float(params["x"])} == trial.params
        told = {one["key"]: str(one["value"]) for one in shown["user_attrs"]}
        assert told.keys() == trial.user_attrs.keys()
        for name, value in trial.user_attrs.items():
            assert told[name] == value if isinstance(value, str) else float(told[name]) == value
    assert {one["name"] for one in page["union_search_space"]} == {"x", "kind"}
    assert page["union_search_space"] == page["intersection_search_space"]
