"""Takes the pictures of a study's report page, or of a bench's page, in docs/pictures/. Needs what the tests in a
browser need.

python docs/take_pictures.py results/demo
python docs/take_pictures.py results/table
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent / "pictures"
# Name, width, colours, from the heading with this id to the one with that.
PICTURES = (
    ("report", 1200, "light", None, "h-configurations"),
    ("report_configurations", 1200, "dark", "h-configurations", "h-bought"),
    ("report_search", 1200, "light", "h-bought", "h-timeline"),
    ("report_phone", 375, "light", None, "h-importance"),
)
OF_BENCH = (("leaderboard", 1200, "light", None, "h-pairs"),)


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    bench = (folder / "leaderboard.html").is_file()
    report = folder / ("leaderboard.html" if bench else "report.html")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, width, scheme, start, end in OF_BENCH if bench else PICTURES:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
            page.goto(report.as_uri())
            page.evaluate("typeof Report === 'undefined' || Report.whenIdle()")  # one without charts has none
            top, bottom = (0.0 if start is None else _top(page, start)), _top(page, end)
            clip = {"x": 0, "y": max(0.0, top - 8), "width": width, "height": bottom - top - 8}
            taken = page.screenshot(full_page=True, clip=clip)
            small = Image.open(io.BytesIO(taken)).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
            small.save(FOLDER / f"{name}.png", optimize=True)
            page.close()
        browser.close()


def _top(page: Page, heading: str) -> float:
    return float(page.evaluate(f"document.getElementById('{heading}').getBoundingClientRect().top + scrollY"))


if __name__ == "__main__":
    main()
