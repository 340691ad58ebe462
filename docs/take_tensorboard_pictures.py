"""Takes the pictures of a study's TensorBoard in docs/pictures/. Needs what the tests in a browser need.

python docs/take_tensorboard_pictures.py results/demo
"""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent / "pictures"
WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # the projector draws with it, here in software


def main() -> None:
    with served(Path(sys.argv[1]) / "tensorboard") as address, sync_playwright() as playwright:
        options = ["--no-sandbox", *WEBGL]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page(viewport={"width": 1500, "height": 820})
        page.set_default_timeout(300_000)
        for name, wait in (("hparams", hparams), ("timeseries", timeseries), ("projector", projector)):
            page.goto(f"{address}#{name}")
            page.reload()
            wait(page, address)
            save(page.screenshot(), f"tensorboard_{name}")
        browser.close()


def hparams(page: Page, address: str) -> None:
    page.get_by_text(re.compile(r"^\s*trial_\d+\s*$")).first.wait_for()


def timeseries(page: Page, address: str) -> None:
    page.locator("card-view svg, card-view canvas").first.wait_for()
    page.wait_for_timeout(5000)  # the curves come after their frames


def projector(page: Page, address: str) -> None:
    while not page.request.get(f"{address}data/plugins_listing").json()["projector"]["enabled"]:
        page.wait_for_timeout(500)
    page.reload()
    frame = page.frame_locator("iframe").frame_locator("iframe")
    frame.locator(".numDataPoints", has_text=re.compile(r"\d")).wait_for()
    page.wait_for_timeout(20_000)  # the points come after the principal components


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a TensorBoard on a folder."""
    command = [sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(folder), "--load_fast=false"]
    server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", "0"], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        yield next(found[0] for line in server.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))
    finally:
        server.terminate()
        server.wait()


def save(taken: bytes, name: str) -> None:
    small = Image.open(io.BytesIO(taken)).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
    small.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
