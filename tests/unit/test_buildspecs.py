"""Buildspecs: they install what the actions import, run one fixed command, and hand over the right artifacts."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

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
        "python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes "
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


def imports_of(path):
    """Names of the modules that a file imports, at its top or late."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(module):
    """The files that are loaded for a module of Defectory; of ``package.name``, name may be anything in the package."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        path = ROOT.joinpath(*parts[:end])
        yield from (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file())


def test_everything_the_actions_import_is_installed():
    # Given all files that the actions and the scripts they run can come to load
    todo, seen, foreign = ["defectory.sensors.pipeline.__main__", "defectory.sensors.signals"], set(), set()
    while todo:
        for file in set(files_of(todo.pop())) - seen:
            seen.add(file)
            for name in imports_of(file):
                (todo.append if name.startswith("defectory") else foreign.add)(name)
    assert ROOT / "defectory" / "sensors" / "pipeline" / "publishing.py" in seen

    # Then whatever they import is in Python itself or a requirement
    owners = packages_distributions()
    modules = {name.partition(".")[0] for name in foreign} - sys.stdlib_module_names
    installed = read_lock((BUILDSPECS / "requirements.txt").read_text())
    assert {normalise(owners[module][0]) for module in modules} <= installed.keys()
