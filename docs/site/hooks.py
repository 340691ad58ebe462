"""What mkdocs does with links: the repository's Markdown leads from file to file, as it is read there, and the site has
the pages of docs/, those beside them (README, CHANGELOG, ...), and whatever else a page leads to.

A folder that is linked gets a page with its files. mkdocs calls the two functions whose names begin with `on_`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "results/README.md": "study_folder.md",
    "results/leaderboard.md": "leaderboard.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Pages from beside docs/: where a file of the repository is in the site."""
_LINK = re.compile(r'(\]\(|src=")([^)"#\s:]+)((?:#[^)"\s]*)?[)"])')
_source: dict[str, str] = {}


def on_files(files: Files, *, config: Any) -> Files:
    """Adds what the pages lead to, and what that leads to."""
    _source.clear()
    waiting = [*(f"docs/{file.src_uri}" for file in files.documentation_pages()), *PAGES]
    while waiting:
        path = waiting.pop()
        uri = _uri(path)
        if uri in _source:
            continue
        _source[uri] = path
        if files.get_file_from_path(uri) is None:
            files.append(_file(path, uri, config))
        if path.endswith(".md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            waiting += [target for target in _targets(text, path) if (ROOT / target).exists()]
        elif (ROOT / path).is_dir():
            waiting += [f"{path}/{one.name}" for one in _held(path)]
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Turns links between files of the repository into links between pages of the site."""
    here = page.file.src_uri
    path = _source.get(here)
    if path is None or (ROOT / path).is_dir():
        return markdown

    def turned(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), found[2]))
        uri = _uri(target)
        if uri not in _source:
            return found[0]  # no file of ours: mkdocs says so
        return found[1] + posixpath.relpath(uri, posixpath.dirname(here) or ".") + found[3]

    return _LINK.sub(turned, markdown)


def _uri(path: str) -> str:
    """Where a file or a folder of the repository is in the site."""
    if path in PAGES:
        return PAGES[path]
    if (ROOT / path).is_dir():
        return f"files/{path}/index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"


def _targets(text: str, path: str) -> Iterator[str]:
    for found in _LINK.finditer(text):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(path), found[2]))


def _held(folder: str) -> list[Path]:
    """The files that the page of a folder names."""
    return sorted(one for one in (ROOT / folder).iterdir() if one.is_file() and not one.name.startswith("."))


def _file(path: str, uri: str, config: Any) -> File:
    if not (ROOT / path).is_dir():
        return File.generated(config, uri, abs_src_path=str(ROOT / path))
    listed = "\n".join(f"- [{one.name}]({posixpath.basename(_uri(f'{path}/{one.name}'))})" for one in _held(path))
    return File.generated(config, uri, content=f"# {path}/\n\n{listed}\n")
