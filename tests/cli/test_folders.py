"""What the folders that a command line names may be."""

import pytest

from avtune.cli.folders import study_called
from avtune.core.errors import UserError


def test_a_bench_is_said_to_be_one_with_its_studies(tmp_path):
    for method in ("psd", "cca"):
        (tmp_path / "table" / method).mkdir(parents=True)
        (tmp_path / "table" / method / "study.yaml").write_text("format: 1\n")
    (tmp_path / "table" / "bench.yaml").write_text("format: 1\n")
    for name in ("table", str(tmp_path / "table")):
        with pytest.raises(UserError) as caught:
            study_called(name, tmp_path)
        assert str(caught.value) == f"{name!r} is a bench, not a study; name one of its studies: {name}/cca, {name}/psd"
