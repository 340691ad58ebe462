"""The documentation: links lead somewhere, every page is in the site, and the site builds without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "results/README.md", ROOT / "results/leaderboard.md"]
PAGES += [ROOT / "benchmarks/README.md"]
LINK = re.compile(r'\]\(([^)\s]*)\)|(?:src|href)="([^"]*)"')
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def headings(path):
    """The anchors of a page, as GitHub and mkdocs make them."""
    found = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", one.lower()).strip()) for one in found}


def in_nav(entries):
    for entry in entries:
        value = next(iter(entry.values()))
        yield from in_nav(value) if isinstance(value, list) else [value]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))
    for link in (one or other for one, other in LINK.findall(text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in headings(target), link


def test_every_page_of_docs_is_in_the_site():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    named = set(in_nav(site["nav"]))
    assert {path.name for path in ROOT.glob("docs/*.md")} <= named
    for name in named:
        hooks = (ROOT / "docs/site/hooks.py").read_text()
        assert (ROOT / "docs" / name).is_file() or f'"{name}"' in hooks, name


def test_the_site_builds_strictly_and_asks_nothing_of_the_network(tmp_path):
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed here; `make docs` builds the site in an environment of its own")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    made = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stdout + made.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text()
        assert not re.findall(r'<(?:script|img|iframe)[^>]*src="https?:', text), page
        assert not re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="https?:', text), page
        for link in re.findall(r'<(?:a|img|script|link)[^>]*(?:href|src)="([^"#:]+)(?:#[^"]*)?"', text):
            assert page.name == "404.html" or (page.parent / link).exists(), f"{page}: {link}"
