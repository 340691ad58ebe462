"""What r, its shrink rate, the soft labels and the margin buy `psd`, by wrong and by missing labels.

Each cell of the tables is a whole search with a seed of its own: `psd`, `psd` without one of its parts, `triplet` and
`classifiers`, with the same number of trials, the same epochs and the same rungs. Under `noise-P` P percent of the
labels of the clips that are trained on are replaced by another class; under `labelled-P` only P percent of the clips
have a label. Validation and test labels stay as the file has them.

All searches take many hours. One is a study below `--work`: the same command goes on there after a kill, and with more
seeds, and `--minutes` ends it in time. What each gave is kept in the file `--kept`, with which the same command goes on
where the studies are not. The report says what is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from avtune.data import Dataset
from avtune.workflows import curves
from avtune.workflows.listening import Silent
from benchmarks import _psd_tables as tables
from benchmarks import _report
from benchmarks._here import run
from benchmarks._partly_labelled import register
from benchmarks._psd_cells import (
    CONDITIONS,
    DATASETS,
    FRACTION,
    MEANING,
    WIDE,
    WIDTHS,
    Cell,
    cells,
    dataset_named,
    made,
    space_of,
)
from benchmarks._psd_kept import KeptSearches
from benchmarks._searches import search, within

CLAIM = "psd_examined"
KEPT = _report.REPORTS / f"{CLAIM}.jsonl"
CURVE_SEEDS = 3
CURVES = "curves"


def main() -> None:
    given = _options()
    register()
    torch.set_num_threads(1)  # as an engine on a CPU has
    settings: dict[str, Any] = {"trials": given.trials, "epochs": given.epochs, "seeds": given.retrain}
    kept = KeptSearches(None if given.quick else given.kept, settings)
    if given.quick:
        settings = settings | {"widths": {"hidden_dim": 8, "embedding_dim": 4}}
    bases: dict[str, Dataset] = {}

    def base(name: str) -> Dataset:
        return bases.setdefault(name, dataset_named(name))

    def do(item: Cell | str) -> None:
        if isinstance(item, str):
            _curves(base(item), given.work / item / CURVES, given.epochs)
            return
        found = search(given.work / item.place, space_of(item, settings), made(base(item.dataset), item))
        kept.add(item, found)
        print(f"{item.place}: test MAP {found.map:.4f}, {found.seconds:.0f} s", flush=True)

    def is_done(item: Cell | str) -> bool:
        if isinstance(item, str):
            return (given.work / item / CURVES).exists()
        return item in kept.found

    left = within(given.minutes, list(_items(given)), is_done, do)
    print(_write(given, kept))
    if left:
        print(f"{left} parts are left; the same command goes on", flush=True)


def _items(given: argparse.Namespace) -> Iterator[Cell | str]:
    """What is done, in this order: searches, and for each data set its curves, which its name stands for."""
    for name in given.datasets:
        mine = list(cells([name], given.cells, given.seeds, given.variants))
        first = sum(cell.seed == 0 for cell in mine)
        yield from mine[:first]
        if not given.quick:
            yield name
        yield from mine[first:]


def _options() -> argparse.Namespace:
    parser = _report.arguments(CLAIM, __doc__)
    parser.add_argument("--work", type=Path, default=Path("build") / CLAIM, help=f"the searches (build/{CLAIM})")
    parser.add_argument("--kept", type=Path, default=KEPT, help=f"what the searches gave ({KEPT.name} beside reports)")
    parser.add_argument("--datasets", type=_names, default=list(DATASETS), help=f"({','.join(DATASETS)})")
    parser.add_argument("--cells", type=_names, default=list(CONDITIONS), help=f"({','.join(CONDITIONS)})")
    parser.add_argument("--variants", type=_names, default=[], help=f"(all: {','.join(MEANING)})")
    parser.add_argument("--seeds", type=int, default=3, help="searches of each cell (3)")
    parser.add_argument("--trials", type=int, default=12, help="of each search (12)")
    parser.add_argument("--epochs", type=int, default=27, help="of a trial at most (27)")
    parser.add_argument("--retrain", type=int, default=2, help="seeds over which a winner is retrained (2)")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no search that would end later; 0: report")
    given = parser.parse_args()
    if given.quick:
        given.datasets, given.cells = ["demo"], ["noise-40", "labelled-10"]
        given.variants, given.seeds, given.trials, given.epochs, given.retrain = ["psd", "triplet"], 2, 2, 1, 1
    for option, names, known in (("--cells", given.cells, CONDITIONS), ("--variants", given.variants, MEANING)):
        if unknown := [one for one in names if one not in known]:
            parser.error(f"{option} has {unknown[0]!r}; there are {', '.join(known)}")
    return given


def _names(text: str) -> list[str]:
    return [one.strip() for one in text.split(",")]


def _curves(dataset: Dataset, folder: Path, epochs: int) -> None:
    """Our counterpart of the paper's figure 3: `avtune curves` of default configurations, as wide as the searches."""
    if folder.exists():
        return
    widths = [f"{name}={value}" for name, value in WIDTHS.get(dataset.name, WIDE).items()]
    lines = curves.lines_of("psd,aadml", "all,hard", widths, [])
    curves.train(lines, curves.split(dataset), run, Silent(), epochs=epochs, seeds=CURVE_SEEDS)
    curves.write(lines, dataset, folder)


def _write(given: argparse.Namespace, kept: KeptSearches) -> Path:
    results = kept.in_order
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    given.out.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys([one for one in DATASETS if any(cell.dataset == one for cell in results)]))
    names += sorted({cell.dataset for cell in results} - set(names))
    pictures = []
    if names:
        (given.out / f"{day}-{CLAIM}.svg").write_text(tables.picture(results, names))
        pictures.append(f"![Test MAP by wrong and by missing labels]({day}-{CLAIM}.svg)")
    sections = [_summary(given, kept, names), _HOW.format(**_numbers(given)), _variants(), *pictures]
    if text := tables.everywhere(results, names):
        sections.append(f"## All data sets\n\n{_EVERYWHERE}\n\n{text}")
    for name in names:
        sections.append(f"## {_title(name)}\n\n{_BOUGHT}\n\n{tables.bought(results, name)}")
        for condition in CONDITIONS:
            if text := tables.table(results, name, condition):
                sections.append(f"### {_title(name)}, {condition}\n\n{text}")
    sections.append(_figure_3(given, names, day))
    title = "Progressive self-distillation examined: what its parts buy, by wrong and by missing labels"
    return _report.write(CLAIM, title, sections, ["torch", "optuna", "numpy"], given.out)


def _numbers(given: argparse.Namespace) -> dict[str, Any]:
    return {"trials": given.trials, "epochs": given.epochs, "retrain": given.retrain, "validation": f"{FRACTION:.0%}"}


def _title(name: str) -> str:
    return f"YouTube-8M subset ({name})" if name.startswith("yt8m") else name


def _summary(given: argparse.Namespace, kept: KeptSearches, names: Sequence[str]) -> str:
    results = kept.in_order
    wanted = list(cells(given.datasets, given.cells, given.seeds, given.variants))
    done = sum(cell in results for cell in wanted)
    lines = [f"{done} of the {len(wanted)} searches that the command asks for are there."]
    if done < len(wanted):
        lines[0] += (
            " **This report is partial**: the column `searches` says how many each row has. A row with one has no "
            "interval, and nothing can be said of its differences."
        )
    if kept.lines:
        lines.append(kept.made_when())
    for name in names:
        lines += [f"\n**{_title(name)}**: which parts of `psd` differ from off:\n", *tables.sentences(results, name)]
    return "\n".join(lines)


def _variants() -> str:
    lines = [f"- `{name}`: {text}" for name, text in MEANING.items()]
    return "## Rows\n\n" + "\n".join(lines)


_BOUGHT = (
    "Test MAP of `psd` minus that of the row without the part, paired by search seed; in bold where the interval "
    "leaves 0 out. The last column is the mean over all conditions, search seed by search seed."
)
_EVERYWHERE = (
    "Test MAP of `psd` minus that of the row without the part: means over all conditions, one for each search seed, "
    "with their interval over seeds; `all` takes the seeds of all data sets together, as if they were of one kind."
)

_HOW = """## How

- Equal budgets: {trials} trials a search (the default configuration among them), {epochs} epochs at most, ASHA with
  rungs at 3 and 9 epochs, TPE after random trials; the best trial by validation MAP is trained again over {retrain}
  seeds for its best epoch, and each is scored once on the test split. Every search is a study with its count of
  looks.
- `noise-P`: exactly P % of the clips that are trained on have another class, drawn uniformly. **Validation and test
  labels stay as the file has them.** Selection sees clean validation labels ({validation} of the training clips), in
  the trials, their rungs and the choice of the epoch, which is kind to all rows alike: with wrong labels there,
  tuning would be harder.
- Winners are trained again on the rows of the search alone, since `avtune search` would add the validation rows with
  their clean labels. So test MAP is below what `avtune search` gives for the same data.
- `labelled-P`: P % of the clips of each class that are trained on keep their label. `psd` takes the other clips too,
  as `benchmarks/_partly_labelled.py` says: they are never annotated, take part in the soft triplets and in `l_dis`,
  and have no labelled loss. `triplet`, `classifiers` and `psd-labelled-only` train on the clips with a label,
  repeated so that an epoch has as many steps. The share of 100 % is `noise-0`.
- With a label for every clip `psd` with r = 1 is `triplet`: the same loss, space and suggestions. Its row is that of
  `triplet`.
- A search seed decides configurations, validation rows, and which labels are wrong or missing; rows with the same
  seed share all three, so differences are paired. Intervals: 95 %, Student t over searches; no correction for the
  number of comparisons, of which about one in twenty would differ by chance.
- Soft labels are those of our reading of the method (softmaxed similarities of the network itself)."""


def _figure_3(given: argparse.Namespace, names: Sequence[str], day: str) -> str:
    lines = [
        "## Loss and MAP against epochs",
        "",
        "Figure 3 of Zeng & Ikeda 2025 plots loss and MAP against epochs for `psd` and `aadml`, with all and with hard "
        "triplets. Its data are not at hand, so what follows is our counterpart alone, on our data sets: "
        "`avtune curves` with default configurations of the searches' widths, "
        f"means over {CURVE_SEEDS} seeds with their range, validation MAP, labels as the "
        "file has them.",
    ]
    for name in names:
        drawn = given.work / name / CURVES / "curves.svg"
        if drawn.is_file():
            picture = f"{day}-{CLAIM}-curves-{name}.svg"
            (given.out / picture).write_text(drawn.read_text())
            lines += ["", f"![Loss and MAP against epochs, {_title(name)}]({picture})"]
        else:
            lines += ["", f"{_title(name)}: not drawn yet."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
