"""Buildspecs: they install what the actions import, run one fixed command, and hand over the right artifacts."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
BUILDSPECS = ROOT / "buildspec"

OUTPUTS = {
    "write": {"Scripts": "build/scripts"},
    "run": {"Datasets": "build/datasets", "Failures": "build/failures"},
    "repair": {"RepairedScripts": "build/scripts"},
    "rerun": {"RerunDatasets": "build/datasets"},
    "publish": {},
}


def read(action):
    return yaml.safe_load((BUILDSPECS / f"{action}.yml").read_text())


def pins(path):
    return {
        Requirement(line).name.lower(): str(Requirement(line).specifier)
        for line in path.read_text().splitlines()
        if line and not line.startswith("#")
    }


def test_there_is_one_buildspec_for_each_action():
    assert {path.stem for path in BUILDSPECS.glob("*.yml")} == set(OUTPUTS)


@pytest.mark.parametrize("action", OUTPUTS)
def test_commands_are_fixed_text(action):
    # Who asks and for what reaches the action through its environment, never through a shell line.
    phases = read(action)["phases"]

    assert phases["install"]["commands"] == ["python -m pip install --quiet -r buildspec/requirements.txt"]
    assert phases["build"]["commands"] == [f"python -m defectory.sensors.pipeline {action}"]
    assert set(phases) == {"install", "build"}


@pytest.mark.parametrize("action", OUTPUTS)
def test_artifacts_are_primary_where_there_is_one_and_secondary_where_there_are_several(action):
    expected = OUTPUTS[action]
    artifacts = read(action).get("artifacts", {})

    if len(expected) < 2:
        assert artifacts.get("base-directory") == next(iter(expected.values()), None)
        assert "secondary-artifacts" not in artifacts
    else:
        secondary = artifacts["secondary-artifacts"]
        assert {name: each["base-directory"] for name, each in secondary.items()} == expected
        assert set(artifacts) == {"secondary-artifacts"}
    for each in artifacts.get("secondary-artifacts", {"": artifacts} if artifacts else {}).values():
        assert each["files"] == ["**/*"]


def test_only_the_actions_that_run_generated_code_declare_an_outer_wall():
    declared = {action for action in OUTPUTS if "DEFECTORY_SANDBOX_OUTER_WALL" in str(read(action))}

    assert declared == {"run", "rerun"}


def test_pins_are_those_of_the_project():
    project = pins(ROOT / "requirements.txt")

    assert all(project.get(name) == pin for name, pin in pins(BUILDSPECS / "requirements.txt").items())


def test_everything_the_actions_import_is_installed():
    # Given all modules that the actions load, also the ones they load late
    code = """
import sys
import defectory.sensors.pipeline.__main__
from defectory.sensors.pipeline import publishing, running, writing
from defectory.sensors.authors import bedrock, catalogue
from defectory.sensors import signals
print(*sys.modules)
"""
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    # When each third-party module is traced to its distribution
    owners = packages_distributions()
    used = {owner.lower() for module in loaded.split() for owner in owners.get(module.partition(".")[0], ())}

    # Then it is a requirement, or required by one
    installed, todo = set(), {name.lower() for name in pins(BUILDSPECS / "requirements.txt")}
    while todo:
        name = todo.pop()
        installed.add(name)
        needed = {
            re.split(r"[\s<>=!~;\[(]", line)[0].lower() for line in requires(name) or () if "extra ==" not in line
        }
        todo |= {each for each in needed if each in used or each in _installed()} - installed
    assert used - installed - {"defectory"} == set()


def _installed():
    return {owner.lower() for owners in packages_distributions().values() for owner in owners}
