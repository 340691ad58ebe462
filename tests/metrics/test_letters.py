"""Letters say exactly between which systems no difference was found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtune.metrics.letters import groups, letters


@st.composite
def differences(draw):
    count = draw(st.integers(0, 12))
    flips = draw(st.lists(st.booleans(), min_size=count * count, max_size=count * count))
    upper = np.triu(np.array(flips, dtype=bool).reshape(count, count), 1)
    return upper | upper.T


@given(differences())
@settings(deadline=None, max_examples=200)
def test_two_share_a_letter_exactly_when_they_do_not_differ(differ):
    found = letters(differ)
    assert len(found) == len(differ)
    for one in range(len(differ)):
        assert found[one]
        for other in range(len(differ)):
            assert bool(set(found[one]) & set(found[other])) != differ[one, other]


@given(differences())
@settings(deadline=None, max_examples=200)
def test_groups_are_as_large_as_can_be_and_none_is_in_vain(differ):
    found = groups(differ)
    pairs = [{(a, b) for a in group for b in group} for group in found]
    everything = {(int(a), int(b)) for a, b in np.argwhere(~differ)}
    assert set().union(*pairs) == everything
    for place, group in enumerate(found):
        outside = set(range(len(differ))) - set(group)
        assert all(differ[other, list(group)].any() for other in outside), "it could be larger"
        rest = set().union(*(some for at, some in enumerate(pairs) if at != place))
        assert rest != everything, "without it nothing would be missed"


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        ([], ["a", "a", "a", "a"]),
        ([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], ["a", "b", "c", "d"]),
        ([(0, 2), (0, 3), (1, 3)], ["a", "ab", "bc", "c"]),
        ([(0, 3)], ["a", "ab", "ab", "b"]),
        ([(0, 1), (0, 2), (0, 3)], ["a", "b", "b", "b"]),
    ],
)
def test_by_hand(differing, said):
    differ = np.zeros((4, 4), dtype=bool)
    for pair in differing:
        differ[pair] = differ[pair[::-1]] = True
    assert letters(differ) == said


def test_more_groups_than_letters():
    differ = np.ones((420, 420), dtype=bool) ^ np.eye(420, dtype=bool)
    found = letters(differ)
    assert found[0] == "a"
    assert len(set("".join(found))) == len("".join(found)) == 420, "one character each, which no other row has"
    assert "".join(found).isalpha()
