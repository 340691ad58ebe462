"""Optuna's browser-only page in a real browser: a journal dropped on it is the study that Optuna loads.

The page is in no package; CONTRIBUTING.md says how to build it.
"""

from __future__ import annotations

import functools
import http.server
import os
import threading
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from toy import SPACE, write_toy

from avtune.cli.main import main

PAGE = "AVTUNE_OPTUNA_PAGE"
MARGIN = "margin: {type: float, low: 0.1, high: 1.0"
CONDITION = ", when: {activation: tanh}}\n  activation: {type: choice, values: [tanh, relu]}"
CONDITIONAL = SPACE.replace(MARGIN + "}", MARGIN + CONDITION).replace("trials: 5", "trials: 12")
DROP = """text => {
    const dropped = new DataTransfer();
    dropped.items.add(new File([text], "journal.log"));
    return dropped;
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a line for each on standard error."""

    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="module")
def address():
    """The page behind a server of this machine: its reader is a module worker, which a file may not start."""
    folder = os.environ.get(PAGE)
    if folder is None:
        pytest.skip(f"${PAGE} does not name the folder of Optuna's page; see CONTRIBUTING.md")
    assert (Path(folder) / "index.html").is_file(), f"${PAGE} holds no index.html"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """Of a finished search with rungs, whose space has a condition: some trials have a parameter less."""
    place = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_toy(place)
        (place / "space.yaml").write_text(CONDITIONAL)
        command = ("search", "toy.h5", "--space", "space.yaml", "--runner", "inline", "--gpus", "0", "--name", "one")
        assert main(list(command)) == 0
    return place / "results" / "one" / "journal.log"


@pytest.fixture
def tab(chromium, address):
    """The page, opened; at the end it has asked for nothing but its own files, and nothing has gone wrong on it."""
    made, wrong = chromium.new_page(viewport={"width": 1440, "height": 1800}), []
    made.set_default_timeout(60_000)
    made.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("request", lambda asked: None if own(asked.url, address) else wrong.append(asked.url))
    made.goto(address)
    yield made
    made.close()
    assert wrong == []


def own(url, address):
    return url.startswith((address.rsplit("/", 1)[0], "blob:", "data:"))


def rows(tab):
    """The cells of the table of trials, as text."""
    tab.get_by_label("rows per page").or_(tab.locator("select")).first.select_option(label="All")
    return [line.locator("td").all_inner_texts() for line in tab.locator("tbody tr").all()]


def test_a_journal_dropped_on_the_page_is_the_study_that_optuna_loads(tab, journal):
    study = optuna.load_study(study_name="one", storage=JournalStorage(JournalFileBackend(str(journal))))
    dropped = tab.evaluate_handle(DROP, journal.read_text())
    tab.get_by_text("Drag your SQLite3").dispatch_event("drop", {"dataTransfer": dropped})
    tab.get_by_text("one").first.wait_for()
    tab.locator("a[href*='study/']").first.click()
    tab.locator("tbody tr").first.wait_for()
    tab.get_by_text("validation MAP").first.wait_for()  # the axis of the history is named
    shown = {int(cells[0]): cells for cells in rows(tab)}
    assert shown.keys() == {trial.number for trial in study.trials}
    assert {len(trial.params) for trial in study.trials} == {2, 3}, "trials with the margin, and without"
    for trial in study.trials:
        state, value, *rest = shown[trial.number][1:]
        assert state == {"COMPLETE": "Complete", "PRUNED": "Pruned"}[trial.state.name]
        assert float(value) == trial.value
        expected = [str(value) for value in trial.params.values()]
        expected += [str(value) for value in trial.user_attrs.values()]
        assert sorted(map(number, filter(None, rest))) == sorted(map(number, expected))


def number(cell):
    """A cell as a float where it is one: JavaScript writes 5.0 as 5."""
    try:
        return f"{float(cell)!r}"
    except ValueError:
        return cell
