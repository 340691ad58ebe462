"""The report page as a file: what it holds, how large it is, what it lets in, and when it is written."""

import random
import re
import time

import pytest
from made_studies import made_study, payload_of, space_of
from toy import write_toy

from avtune.cli.main import main
from avtune.report.page import page
from avtune.report.page_payload import as_script
from avtune.report.page_trials import WHOLE
from avtune.study.folder import StudyFolder
from avtune.study.record import Record, Training
from avtune.study.study import Study
from avtune.workflows import write_report as writing


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made_study(tmp_path_factory.mktemp("page") / "one", space_of(20), fails=(4,))


def test_the_same_files_give_the_same_page(study):
    assert page(study, None, None) == page(Study(study.folder, study.space), None, None)


def test_names_of_users_stay_text(tmp_path):
    name = "<b>&'</script><script>alert(1)</script>".replace("/", "\N{FRACTION SLASH}")
    study = made_study(tmp_path / name, space_of(6), fails=(2,))
    html = page(study, None, None)
    outside = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    for tag in ("<b>", "<script", "</script"):
        assert tag not in outside
    assert html.count("<script") == html.count("</script>") == 3
    payload = payload_of(html)
    assert "</script><b>c</b>" in payload["trials"]["axes"][2]["choices"]
    assert payload["trials"]["reasons"]["2"] == "it <b>failed</b>"


def test_nothing_in_the_data_ends_its_element():
    text = as_script({"<!--": "</script>", "&": "\u2028\u2029]]>"})
    assert not set(text) & set("<>&\u2028\u2029")


def test_it_loads_nothing(study):
    html = page(study, None, None)
    assert "default-src 'none'" in html
    scripts = re.findall(r"<script[^>]*>.*?</script>", html, flags=re.DOTALL)
    assert [re.match(r"<script([^>]*)>", script).group(1) for script in scripts][1:] == ["", ""]
    outside = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r"<(?:img|iframe|link|source|video|audio|object|embed)\b", outside)
    assert not re.search(r"url\((?!#)|@import", outside)
    assert not re.search(r"fetch\(|XMLHttpRequest|sendBeacon|WebSocket|import\(", scripts[2])


def test_without_scripts_it_has_the_result_the_curves_and_the_best_trials(study):
    html = page(study, None, None)
    assert html.index('<h2 id="h-verdict">') < html.index("<svg") < html.index('<table id="trials">')
    assert "best so far is trial" in html
    assert html.count("<noscript>") == 1
    assert html.rstrip().endswith("</html>")


def test_every_chart_has_a_text_and_every_heading_is_named(study):
    html = page(study, None, None)
    charts = re.findall(r'<div class="chart"[^>]*>', html)
    assert len(charts) == 9
    assert all(re.search(r'role="img" aria-label="[^"]{20,}"', chart) for chart in charts)
    for name in re.findall(r'aria-labelledby="([^"]+)"', html):
        assert f'id="{name}"' in html


def test_a_study_without_a_result_has_a_page(tmp_path):
    space = space_of(4)
    folder = StudyFolder(tmp_path / "empty")
    settings = {"format": 1, "dataset": {"name": "toy", "digest": ""}, "space": space.as_dict()}
    folder.create({**settings, "deterministic": False, "precision": "fp32"}, {})
    study = Study(folder, space)
    assert "there is no result yet" in page(study, None, None)
    study.ask()
    html = page(study, None, None)
    assert payload_of(html)["trials"]["states"] == "R"
    study.tell(0, "why not")
    assert payload_of(page(study, None, None))["curves"]["lines"] == []
    assert "1 of 4 trials have ended; there is no result yet" in page(study, None, None)
    while (trial := study.ask()) is not None:
        study.tell(trial.number, "another reason")
    assert "Every trial failed; the first: why not" in page(study, None, None)


def test_a_trial_that_failed_after_an_epoch_says_why_and_is_no_best_one(tmp_path):
    study = made_study(tmp_path / "failing", space_of(12), fails={3, 5})
    html = page(study, None, None)
    rows = re.findall(r"<tr><td>(.*?)</td></tr>", html[html.index('<table id="trials">') :])
    cells = [row.split("</td><td>") for row in rows]
    assert [int(row[0]) for row in cells[:3]] == [record.number for record in study.ranking()[:3]]
    assert [row[:5] for row in cells[-2:]] == [
        [number, "FAIL", "1", "1", "it &lt;b&gt;failed&lt;/b&gt;"] for number in ("3", "5")
    ]


@pytest.mark.parametrize(("sampler", "called"), [("tpe", "TPE"), ("gp", "the Gaussian process"), ("random", "")])
def test_the_sampler_that_chose_is_called_by_its_name(tmp_path, sampler, called):
    study = Study(
        made_study(tmp_path / "one", space_of(12, startup=12)).folder, space_of(12, sampler=sampler, startup=6)
    )
    html = page(study, None, None)
    chose = re.findall(r"describes this one search: (.*?) chose its trials", html)
    before = re.findall(r"from the random trials before (.*?), without", html)
    assert chose == before == [called] * bool(called)


def test_where_only_failed_trials_have_values_no_chart_is_empty(tmp_path):
    study = made_study(tmp_path / "failed", space_of(3), fails={0, 1, 2})
    assert any(value is not None for value in payload_of(page(study, None, None))["trials"]["value"])
    assert {"history", "curves", "configurations"}.isdisjoint(re.findall(r'id="h-(\w+)"', page(study, None, None)))


@pytest.mark.slow
@pytest.mark.parametrize(("trials", "epochs", "limit"), [(1_000, 400, 2_000_000), (10_000, 60, 8_000_000)])
def test_it_stays_small(tmp_path, monkeypatch, trials, epochs, limit):
    """Curves as long as they come, of which no rung stops any."""
    space = space_of(trials)
    folder = StudyFolder(tmp_path / "large")
    settings = {"format": 1, "dataset": {"name": "toy", "digest": ""}, "space": space.as_dict()}
    folder.create({**settings, "deterministic": False, "precision": "fp32"}, {})
    study, draw = Study(folder, space), random.Random(0)
    for number in range(trials):
        x = draw.random()
        config = {"x": x, "lr": 10 ** draw.uniform(-4, -1), "kind": draw.choice("ab"), "fixed": 3}
        record = Record(study._trials.make(number, config), state="COMPLETE", training=Training.OVER)
        for epoch in range(1, epochs + 1):
            record.add_epoch(epoch, 0.3 + (x + epoch / epochs + draw.random()) / 7, 0.1)
        study.records.append(record)
    monkeypatch.setattr(study, "times", lambda: {number: (number * 0.7, number * 0.7 + 9) for number in range(trials)})
    html = page(study, None, None)
    assert len(html.encode()) < limit
    lines = payload_of(html)["curves"]["lines"]
    assert len(lines) == trials
    assert all(line["epochs"] is None for line in lines[:WHOLE])
    for line in lines[WHOLE:]:
        record = study.records[line["trial"]]
        kept = line["epochs"] or list(range(1, epochs + 1))
        assert {1, record.values.last, record.best_epoch} <= set(kept)
        assert kept == sorted(set(kept))


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


def test_a_search_writes_it_for_at_most_one_percent_of_the_time(study, monkeypatch):
    clock, spent, moments = Clock(), 0.0, []
    monkeypatch.setattr(writing, "time", clock)

    def slow(study):
        nonlocal spent
        moments.append(clock.now)
        clock.now += 2.0
        spent += 2.0

    monkeypatch.setattr(writing, "write_report", slow)
    listener = writing.ReportListener()
    listener.study = study
    while clock.now < 3_000:
        clock.now += 0.5
        listener.ended(study.records[0])
    assert moments[0] >= writing.FIRST_SECONDS
    assert len(moments) > 5
    assert spent < 0.01 * clock.now + 2.0


def test_a_page_that_cannot_be_made_does_not_end_the_search(study, monkeypatch):
    clock, tries = Clock(), []
    monkeypatch.setattr(writing, "time", clock)

    def broken(study):
        tries.append(clock.now)
        raise ValueError("no such picture")

    monkeypatch.setattr(writing, "write_report", broken)
    listener = writing.ReportListener()
    listener.ended(study.records[0])  # while the study is being opened
    listener.study = study
    for clock.now in (40.0, 4_000.0):
        listener.ended(study.records[0])
    assert tries == [40.0]
    assert "no such picture" in study.folder.log.read_text()


def test_a_search_writes_it_while_it_runs(tmp_path, monkeypatch):
    study = made_study(tmp_path / "one", space_of(3))
    listener = writing.ReportListener()
    listener.study, listener.due = study, time.monotonic()
    listener.ended(study.records[0])
    assert "</html>" in study.folder.report_html.read_text()
    assert listener.due >= time.monotonic() + writing.FIRST_SECONDS - 1


def test_every_search_has_one_that_writes_it(tmp_path, monkeypatch):
    known = []

    def seen(study):
        known.append((study.count("RUNNING"), study.folder.metrics.is_file()))
        write_report(study)

    monkeypatch.setattr(writing, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(writing, "REST", 0)
    write_report = writing.write_report
    monkeypatch.setattr(writing, "write_report", seen)
    data, space = write_toy(tmp_path)
    words = ["search", data, "--space", space, "--results", tmp_path / "results", "--runner", "inline", "--gpus", "0"]
    assert main([str(word) for word in [*words, "--trials", "3", "--name", "one"]]) == 0
    assert known[:3] == [(0, False)] * 3, "after each of three trials, and before the test split was scored"
    assert "is the winner" in (tmp_path / "results" / "one" / "report.html").read_text()
