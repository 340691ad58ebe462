"""What a search may maximise, as it is written."""

import pytest

from avtune.core.errors import UserError
from avtune.core.objective import MAP, label, objective, spelled, value_of


@pytest.mark.parametrize(
    ("text", "metric", "k", "weights"),
    [
        ("map@r", "map@r", 0, (0.5, 0.5)),
        (" map@50 ", "map@k", 50, (0.5, 0.5)),
        ("ndcg", "ndcg", 0, (0.5, 0.5)),
        ("audio->visual", "map", 0, (1, 0)),
        ("visual->audio", "map", 0, (0, 1)),
        ("0.7 * audio->visual + 0.3 * visual->audio", "map", 0, (0.7, 0.3)),
        ("visual->audio+3*audio->visual", "map", 0, (0.75, 0.25)),
    ],
)
def test_what_it_says(text, metric, k, weights):
    found = objective(text)
    assert (found.metric, found.k) == (metric, k)
    assert found.weights == pytest.approx(weights)
    assert found.text == "".join(text.split())
    assert found.mean(0.5, 1) == pytest.approx(weights[0] * 0.5 + weights[1])
    assert objective(found.text) == found
    assert not found.is_map


def test_map_is_what_nobody_needs_to_say():
    assert objective("map") is MAP
    assert MAP.is_map
    assert (label("map"), label("map@r"), label("ndcg", "validation")) == ("val MAP", "val map@r", "validation ndcg")
    assert value_of({"val_map": 0.5, "val_map_a2v": 0.6}) == 0.5
    assert value_of({"val_map": 0.5, "val_objective": 0.25}) == 0.25
    assert value_of({"loss": 1}) is None


def test_views_have_other_names():
    assert objective("text->image", ("image", "text")).weights == (0, 1)
    with pytest.raises(UserError, match="'image->txt'; this data set has image->text and text->image; did you mean"):
        objective("image->txt", ("image", "text"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mapr", "objective is 'mapr'; allowed: map, map@r, map@K .*; did you mean 'map@r'"),
        ("map@0", "allowed: map, map@r"),
        ("", "allowed: map, map@r"),
        ("audio-", "put quotes around a direction"),
        ("audio->visual+", "allowed: map, map@r"),
        ("a->b+b->a+a->b", "allowed: map, map@r"),
        ("-1*audio->visual+visual->audio", "allowed: map, map@r"),
        ("0*audio->visual+visual->audio", "names each direction once, with a weight above 0"),
        ("audio->visual+audio->visual", "names each direction once"),
    ],
)
def test_what_is_none_is_said(text, said):
    with pytest.raises(UserError, match=said):
        objective(text)


def test_a_space_keeps_it_whatever_the_data_set_is():
    assert spelled("2*image->text + text->image") == "2*image->text+text->image"
