"""The benchmark that examines `psd`: its training sets, its variants, its searches and what its tables say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from avtune.data import Dataset
from avtune.methods import METHODS, PSD, check_config, get, static_values
from avtune.methods._base import Batch, Progress
from benchmarks import _psd_cells as made_cells
from benchmarks import _psd_tables as tables
from benchmarks import _searches as searches
from benchmarks._partly_labelled import NAME, PartlyLabelledPSD
from benchmarks._psd_cells import Cell
from benchmarks._psd_kept import KeptSearches
from benchmarks._searches import Found

CLASSES = 3


@pytest.fixture
def registered(monkeypatch) -> None:
    monkeypatch.setitem(METHODS, NAME, PartlyLabelledPSD)


def base(clips: int = 60, width: int = 6) -> Dataset:
    draw = np.random.default_rng(0)

    def split(count: int) -> tuple[np.ndarray, ...]:
        labels = np.arange(count) % CLASSES
        centres = np.eye(CLASSES, width)[labels]
        return (
            centres + 0.3 * draw.normal(size=(count, width)),
            centres + 0.3 * draw.normal(size=(count, width)),
            labels,
        )

    return Dataset.from_arrays(train=split(clips), test=split(24), name="made")


def held(dataset: Dataset) -> np.ndarray:
    assert dataset.validation is not None
    return np.isin(np.arange(len(dataset.train)), dataset.validation)


def test_noise_changes_its_share_of_labels_and_no_other() -> None:
    clean, noisy, again, other = (
        made_cells.made(base(), Cell("made", condition, "psd", seed))
        for condition, seed in (("noise-0", 0), ("noise-40", 0), ("noise-40", 0), ("noise-40", 1))
    )
    assert (clean.train.audio == noisy.train.audio).all()
    differ = clean.train.labels != noisy.train.labels
    assert differ.sum() == round(0.4 * (~held(clean)).sum())
    assert not differ[held(clean)].any(), "validation rows keep their labels"
    assert (clean.test.labels == noisy.test.labels).all()
    assert noisy.digest == again.digest != other.digest
    assert set(noisy.train.labels) <= set(range(CLASSES))


def test_a_share_of_labels_is_the_same_clips_for_every_row() -> None:
    full = made_cells.made(base(), Cell("made", "noise-0", "psd", 0))
    partly = made_cells.made(base(), Cell("made", "labelled-50", "psd", 0))
    alone = made_cells.made(base(), Cell("made", "labelled-50", "triplet", 0))
    fit = ~held(full)
    has_label = partly.train.labels[fit] < CLASSES
    assert 0.4 < has_label.mean() < 0.6
    assert (partly.train.labels[fit][has_label] == full.train.labels[fit][has_label]).all()
    assert partly.class_names[-1] == "no label"
    assert (partly.train.labels[held(partly)] < CLASSES).all()
    once = {tuple(row) for row in partly.train.audio[fit][has_label]}
    assert {tuple(row) for row in alone.train.audio[~held(alone)]} == once
    assert (~held(alone)).sum() == 2 * len(once), "an epoch has as many steps"


def test_every_row_has_the_space_that_its_name_says(registered) -> None:
    settings = {"trials": 12, "epochs": 27, "seeds": 2}
    names = {
        variant: {axis.name for axis in made_cells.space_of(Cell("demo", "labelled-10", variant, 3), settings).axes}
        for variant in made_cells.MEANING
    }
    assert names["psd"] - names["psd-r-1"] == {"r_init", "r_shrink", "tau"}
    assert names["psd"] - names["psd-no-shrink"] == {"r_shrink"}
    assert names["psd"] - names["psd-hard"] == {"tau"}
    assert names["psd"] - names["psd-margin-0.2"] == {"margin"}
    assert names["psd-r-1"] == names["triplet"]
    space = made_cells.space_of(Cell("demo", "noise-20", "psd", 3), settings)
    assert (space.method, space.search.seed, space.search.trials, space.fixed["hidden_dim"]) == ("psd", 3, 12, 128)
    methods = [made_cells.method_of(Cell("demo", "labelled-10", one, 0)) for one in ("psd", "psd-labelled-only")]
    assert methods == [NAME, "psd"]


def loss_of(kind: type[PSD], labels: torch.Tensor, classes: int, **values: float) -> torch.Tensor:
    config = check_config(kind, {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 8, **values})
    method = kind(static_values(kind, config), 5, 7, classes)
    params, buffers = method.init(torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(1)
    audio, visual = (torch.randn(1, labels.shape[1], width, generator=draw) for width in (5, 7))
    batch = Batch(audio, visual, labels, torch.tensor([3], dtype=torch.int32))
    hyper = {
        name: torch.tensor([float(value)])
        for name, value in config.items()
        if name not in method.static and not isinstance(value, str)
    }
    lanes = [{name: value[None].clone() for name, value in one.items()} for one in (params, buffers)]
    lanes[0]["head.weight"] = 0.1 * torch.ones_like(lanes[0]["head.weight"])
    made = method.loss(*lanes, batch, hyper, Progress(torch.tensor([0.0]), torch.tensor([5.0])))
    return torch.stack([made[name] for name in ("loss", "l_lab", "l_cross", "l_dis")])


def test_psd_with_r_at_1_is_triplet() -> None:
    labels = torch.arange(12)[None] % CLASSES
    given = {"margin": 0.4, "w_cross": 2.0}
    theirs = loss_of(get("triplet"), labels, CLASSES, **given)
    torch.testing.assert_close(loss_of(PSD, labels, CLASSES, r_init=1.0, r_shrink=1.0, **given), theirs)
    assert not torch.allclose(loss_of(PSD, labels, CLASSES, r_init=0.5, **given), theirs)


def test_partly_labelled_is_psd_where_no_label_is_missing() -> None:
    labels = torch.arange(12)[None] % CLASSES
    ours = loss_of(PartlyLabelledPSD, labels, CLASSES + 1, r_init=0.5)
    torch.testing.assert_close(ours, loss_of(PSD, labels, CLASSES, r_init=0.5))


def test_a_clip_without_a_label_has_no_labelled_loss_and_is_never_annotated() -> None:
    whole = torch.arange(12)[None] % CLASSES
    partly = whole.clone()
    partly[:, 4:] = CLASSES
    static = static_values(PSD, check_config(PSD, {}))
    kind, usual = PartlyLabelledPSD(static, 5, 7, CLASSES + 1), PSD(static, 5, 7, CLASSES)
    head, z_a, z_v = torch.randn(1, 6, CLASSES), torch.randn(1, 12, 6), torch.randn(1, 12, 6)
    hyper = {"label_smoothing": torch.zeros(1)}
    alone = usual._labelled(head, z_a[:, :4], z_v[:, :4], whole[:, :4], hyper)
    torch.testing.assert_close(kind._labelled(head, z_a, z_v, partly, hyper), alone)
    batch = Batch(torch.zeros(1, 12, 5), torch.zeros(1, 12, 7), partly, torch.tensor([3], dtype=torch.int32))
    parts = kind._parts(torch.tensor([0.25]), batch)
    assert parts.annotated_LB[0].tolist() == [1.0] * 3 + [0.0] * 9
    parts = kind._parts(torch.tensor([1.0]), batch)
    assert parts.annotated_LB[0].tolist() == [1.0] * 4 + [0.0] * 8
    assert (parts.free_LB[0].sum(), parts.num_free_L[0]) == (8, 8)


# --- searches


def settings() -> dict[str, object]:
    widths = {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 16}
    return {"trials": 2, "epochs": 1, "seeds": 1, "widths": widths}


def test_a_search_is_done_once_and_says_what_it_gave(tmp_path, monkeypatch, registered) -> None:
    cell = Cell("made", "labelled-50", "psd", 0)
    space, data = made_cells.space_of(cell, settings()), made_cells.made(base(), cell)
    found = searches.search(tmp_path / cell.place, space, data)
    assert (found.trials, found.epochs, len(found.test)) == (2, 1, 1)
    assert 0 < found.map <= 1
    assert (tmp_path / cell.place / "scored.jsonl").read_text().count("\n") == 1, "one look at the test split"
    runs: list[str] = []
    train = searches.run
    monkeypatch.setattr(searches, "run", lambda source, data: (runs.append(type(source).__name__), train(source, data)))
    assert searches.search(tmp_path / cell.place, space, data) == found
    assert not runs
    (tmp_path / cell.place / searches.FILE).unlink()  # killed before it was written
    again = searches.search(tmp_path / cell.place, space, data)
    assert (again.test, again.config, runs) == (found.test, found.config, ["RunRecord"])
    assert (tmp_path / cell.place / "scored.jsonl").read_text().count("\n") == 1, "the same look"
    other = made_cells.space_of(cell, settings() | {"trials": 3})
    (tmp_path / cell.place / searches.FILE).unlink()
    with pytest.raises(SystemExit, match=r"begun with other settings \(search.trials: 2 -> 3\)"):
        searches.search(tmp_path / cell.place, other, data)


def test_no_search_begins_that_would_not_end_in_time(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(searches.time, "monotonic", lambda: now[0])

    def do(item: int) -> None:
        done.append(item)
        now[0] += 50

    done: list[int] = []
    assert searches.within(2, range(5), lambda item: item == 0, do) == 2
    assert done == [1, 2]
    assert searches.within(0, range(5), lambda item: item == 0, do) == 4


# --- tables


def results(**maps: list[float]) -> dict[Cell, searches.Found]:
    return {
        Cell("demo", "noise-20", name.replace("_", "-"), seed): searches.Found(0.5, (value,), 9, 2, {}, 1.0)
        for name, values in maps.items()
        for seed, value in enumerate(values)
    }


def test_a_table_pairs_searches_by_their_seeds() -> None:
    found = results(psd=[0.50, 0.60, 0.70], triplet=[0.48, 0.59, 0.67], psd_hard=[0.5, 0.7], classifiers=[0.6])
    rows = {line.split("`")[1]: line for line in tables.table(found, "demo", "noise-20").splitlines()[2:]}
    # By hand: differences .02, .01, .03 have the mean .02, sd .01, and t of two degrees of freedom is 4.3027.
    assert "| +0.0200 ± 0.0248 | no |" in rows["triplet"]
    assert "| -0.0500 ± 0.6353 | no |" in rows["psd-hard"], "of two pairs"
    assert "| 1 | 0.6000 | -0.1000 | not known |" in rows["classifiers"]
    assert rows["psd"].startswith("| `psd` | 3 | 0.6000 ± 0.2484 | – | – | 0.5000 |")
    assert tables.table(found, "demo", "noise-40") == ""


def test_the_sentences_say_what_differs() -> None:
    found = results(psd=[0.50, 0.60], triplet=[0.40, 0.50001], psd_hard=[0.60, 0.70001], psd_no_shrink=[0.5, 0.9])
    said = dict(line[2:].split(": ", 1) for line in tables.sentences(found, "demo"))
    assert said["r and soft alignments together"] == (
        "better with it under noise-20 (1 of 6 conditions have an interval; they are ± 0.0001 to ± 0.0001, and what is "
        "smaller could not have been seen)"
    )
    assert said["soft in place of hard alignments"].startswith("worse with it under noise-20")
    assert said["the shrink rate"].startswith("no difference from off was found (1")
    assert said["the margin"].endswith("nothing can be said")
    (row,) = [line for line in tables.bought(found, "demo").splitlines() if line.startswith("| r and soft")]
    assert row == "| r and soft alignments together | **+0.1000 ± 0.0001** | – |"


def everywhere(dataset: str, *apart: float) -> dict[Cell, searches.Found]:
    """`psd` is so much above `psd-hard` in the search of each seed, .01 more under every other condition and .01 less
    under the rest."""
    return {
        Cell(dataset, condition, variant, seed): searches.Found(0.5, (value,), 9, 2, {}, 1.0)
        for seed, gap in enumerate(apart)
        for place, condition in enumerate(made_cells.CONDITIONS)
        for variant, value in (("psd", 0.5 + gap + 0.01 * (-1) ** place), ("psd-hard", 0.5), ("classifiers", 0.6))
    }


def test_the_mean_over_conditions_is_taken_seed_by_seed() -> None:
    found = everywhere("demo", 0.02, 0.01, 0.03) | everywhere("yt8m_ave15", -0.01, 0.01)
    cut = {cell: one for cell, one in found.items() if cell != Cell("demo", "labelled-10", "psd-hard", 2)}
    assert tables.over_conditions(cut, "demo", ("psd-hard",)) == pytest.approx([0.02, 0.01]), "a seed lacks one"
    (row,) = [line for line in tables.bought(found, "demo").splitlines() if line.startswith("| soft in place")]
    # By hand: .02, .01, .03 have the mean .02, sd .01, and t of two degrees of freedom is 4.3027.
    assert row.endswith("| +0.0200 ± 0.0248 |")
    (said,) = [line for line in tables.sentences(found, "demo") if line.startswith("- soft in place")]
    assert "in the mean over the conditions +0.0200 ± 0.0248 (6 of 6" in said
    (row,) = [line for line in tables.everywhere(found, ["demo", "yt8m_ave15"]).splitlines() if "soft in" in line]
    # 0 ± 12.7062 x .0141 / sqrt(2); all five: mean .012, sd .01483, t of four degrees of freedom 2.7764.
    assert row == "| soft in place of hard alignments | +0.0200 ± 0.0248 | +0.0000 ± 0.1271 | +0.0120 ± 0.0184 |"
    assert tables.everywhere(found, ["demo"]) == ""


def test_a_picture_stays_within_the_range_of_map() -> None:
    found = results(psd=[0.1, 0.9], triplet=[0.40, 0.50])
    svg = tables.picture(found, ["demo"])
    assert svg.count("<svg") == 1
    assert svg == tables.picture(found, ["demo"]), "the same results give the same text"


def test_searches_are_kept_in_a_file_and_count_for_the_same_settings_alone(tmp_path) -> None:
    file, settings = tmp_path / "kept.jsonl", {"trials": 12, "epochs": 27, "seeds": 2}
    one, other = Cell("demo", "noise-0", "psd", 1), Cell("demo", "noise-0", "psd", 0)
    found = Found(0.5, (0.4, 0.6), 9, 12, {"margin": 0.2}, 3.0)
    made = KeptSearches(file, settings)
    made.add(one, found)
    made.add(other, found)
    with file.open("a") as stream:
        stream.write('{"cell": ')  # a kill
    again = KeptSearches(file, settings)
    assert again.found == {one: found, other: found}
    assert list(again.in_order) == [other, one]
    assert "The 2 searches are of 20" in again.made_when()
    again.add(Cell("demo", "noise-20", "psd", 0), found)
    assert len(KeptSearches(file, settings).found) == 3, "a line that was cut off is gone"
    assert KeptSearches(file, settings | {"trials": 16}).found == {}
