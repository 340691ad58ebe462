"""A few inputs of every kind of `make fuzz`; see `python -m tests.fuzz --help`."""

import pytest
from fuzz_inputs import KINDS, ORDER
from fuzz_pool import is_linux, judged

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not is_linux(), reason="counts memory through /proc")]


def test_damaged_input_is_refused_or_right(tmp_path):
    found = list(judged(range(20_000, 20_000 + 5 * len(ORDER)), tmp_path, jobs=2))
    assert [one for one in found if one["outcome"] == "PROBLEM"] == []
    assert {one["kind"] for one in found} == set(KINDS)
    outcomes = [one["outcome"] for one in found]
    assert outcomes.count("refused") > len(found) / 4, "the damage is seen"
    assert outcomes.count("right") > len(found) / 10, "and not everything is refused"
