"""Legal names of studies, made of any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtune.core.names import MOST_LETTERS, is_legal_name, legal_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("my features (v2)", "my-features-v2"),
        ("toy", "toy"),
        ("a.b_c-1", "a.b_c-1"),
        ("_hidden", "hidden"),
        ("..", "data-5ec1f7e7"),
        ("Gefühle", "Gefuhle"),
        ("a/b", "a-b"),
        ("x" * 120, "x" * 100),
    ],
)
def test_examples(text, name):
    assert legal_name(text) == name


@given(st.text(), st.integers(20, MOST_LETTERS))
def test_any_text_gives_one_legal_name(text, most):
    name = legal_name(text, most)
    assert is_legal_name(name)
    assert len(name) <= most
    assert name not in (".", "..")
    assert legal_name(text, most) == name
    assert legal_name(name, most) == name, "a legal name stays"
    if is_legal_name(text) and len(text) <= most:
        assert name == text
