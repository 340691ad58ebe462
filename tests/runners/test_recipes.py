"""The launch recipes, as far as a machine without those systems can check them. `test_ray_cluster.py` and
`test_slurm_for_real.py` run those for a cluster of one's own and for SLURM."""

from __future__ import annotations

import json
import lzma
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from avtune.cli.main import parser

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "runners"

# In a process of its own: a test module that imports Ray takes the token from later tests.
_VALIDATE = """
import json, sys
from ray.autoscaler._private.util import prepare_config, validate_config
import yaml
config = prepare_config(yaml.safe_load(open(sys.argv[1])))
validate_config(config)
print(json.dumps([config["max_workers"], sorted(config["available_node_types"])]))
"""


def test_ray_accepts_the_cluster_of_virtual_machines() -> None:
    command = [sys.executable, "-c", _VALIDATE, str(RECIPES / "vm_cluster.yaml")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == [4, ["head", "worker"]]


def test_ray_refuses_a_key_that_it_does_not_know(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text((RECIPES / "vm_cluster.yaml").read_text() + "\nsetup_comands: []\n")
    assert subprocess.run([sys.executable, "-c", _VALIDATE, str(broken)], capture_output=True).returncode


@pytest.fixture(scope="module")
def rayjob() -> jsonschema.Draft7Validator:
    schema = json.loads(lzma.decompress((ROOT / "tests" / "fixtures" / "rayjob.schema.json.xz").read_bytes()))
    return jsonschema.Draft7Validator(schema)


def kubernetes() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((RECIPES / "kubernetes.yaml").read_text())
    return found


def test_kuberay_accepts_the_job(rayjob: jsonschema.Draft7Validator) -> None:
    assert [error.message for error in rayjob.iter_errors(kubernetes())] == []


def test_kuberay_refuses_a_field_that_it_does_not_know(rayjob: jsonschema.Draft7Validator) -> None:
    job = kubernetes()
    job["spec"]["rayClusterSpec"]["authOption"] = {"mode": "token"}
    assert not rayjob.is_valid(job)


def scripts() -> dict[str, str]:
    sky = yaml.safe_load((RECIPES / "skypilot.yaml").read_text())
    found = {file.name: file.read_text() for file in RECIPES.glob("*.sh")}
    return found | {"skypilot.yaml run": sky["run"], "skypilot.yaml setup": sky["setup"]}


@pytest.mark.parametrize("name", scripts())
def test_scripts_are_ones_that_bash_reads(name: str) -> None:
    assert subprocess.run(["bash", "-n"], input=scripts()[name], text=True).returncode == 0


@pytest.mark.parametrize("file", ["vm_cluster.yaml", "kubernetes.yaml", "skypilot.yaml", "Dockerfile"])
def test_commands_are_ones_of_the_command_line(file: str) -> None:
    """Every `avtune search` in a recipe has options that there are."""
    text = (RECIPES / file).read_text()
    found = [line.group().rstrip("()").split("     (")[0] for line in re.finditer(r"\bavtune search [^\n]*", text)]
    assert found
    for command in found:
        parser().parse_args(shlex.split(command, comments=True)[1:])


def test_every_recipe_is_listed() -> None:
    listed = (RECIPES / "README.md").read_text()
    assert [
        file.name for file in RECIPES.iterdir() if file.name != "README.md" and f"]({file.name})" not in listed
    ] == []
