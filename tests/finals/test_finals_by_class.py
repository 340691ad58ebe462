"""`final/by_class.json`: made from scores and embeddings, written, read, and refused where it is damaged."""

import dataclasses
import json

import numpy as np
import pytest
from toy import toy_dataset

from avtune.core.errors import UserError
from avtune.finals import by_class as finals
from avtune.finals.by_class import by_class
from avtune.metrics import retrieval_scores
from avtune.metrics.cutoffs import cutoffs
from avtune.study.by_class import read_by_class, write_by_class
from avtune.study.folder import StudyFolder


@pytest.fixture(scope="module")
def made():
    """Of a dataset with a class that has no test clips; two seeds."""
    data = toy_dataset(classes=3, test=24)
    data = dataclasses.replace(data, class_names=(*data.class_names, "</script>none"))
    draw = np.random.default_rng(0)
    seeds = [tuple(draw.normal(size=(2, 24, 4))) for _ in range(2)]
    scores = [retrieval_scores(*one, data.test.labels, exact=True) for one in seeds]
    return data, scores, seeds[0], by_class(data, scores, *seeds[0])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "final").mkdir()
    return StudyFolder(tmp_path)


def test_it_holds_means_over_seeds_and_the_saved_model(made):
    data, scores, _, found = made
    assert found.classes == data.class_names
    assert found.clips == (8, 8, 8, 0)
    assert found.labels == tuple(data.test.labels)
    for name, way in (("ap_a2v", found.a2v), ("ap_v2a", found.v2a)):
        ap = np.mean([getattr(one, name) for one in scores], axis=0)
        assert way.map[:3] == pytest.approx([ap[data.test.labels == one].mean() for one in range(3)], abs=1e-6)
        assert way.map[3] is None
        assert np.mean(way.map[:3]) == pytest.approx(ap.mean(), abs=1e-6), "as many clips of each class"
        assert sum(map(sum, way.confusion)) == pytest.approx(24)
        assert len(way.curve) == 101
        assert list(way.curve) == sorted(way.curve, reverse=True)
        first = getattr(scores[0], name)
        assert [one.ap for one in way.examples] == pytest.approx(
            sorted(first[one.query] for one in way.examples), abs=1e-6
        )
        assert way.examples[0].ap == pytest.approx(first.min(), abs=1e-6)
        assert way.examples[-1].ap == pytest.approx(first.max(), abs=1e-6)


def test_it_holds_other_measures_of_the_saved_model(made):
    data, _, (audio, visual), found = made
    at = cutoffs(audio, visual, data.test.labels, ks=[10], exact=True)
    for name, way in (("a2v", found.a2v), ("v2a", found.v2a)):
        assert way.measures == pytest.approx(
            {
                "map_at_r": getattr(at, f"map_at_r_{name}"),
                "map_at_10": getattr(at, f"map_at_k_{name}")[0],
                "ndcg": getattr(at, f"ndcg_{name}"),
                "ndcg_at_10": getattr(at, f"ndcg_at_k_{name}")[0],
            },
            abs=1e-6,
        ), "24 clips have no rank 50"
        assert found.measures[name] == {"macro_map": pytest.approx(np.mean(way.map[:3])), **way.measures}
    both = found.measures
    assert both["mean"]["ndcg"] == pytest.approx((both["a2v"]["ndcg"] + both["v2a"]["ndcg"]) / 2)
    older = dataclasses.replace(found, a2v=dataclasses.replace(found.a2v, measures=None))
    assert older.measures is None


def test_what_is_written_is_read_again(made, folder):
    assert read_by_class(folder) is None
    write_by_class(folder, made[3])
    assert read_by_class(folder) == made[3]


def test_many_classes_have_no_confusion_matrix(made, monkeypatch, folder):
    data, scores, views, _ = made
    monkeypatch.setattr(finals, "MOST_CLASSES", 3)
    found = by_class(data, scores, *views)
    assert found.a2v.confusion is None
    write_by_class(folder, found)
    assert read_by_class(folder) == found


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts: facts.pop("labels"),
        lambda facts: facts["labels"].append(9),
        lambda facts: facts["a2v"]["map"].pop(),
        lambda facts: facts["v2a"]["confusion"].pop(),
        lambda facts: facts["v2a"]["confusion"][1].pop(),
        lambda facts: facts["a2v"]["examples"][0]["clips"].append(24),
        lambda facts: facts["a2v"]["examples"][0].update(query=-1),
        lambda facts: facts["a2v"]["measures"].update(other=0.5),
        lambda facts: facts["v2a"]["measures"].pop("ndcg"),
    ],
)
def test_a_damaged_file_is_refused(made, folder, damage):
    facts = made[3].to_json()
    facts = json.loads(json.dumps(facts))
    damage(facts)
    folder.by_class.write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"by_class\.json is damaged"):
        read_by_class(folder)
    folder.by_class.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_by_class(folder)
