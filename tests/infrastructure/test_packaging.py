"""The functions' packages: whole, small, and built again only when something in them changed."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from defectory.config import load_config
from stacks.constructs.training_machine import TRAINING_MODULES
from stacks.image_synthesis import SYNTHESIS_MODULES
from stacks.inspection import LINE_MODULES
from stacks.packaging import Package, PackagingError
from stacks.sensor_data import SENSOR_MODULES

MODULES = {
    **{"request_sensor_data": SENSOR_MODULES, "close_failed_request": SENSOR_MODULES},
    **LINE_MODULES,
    "oversee_training": TRAINING_MODULES,
    "synthesize_images": SYNTHESIS_MODULES,
}
AUTHORS = (
    "from defectory.sensors.authors import create_author;"
    "create_author('catalogue').list_machines('semiconductor', 3);"
    "create_author('bedrock', model_id='us.amazon.nova-pro-v1:0', region='us-east-1');"
    "from defectory.sensors.authors.prompts import list_prompt; list_prompt('steel', 3);"
)
# What the packages of functions that look at images have beyond the others'.
HEAVY = {"inspect_image": {"numpy", "PIL"}, "synthesize_images": {"numpy", "PIL", "cv2"}}
# What else must run on a package, and how much it may weigh in bytes: AWS Lambda takes 262,144,000.
ALSO = {
    SENSOR_MODULES: AUTHORS,
    SYNTHESIS_MODULES: "import lambdas.plan_synthesis.handler, lambdas.assemble_dataset.handler;"
    "from defectory.images.batch.models import ImageModels;"
    "ImageModels('us-west-2', '', 'us.stability.stable-image-inpaint-v1:0').renderer('bedrock-inpaint');"
    "from defectory.images.contact_sheet import contact_sheet; contact_sheet([], bytes, title='none');",
}
LIMITS = {"inspect_image": 100_000_000, "synthesize_images": 262_144_000}
# What Lambda's own Python brings along.
RUNTIME = ("boto3", "botocore", "s3transfer", "urllib3", "dateutil", "six")


def package_of(function: str, **settings: str) -> Package:
    return Package.of(function, MODULES[function], load_config({"lambda_platform": "host", **settings}, {}))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Package:
    """A package of a small project that tests may change."""
    monkeypatch.setattr("stacks.packaging.ROOT", tmp_path)
    monkeypatch.setattr("stacks.packaging.CACHE", tmp_path / "cache")
    function, module = tmp_path / "lambdas" / "f", tmp_path / "library"
    for folder in (function, module):
        folder.mkdir(parents=True)
    (function / "handler.py").write_text("import library.core\n")
    (function / "requirements.txt").write_text("")
    (module / "core.py").write_text("x = 1\n")
    return Package(function, (module,), f"{sys.version_info.major}.{sys.version_info.minor}", for_host=True)


def test_the_handlers_run_on_their_package_and_lambdas_runtime_alone(tmp_path):
    # Given the packages, and beside them only what Lambda brings
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for name in RUNTIME:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin)
        source = origin.parent if spec.submodule_search_locations else origin
        (runtime / source.name).symlink_to(source)
    for function in MODULES:
        package_of(function).build(tmp_path / function)
        code = (
            f"import sys, os; import handler; {ALSO.get(MODULES[function], '')}"
            "print(*(name for name in ('numpy', 'PIL', 'cv2', 'pandas', 'polars') if name in sys.modules))"
        )

        # When an interpreter that sees nothing else loads the handler, and both authors where they may be asked
        done = subprocess.run(
            [
                sys.executable,
                "-S",
                "-E",
                "-c",
                f"import sys; sys.path[:0] = {[str(tmp_path / function), str(runtime)]!r}; {code}",
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"AWS_REGION": "us-east-1"},
        )

        # Then nothing is missing, and nothing heavy is loaded
        assert done.returncode == 0, done.stderr
        assert set(done.stdout.split()) == HEAVY.get(function, set())


@pytest.mark.parametrize("function", MODULES)
def test_a_package_holds_no_tests_no_caches_and_no_other_function(tmp_path, function):
    package_of(function).build(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").rglob("*")}

    assert "handler.py" in names
    assert not {"__pycache__", "boto3", ".lock", "tests"} & names
    assert not ({"numpy", "PIL", "cv2"} - HEAVY.get(function, set())) & names
    limit = LIMITS.get(function, 25_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) < limit


def test_the_package_is_what_its_parts_are(project, tmp_path):
    project.build(tmp_path / "out")

    assert (tmp_path / "out" / "handler.py").read_text() == "import library.core\n"
    assert (tmp_path / "out" / "library" / "core.py").read_text() == "x = 1\n"
    assert not (tmp_path / "out" / "requirements.txt").exists()


def test_an_unchanged_package_keeps_its_digest(project):
    before = project.digest()
    (project.modules[0] / "__pycache__").mkdir()
    (project.modules[0] / "__pycache__" / "core.cpython-313.pyc").write_bytes(b"x")

    assert project.digest() == before


@pytest.mark.parametrize(
    "part", ["lambdas/f/handler.py", "lambdas/f/requirements.txt", "library/core.py", "library/new.py"]
)
def test_a_change_of_any_part_changes_the_digest(project, tmp_path, part):
    before = project.digest()
    with (tmp_path / part).open("a") as file:
        file.write("# changed\n")

    assert project.digest() != before


def test_a_moved_file_changes_the_digest(project):
    before = project.digest()
    (project.modules[0] / "core.py").rename(project.modules[0] / "moved.py")

    assert project.digest() != before


def test_another_platform_makes_another_package(project):
    others = (dataclasses.replace(project, for_host=False), dataclasses.replace(project, for_host=False, python="3.14"))

    assert len({project.digest(), *(other.digest() for other in others)}) == 3


def test_a_change_of_code_installs_nothing(project, tmp_path, monkeypatch):
    project.build(tmp_path / "first")
    (project.modules[0] / "core.py").write_text("x = 2\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("uv was called"))

    project.build(tmp_path / "second")

    assert (tmp_path / "second" / "library" / "core.py").read_text() == "x = 2\n"


def test_requirements_that_cannot_be_installed_are_told_with_what_uv_said(project, tmp_path):
    (project.function / "requirements.txt").write_text("this is no requirement ===\n")

    with pytest.raises(PackagingError, match=r"requirements\.txt.*\n?.*no requirement|Couldn't parse"):
        project.build(tmp_path / "out")
    assert not list((tmp_path / "cache").iterdir()), "nothing half-installed is kept"
