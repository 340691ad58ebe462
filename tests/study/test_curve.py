import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtune.study.curve import Curve

values = st.lists(st.floats(0, 1), max_size=12)


@given(values, st.integers(0, 14))
def test_a_curve_is_the_plain_mapping(some, until):
    curve, plain = Curve(), {}
    for epoch, value in enumerate(some, 1):
        curve.add(epoch, value)
        plain[epoch] = value
    assert curve == plain
    assert curve == Curve(some)
    assert list(curve.items()) == list(plain.items())
    assert curve.last == max(plain, default=0)
    assert curve.best_epoch == min((e for e in plain if plain[e] == max(some)), default=None)
    assert curve.best_until(until) == max((v for e, v in plain.items() if e <= until), default=None)
    curve.cut(until)
    assert curve == {e: v for e, v in plain.items() if e <= until}


def test_an_epoch_it_does_not_know_is_no_key_of_it():
    curve = Curve([0.5, 0.25])
    assert repr(curve) == "Curve([0.5, 0.25])"
    for epoch in (0, 3, -1, "1"):
        assert epoch not in curve
        with pytest.raises(KeyError):
            curve[epoch]
