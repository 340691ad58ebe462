"""The vendored chart library is the released one, and can stand inside a page."""

import hashlib
import re
from pathlib import Path

import avtune

ECHARTS = Path(avtune.__file__).parent / "report" / "html" / "echarts"


def test_it_is_the_release_that_its_readme_names():
    said = (ECHARTS / "README.md").read_text()
    digest = re.search(r"`echarts.min.js` \| `([0-9a-f]{64})`", said)
    assert digest is not None
    data = (ECHARTS / "echarts.min.js").read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest.group(1)
    version = re.search(r"Apache ECharts ([0-9.]+)", said)
    assert version is not None
    assert f'version="{version.group(1)}"'.encode() in data


def test_its_licence_lies_beside_it():
    assert "Apache License" in (ECHARTS / "LICENSE").read_text()
    assert "Apache Software Foundation" in (ECHARTS / "NOTICE").read_text()


def test_it_can_stand_inside_a_script_element():
    assert "</script" not in (ECHARTS / "echarts.min.js").read_text().lower()
    assert "<!--" not in (ECHARTS / "echarts.min.js").read_text()
