"""Buildspecs: they install what the actions import, run one fixed command, and hand over the right artifacts."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from stacks.import_closure import import_closure
from tools.lock import normalise, read_lock

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


def test_there_is_one_buildspec_for_each_action():
    assert {path.stem for path in BUILDSPECS.glob("*.yml")} == set(OUTPUTS)


@pytest.mark.parametrize("action", OUTPUTS)
def test_commands_are_fixed_text(action):
    # Who asks and for what reaches the action through its environment, never through a shell line.
    phases = read(action)["phases"]

    assert phases["install"]["commands"] == [
        # By hashes, and without running anything that a package brings along for its making.
        "python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary ':all:' "
        "-r buildspec/requirements.txt"
    ]
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


def test_everything_the_actions_import_is_installed():
    # Given all files that the actions and the scripts they run can come to load
    closure = import_closure((), packages=["defectory.sensors"])
    assert ROOT / "defectory" / "sensors" / "pipeline" / "publishing.py" in closure.files

    # Then whatever they import, at once or late, is in Python itself or a requirement
    imported = {name.partition(".")[0] for file in closure.files if file.suffix == ".py" for name in imports_of(file)}
    owners = packages_distributions()
    modules = imported - sys.stdlib_module_names - {"defectory"}
    installed = read_lock((BUILDSPECS / "requirements.txt").read_text())
    assert {normalise(owners[module][0]) for module in modules} <= installed.keys()


def imports_of(path):
    """Names of the modules that a file imports, at its top or late."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
