"""Draws docs/structure.svg: the folders of avtune/ and which of them import which, read from the code.

python docs/draw_structure.py           # writes the picture
python docs/draw_structure.py --check   # says whether it is as the code is; exit code 1 if not

An arrow that other arrows imply (cli -> core, through all that lies between) is left out.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "structure.svg"
WHAT = {
    "cli": "one file a verb, the words of the terminal",
    "workflows": "search, bench, retrain, evaluate, curves, verify",
    "finals": "finalists, winner, retraining, test scores",
    "report": "TensorBoard, report page, model card",
    "runners": "inline, processes, lanes; dispatcher; Ray",
    "engine": "trains lanes; user code; models",
    "study": "the only owner of search state; Optuna",
    "methods": "one file a method",
    "lanes": "stacked layers, triplets, noise",
    "data": "datasets, layouts, splits, scalers",
    "metrics": "average precision, significance",
    "space": "YAML: what is searched",
    "core": "errors, trials, seeds, safe files, machine",
}
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 250, 52, 34, 44, 20


def modules_of(path: Path) -> Iterator[str]:
    """The modules of avtune that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [node.module or ""]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.partition(".")[0] == "avtune")


def imports(package: Path = ROOT / "avtune") -> dict[str, set[str]]:
    """For each folder directly in the package, those that its files import.

    Raises:
        CycleError: folders import each other; names them.
    """
    found: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        folder = path.relative_to(package).parts[0]
        if path.parent != package:
            named = {module.split(".")[1] for module in modules_of(path) if "." in module}
            found.setdefault(folder, set()).update(named - {folder})
    TopologicalSorter(found).prepare()  # raises where folders import each other
    return found


def reach(folder: str, edges: Mapping[str, set[str]]) -> set[str]:
    """All that a folder imports, directly or not."""
    return edges[folder].union(*(reach(other, edges) for other in edges[folder]))


def depth(folder: str, edges: Mapping[str, set[str]]) -> int:
    """0 for a folder that imports none."""
    return 1 + max((depth(other, edges) for other in edges[folder]), default=-1)


def drawn(edges: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The edges that no others imply."""
    return sorted(
        (one, other)
        for one, others in edges.items()
        for other in others
        if not any(other in reach(between, edges) for between in others)
    )


def picture(edges: Mapping[str, set[str]]) -> str:
    """The SVG: folders in rows, those that import above what they import."""
    rows: dict[int, list[str]] = {}
    for folder in sorted(edges):
        rows.setdefault(depth(folder, edges), []).append(folder)
    widest = max(map(len, rows.values()))
    width = 2 * _MARGIN + widest * _WIDTH + (widest - 1) * _GAP_X
    height = 2 * _MARGIN + len(rows) * _HEIGHT + (len(rows) - 1) * _GAP_Y
    places = {}
    for level, folders in rows.items():
        left = (width - len(folders) * _WIDTH - (len(folders) - 1) * _GAP_X) / 2
        top = _MARGIN + (max(rows) - level) * (_HEIGHT + _GAP_Y)
        places |= {folder: (left + at * (_WIDTH + _GAP_X), top) for at, folder in enumerate(folders)}
    arrows = [_arrow(places[one], places[other]) for one, other in drawn(edges)]
    boxes = [_box(folder, *place) for folder, place in sorted(places.items())]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif">\n<title>The folders of avtune/ and their imports</title>\n<defs><marker id="end" '
        'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" '
        'fill="#555"/></marker></defs>\n<rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *arrows, *boxes, "</svg>", ""])


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    return (
        f'<line x1="{x1 + _WIDTH / 2:g}" y1="{y1 + _HEIGHT:g}" x2="{x2 + _WIDTH / 2:g}" y2="{y2:g}" stroke="#555" '
        'marker-end="url(#end)"/>'
    )


def _box(folder: str, x: float, y: float) -> str:
    middle = x + _WIDTH / 2
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#eef3f8" stroke="#4477aa"/>'
        f'<text x="{middle:g}" y="{y + 21:g}" text-anchor="middle" font-size="15" font-weight="bold">{folder}/</text>'
        f'<text x="{middle:g}" y="{y + 40:g}" text-anchor="middle" font-size="11">{WHAT[folder]}</text>'
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the picture is an old one")
    made = picture(imports())
    if parser.parse_args().check:
        return 0 if PICTURE.is_file() and PICTURE.read_text(encoding="utf-8") == made else 1
    PICTURE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
