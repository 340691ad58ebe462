"""Claim: the report page of 1,000 trials is under 2 MB and can be used within 2 s in a headless Chromium.

    python -m benchmarks.page

Usable: the page has been parsed, its first frame drawn, and its scripts answer (`Report.choose`, which filters curves
and table). The charts that are not in view are drawn later. Needs playwright and a Chromium (CONTRIBUTING.md, Tests in
a browser). The study is made as `benchmarks.resume` makes it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from avtune.study.folder import StudyFolder
from avtune.study.study import Study
from avtune.workflows.write_report import REST, write_report
from benchmarks import _report
from benchmarks.resume import ave, filled

SIZES, ROUNDS = (1_000, 10_000), 5
MOST_BYTES, MOST_SECONDS = {1_000: 2_000_000, 10_000: 8_000_000}, {1_000: 2.0}
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = ("--no-sandbox", "--disable-dev-shm-usage")
_TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
_HEAD = [
    "trials",
    "page, MB",
    "written in, s",
    "of the driver's time, at most",
    "usable after, s",
    "all drawn after, s",
]


def main() -> None:
    given = _report.arguments("page", __doc__).parse_args()
    sizes, rounds = ((60,), 1) if given.quick else (SIZES, ROUNDS)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            folder = filled(Path(scratch) / str(size), size)
            seconds = _written(folder)
            used = _opened(folder.report_html, rounds)
            shown = [f"{max(column):.2f}" for column in zip(*used, strict=True)] if used else ["no browser"] * 2
            megabytes = folder.report_html.stat().st_size / 1e6
            rows.append([f"{size:,}", f"{megabytes:.2f}", f"{seconds:.2f}", f"{1 / (REST + 1):.1%}", *shown])
    section = "\n\n".join(
        [
            f"Goals at 1,000 trials: under {MOST_BYTES[1_000] / 1e6:g} MB and usable within {MOST_SECONDS[1_000]:g} s; "
            f"at 10,000 under {MOST_BYTES[10_000] / 1e6:g} MB. Worst of {rounds} openings, each in a new context.",
            _report.table(_HEAD, rows),
        ]
    )
    print(section)
    print(_report.write("page", "The report page of a large study", [section], ["optuna", "numpy"], given.out))


def _written(folder: StudyFolder) -> float:
    study = Study(folder, ave("random"))
    start = time.perf_counter()
    write_report(study)
    return time.perf_counter() - start


def _opened(page: Path, rounds: int) -> list[tuple[float, float]]:
    """Seconds until the page can be used, and until all of it is drawn; empty without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    program = os.environ.get("AVTUNE_CHROMIUM") or next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        return []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_OPTIONS))
        found = [_one(browser, page) for _ in range(rounds)]
        browser.close()
    return found


def _one(browser: Any, page: Path) -> tuple[float, float]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    tab = context.new_page()
    start = time.perf_counter()
    tab.goto(page.as_uri(), wait_until="domcontentloaded")
    tab.evaluate(_TWO_FRAMES)
    tab.evaluate("Report.choose(new Set([1, 2, 3]))")
    usable = time.perf_counter() - start
    tab.evaluate("Report.whenIdle()")
    drawn = time.perf_counter() - start
    context.close()
    return usable, drawn


if __name__ == "__main__":
    main()
