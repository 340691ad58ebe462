"""Queries and galleries: every score against loops over lists from which the right clips were taken by hand."""

import statistics

import numpy as np
import pytest
from slow_scores import mean_ap, mean_over_orders, slow_ap_at, slow_ap_at_r, slow_ndcg, ties

import avtune
from avtune.cli.evaluate_text import at_lines
from avtune.core.errors import UserError
from avtune.workflows.embedding_files import write_embeddings
from avtune.workflows.evaluate import Evaluation, checked_embeddings, evaluation, read_embeddings
from avtune.workflows.galleries import DISJOINT, OTHER, given, within, words


def made(clips, seed=0, names=("car", "dog", "rain"), kind="random"):
    draw = np.random.default_rng(seed)
    labels = np.array(names)[draw.integers(len(names), size=clips)]
    views = np.eye(3)[draw.integers(3, size=(2, clips))] if kind == "tied" else draw.normal(size=(2, clips, 4))
    return views[0], views[1], labels


def slow(queries, gallery, query_labels, gallery_labels, absent=None):
    """By name, of one direction: means over the queries of loops; `absent` is the place that each query leaves out."""

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    near = (unit(queries) @ unit(gallery).T).round(9)
    rows = []
    for query, label in enumerate(query_labels):
        places = [place for place in range(len(gallery)) if absent is None or place != absent[query]]
        relevant = [gallery_labels[place] == label for place in places]
        if not any(relevant):
            continue
        ranking = ties([near[query, place] for place in places], relevant)

        def mean(score, ranking=ranking):
            return float(mean_over_orders(ranking, score))

        ap, running = mean_ap(ranking)
        rows.append(
            {
                "map": ap,
                "map_running": running,
                "map_at_r": mean(slow_ap_at_r),
                "ndcg": mean(slow_ndcg),
                "precision": mean(lambda order: sum(order[:2]) / 2),
                "hit_rate": mean(lambda order: any(order[:2])),
                "at_map": mean(lambda order: slow_ap_at(order, 2, "min")),
            }
        )
    return len(rows), {name: statistics.mean(row[name] for row in rows) for name in rows[0]}


def compared(facts, queries, gallery, absent=None):
    for way, (asked, among) in (("a2v", (0, 1)), ("v2a", (1, 0))):
        count, true = slow(queries[asked], gallery[among], queries[2], gallery[2], absent)
        assert facts["clips"] == facts["gallery"]["queries"] == count
        for name in ("map", "map_running", "map_at_r", "ndcg"):
            assert facts[f"{name}_{way}"] == pytest.approx(true[name], abs=1e-9), (name, way)
        (row,) = facts["at"]
        for name in ("precision", "hit_rate"):
            assert row[f"{name}_{way}"] == pytest.approx(true[name], abs=1e-9), (name, way)
        assert row[f"map_{way}"] == pytest.approx(true["at_map"], abs=1e-9)


@pytest.mark.parametrize("kind", ["random", "tied"])
def test_the_own_pair_is_left_out(kind):
    clips = made(7, kind=kind, names=("car", "dog", "rain", "siren"))
    facts = evaluation(within(checked_embeddings(*clips), OTHER), [2])
    compared(facts, clips, clips, absent=range(7))
    assert facts["gallery"]["clips"] == 6
    assert not facts["gallery"]["own_pair"]
    assert "pair_a2v" not in facts["median_rank"]
    assert "pair_hit_rate_a2v" not in facts["at"][0]
    single = sum(list(clips[2]).count(label) == 1 for label in clips[2])
    assert facts["gallery"]["queries_left_out"] == single
    assert single == 7 - facts["clips"]


@pytest.mark.parametrize("kind", ["random", "tied"])
def test_queries_and_gallery_of_any_sizes(kind):
    """Classes are told by their names, and a query of a class that the gallery lacks does not count."""
    queries, gallery = made(5, 1, ("dog", "rain", "zoo"), kind), made(8, 2, ("car", "dog", "rain"), kind)
    facts = evaluation(given(checked_embeddings(*queries), checked_embeddings(*gallery)), [2], per_class=True)
    compared(facts, queries, gallery)
    assert facts["gallery"]["kind"] == "given"
    assert facts["gallery"]["queries_left_out"] == list(queries[2]).count("zoo")
    assert {one["name"] for one in facts["by_class"]["classes"]} == set(queries[2]) - {"zoo"}


def test_halves_are_of_different_clips_and_of_every_class():
    clips = checked_embeddings(*made(41))
    sets = within(clips, DISJOINT)
    held = {row.tobytes() for row in sets.gallery.audio}
    assert not held & {row.tobytes() for row in sets.queries.audio}
    assert len(sets.queries.labels) + len(sets.gallery.labels) == 41
    for label in range(3):
        halves = [int((one.labels == label).sum()) for one in (sets.queries, sets.gallery)]
        assert abs(halves[0] - halves[1]) <= 1
    again = within(clips, DISJOINT)
    assert np.array_equal(again.queries.audio, sets.queries.audio), "the same halves every time"
    compared(evaluation(sets, [2]), *(tuple(one[:3]) for one in (sets.queries, sets.gallery)))


def test_of_several_labels_a_clip_all_clips_are_halved_and_it_is_said():
    audio, visual, _ = made(12)
    labels = np.random.default_rng(1).integers(2, size=(12, 3)).astype(bool)
    labels[:, 0] |= ~labels.any(axis=1)
    facts = within(checked_embeddings(audio, visual, labels), DISJOINT).facts()
    assert words(facts)[0] == "gallery disjoint: other clips than the queries: halves of all clips, seed 0"
    assert "halves of each class" in words(within(checked_embeddings(*made(12)), DISJOINT).facts())[0]


def test_the_own_clip_is_found_in_a_gallery_that_holds_it():
    audio, visual, labels = made(12)
    queries = checked_embeddings(audio[:6], visual[:6], labels[:6])
    everything = checked_embeddings(audio, visual, labels)
    facts = evaluation(given(queries, everything), [2])
    assert facts["gallery"]["own_pair"]
    assert facts["gallery"]["queries_in_gallery"] == 6
    near = audio @ visual.T / np.linalg.norm(visual, axis=1)
    ranks = [1 + int((row > row[place]).sum()) for place, row in enumerate(near[:6])]
    assert facts["median_rank"]["pair_a2v"] == statistics.median(ranks)
    part = evaluation(given(everything, queries), [2])
    assert "6 of the queries are clips of the gallery, too" in " ".join(words(part["gallery"]))
    assert "pair_a2v" not in part["median_rank"]


@pytest.mark.parametrize("own", [True, False])
def test_the_own_clip_is_found_whatever_the_type_of_its_numbers(own):
    audio, visual, labels = made(12)
    audio[3, 1], audio[4] = 0.0, 0.0
    whole = checked_embeddings(audio, visual, labels)
    narrow = [one.astype(np.float32) for one in (audio, visual)]
    if not own:
        narrow[1] = narrow[1] + np.float32(0.01)  # another frame with the same sound
    negative = np.where(narrow[0] == 0, np.float32(-0.0), narrow[0])
    for queries, gallery in (((negative, narrow[1]), whole), ((audio, visual), None)):
        gallery = gallery or checked_embeddings(negative, narrow[1], labels)
        facts = given(checked_embeddings(*queries, labels), gallery).facts()
        assert (facts["own_pair"], facts["queries_in_gallery"]) == (own, 12 * own)


def test_one_query_is_found_among_embeddings_that_rounding_has_changed():
    audio, visual, labels = made(300)
    audio, visual = audio.astype(np.float32), visual.astype(np.float32)
    everything = checked_embeddings(audio, visual, labels)
    for place in (0, 299):
        query = checked_embeddings(np.nextafter(audio[[place]], 9), np.nextafter(visual[[place]], 9), labels[[place]])
        assert given(query, everything).pair.tolist() == [place]
    near = checked_embeddings(audio[:2] * np.float32(1.001), visual[:2], labels[:2])
    assert given(near, everything).shared == 0, "a frame that is near is another clip"


def test_of_clips_that_a_model_has_brought_to_one_point_none_is_told():
    audio, visual, labels = made(3)
    point = [np.repeat(one[:1], 3, axis=0) + 1e-12 * np.arange(3)[:, None] for one in (audio, visual)]
    gallery = checked_embeddings(*point, labels)
    query = checked_embeddings(*(one[:1] + 5e-13 for one in point), labels[:1])
    assert given(query, gallery).shared == 0
    assert given(gallery, gallery).pair.tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 5])
def test_a_models_clips_are_told_by_their_features(count):
    """Its embeddings of a clip depend on the clips beside it, in the last bits: here blocks of a gallery of 8,200."""
    audio, visual, labels = made(8200)
    rows = slice(0, count)
    features = [one.astype(np.float32) for one in (audio, visual)]
    changed = checked_embeddings(audio[rows] * 1.01, visual[rows] * 1.01, labels[rows])
    of_queries = (features[0][rows].copy(), features[1][rows].copy())
    sets = given(changed, checked_embeddings(audio, visual, labels), (of_queries, tuple(features)))
    assert sets.pair.tolist() == list(range(count))
    of_queries[1][:] += np.float32(1e-3)
    assert given(changed, checked_embeddings(audio, visual, labels), (of_queries, tuple(features))).shared == 0


def test_all_is_the_usual_score():
    clips = made(20)
    usual = avtune.evaluate(audio=clips[0], visual=clips[1], labels=clips[2])
    same = avtune.evaluate(query=clips, gallery=clips, confusion=True)
    assert usual.gallery["kind"] == "all"
    for name in ("map_a2v", "map_running", "map_at_r", "ndcg_v2a", "bootstrap95", "at", "median_rank"):
        assert getattr(same, name) == getattr(usual, name), name
    assert "gallery all: every clip of the other view, the query's own pair included" in repr(usual)
    other = avtune.evaluate(audio=clips[0], visual=clips[1], labels=clips[2], gallery="other", confusion=3)
    assert other.map < usual.map or other.gallery["clips"] == 19
    assert np.sum(other.confusion["a2v"], axis=1) == pytest.approx(1)


def test_several_labels_a_clip_share_a_gallery():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], bool)
    clips = checked_embeddings(*made(3))._replace(labels=labels, names=("a", "b", "c"))
    assert within(clips, OTHER).queries.labels.tolist() == labels[:2].tolist(), "nothing shares a label with the third"
    sets = given(clips, clips._replace(labels=labels[:, ::-1].copy(), names=("c", "b", "a")))
    assert sets.gallery.labels.shape == (3, 3)
    assert sets.queries.labels[:, list(sets.names).index("a")].tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"gallery": "othr"},
            "gallery is 'othr'; allowed: all, disjoint, other, or clips that are there; did you mean",
        ),
        ({"gallery": made(4)[:2]}, r"give \(audio, visual, labels\)"),
        ({"gallery": made(4, names=("siren",))}, "no query has a clip of its class in the gallery"),
        ({"gallery": (np.ones((2, 3)), np.ones((2, 3)), ["car", "dog"])}, "4-d embeddings and the gallery 3-d ones"),
    ],
)
def test_what_cannot_be_looked_for_is_said(arguments, said):
    with pytest.raises(UserError, match=said):
        avtune.evaluate(query=made(6), **arguments)


def test_sets_whose_classes_have_other_names_show_both():
    queries, others = (checked_embeddings(*made(6, names=names)) for names in (("car", "dog"), ("bus", "cat")))
    with pytest.raises(UserError) as caught:
        given(queries, others)
    assert "queries: car, dog; gallery: bus, cat" in str(caught.value)


def test_ranks_beyond_the_gallery_are_told():
    clips = made(12)
    scored = avtune.evaluate(query=clips, at=(1, 12, 13, 100))
    assert ([row["k"] for row in scored.at], scored.at_left_out) == ([1, 12], (13, 100))
    assert "ranks beyond the gallery" in repr(scored)
    assert avtune.evaluate(query=clips, at=(12,)).at_left_out == ()
    facts = evaluation(within(checked_embeddings(*clips)), [100])
    lines = at_lines(facts, [100], {"a2v": "audio->visual", "v2a": "visual->audio"})
    assert lines[0] == "note: nothing at 100: there are 12 clips"
    assert not any(line.split()[:1] == ["k"] for line in lines), "no table is empty"


def test_directions_have_the_names_of_the_views():
    clips = made(12)
    facts = evaluation(within(checked_embeddings(*clips)), [1])
    scored = Evaluation.of(facts, views=("image", "text"))
    for text in (repr(scored), scored._repr_html_()):
        assert "audio" not in text
        assert f"image-{'>' if text.startswith('<E') else '&gt;'}text {facts['median_rank']['class_a2v']:g}" in text


def test_embeddings_without_dimensions_or_with_a_mask_are_refused():
    audio, visual, labels = made(4)
    with pytest.raises(UserError, match="its clips have no dimensions"):
        avtune.evaluate(audio=audio[:, :0], visual=visual[:, :0], labels=labels)
    hidden = np.ma.masked_array(audio, mask=False)
    assert avtune.evaluate(audio=hidden, visual=visual, labels=labels).clips == 4
    hidden[1, 2] = np.ma.masked
    with pytest.raises(UserError, match="audio is a masked array with masked values"):
        avtune.evaluate(audio=hidden, visual=visual, labels=labels)


def test_files_of_other_numberings_are_matched_by_the_names_of_classes(tmp_path):
    audio, visual, _ = made(4)
    views = {"audio": audio.astype(np.float32), "visual": visual.astype(np.float32)}
    numbers = np.array([0, 0, 1, 1])

    def read(name, labels, names):
        write_embeddings(tmp_path / name, views, labels, names)
        return read_embeddings(tmp_path / name)

    one = read("a.npz", numbers, {0: "dog", 1: "rain"})
    other = read("b.npz", 1 - numbers, {0: "rain", 1: "dog", 2: "car"})
    assert (list(one.names), list(other.names)) == (["dog", "rain"], ["rain", "dog"])
    sets = given(one, other)
    assert sets.queries.labels.tolist() == sets.gallery.labels.tolist()
    assert "classes_by_number" not in sets.facts()
    bare = read("c.npz", numbers, {0: "0", 1: "1"})
    assert "class_names" not in np.load(tmp_path / "c.npz")
    assert "classes have no names; those of one number are taken for the same" in words(given(bare, bare).facts())[-1]
    with pytest.raises(UserError, match="the classes of the queries have names, and those of the gallery only numbers"):
        given(one, bare)
    np.savez(tmp_path / "d.npz", **views, labels=numbers, class_names=["dog"])
    with pytest.raises(UserError, match="a name for each label from 0 is needed"):
        read_embeddings(tmp_path / "d.npz")
    several = read("e.npz", np.eye(4, 3, dtype=bool) | np.eye(4, 3, k=-1, dtype=bool), {0: "dog", 1: "rain", 2: "car"})
    assert list(several.names) == ["dog", "rain", "car"]
