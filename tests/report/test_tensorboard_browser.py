"""TensorBoard's pages in a real browser: what its server gives is what a reader sees."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from test_tensorboard_server import logdir  # noqa: F401  (a fixture)

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page():
    """A page of a headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="not installed: pip install playwright")
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(CHROMIUM)} is on the PATH")
    with playwright.sync_playwright() as started:
        # Without its sandbox, which needs rights that containers do not have; it opens this machine's pages only.
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = started.chromium.launch(executable_path=program, args=options)
        made = browser.new_page(viewport={"width": 1500, "height": 900})
        made.set_default_timeout(60_000)
        yield made
        browser.close()


@pytest.fixture(scope="module")
def address(logdir):  # noqa: F811
    """A server on the folder of `test_tensorboard_server.py`."""
    command = [sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(logdir), "--load_fast=false"]
    server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        for line in server.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                break
        yield found[0]
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


def test_the_table_of_hparams_begins_with_the_missions_axes(page, address):
    page.goto(f"{address}#hparams")
    page.get_by_text("trial_00003").first.wait_for()
    heads = [text.strip() for text in page.locator(".table-header").all_inner_texts()]
    shown = list(dict.fromkeys(text for text in heads if text))
    assert shown[2:8] == ["margin", "w_cross", "w_dis", "r_init", "r_shrink", "best val MAP"]
    for name in ("trial_00000", "trial_00001", "trial_00002", "finals/trial_00000", "finals/default"):
        assert page.get_by_text(name, exact=True).count() >= 1


def test_validation_map_is_the_first_card_of_time_series(page, address):
    page.goto(f"{address}#timeseries")
    page.reload()
    card = page.locator("card-view").first
    card.wait_for()
    assert re.match(r"map/val(?!_)", "".join(card.inner_text().split()))


def test_the_projector_loads_both_views(page, address):
    while not page.request.get(f"{address}data/plugins_listing").json()["projector"]["enabled"]:
        pass  # a thread of the server looks for what the tab would show
    page.goto(f"{address}#projector")
    page.reload()
    frame = page.frame_locator("iframe").frame_locator("iframe")
    frame.locator(".numDataPoints", has_text="24").wait_for()
    assert frame.get_by_text("test clips, both views").count() >= 1
