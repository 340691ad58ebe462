"""A headless Chromium for the tests of this folder; without one they are skipped, and say why."""

import os
import shutil

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW = "see CONTRIBUTING.md, Tests in a browser"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium():
    """The browser of these tests; `$AVTUNE_CHROMIUM` names another one."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip(f"no browser: the Python package playwright is missing; {HOW}")
    program = os.environ.get("AVTUNE_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is on the PATH; {HOW}")
    with sync_playwright() as playwright:
        # Without its sandbox, which needs rights that containers do not have; it opens this machine's pages only.
        # TensorBoard's projector draws with WebGL, here in software.
        webgl = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        options = ["--no-sandbox", "--disable-dev-shm-usage", *webgl]
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """`open_page(path, **context)` is the page of a file in a new context; at the end nothing has gone wrong on it, and
    nothing was asked of the network."""
    contexts, wrong = [], []

    def opened(path, width=1440, **context):
        made = chromium.new_context(viewport={"width": width, "height": 900}, offline=True, **context)
        contexts.append(made)
        tab = made.new_page()
        tab.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda asked: None if asked.url.startswith("file:") else wrong.append(asked.url))
        tab.goto(path.as_uri())
        if context.get("java_script_enabled", True):
            tab.evaluate("typeof Report === 'undefined' || Report.whenIdle()")  # a page without charts has none
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
