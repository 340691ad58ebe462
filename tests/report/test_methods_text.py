"""What `avtune methods` prints."""

import pytest

from avtune.methods import METHODS, hypers_of
from avtune.report.methods import certainty, details, overview


def test_every_method_has_a_line_with_how_sure_its_definition_is():
    lines = overview()
    for name, kind in METHODS.items():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert kind.summary in line
        assert certainty(kind.source), name
        assert line.endswith(certainty(kind.source))


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        ("A 2020; exact", "exact"),
        ("B 2021; terms stated, formulas a reading", "stated, reading"),
        ("C 2022, exactly as it pleased us", ""),
    ],
)
def test_tags_are_read_from_the_source(source, tags):
    assert certainty(source) == tags


@pytest.mark.parametrize("name", METHODS)
def test_details_show_every_hyper_parameter(name):
    lines = details(name)
    for hyper in hypers_of(name).values():
        (line,) = [line for line in lines if line.split()[:1] == [hyper.name]]
        assert hyper.range_text in line
        assert line.endswith(hyper.doc)
        assert ("  static  " in line) == hyper.static


def test_details_show_what_the_methods_own_space_searches():
    (line,) = [line for line in details("psd") if line.startswith("w_cross")]
    assert "0.2 to 20, log" in line
    assert any(line.startswith("source     Zeng & Ikeda 2025") for line in details("psd"))
    assert any(line.startswith("certainty  loss terms stated, formulas a reading") for line in details("psd"))
