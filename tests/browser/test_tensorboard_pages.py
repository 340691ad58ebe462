"""TensorBoard's pages in a real browser: what its server gives is what a reader sees."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from made_board import write_board

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(chromium):
    made = chromium.new_page(viewport={"width": 1500, "height": 900})
    made.set_default_timeout(60_000)
    yield made
    made.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server on a folder with four trials, a finalist and the winner."""
    folder = tmp_path_factory.mktemp("board")
    write_board(folder)
    command = [sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(folder), "--load_fast=false"]
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
