"""The functions' packages: whole, small, and built again only when something in them changed."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from defectory.config import load_config
from stacks.constructs.safety_line import HANDLING, JUDGING
from stacks.image_synthesis import FUNCTIONS as SYNTHESIS
from stacks.import_closure import MissingImportError
from stacks.packaging import LAMBDA_RUNTIME, Package, PackagingError

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent.name for path in (ROOT / "lambdas").glob("*/handler.py"))
# Each package by the function at its root.
SHARED = {group[0]: group for group in (SYNTHESIS, JUDGING, HANDLING)}
PACKAGES = SHARED | {name: (name,) for name in FOLDERS if name not in sum(SHARED.values(), ())}
AUTHORS = (
    "from defectory.sensors.authors import create_author;"
    "create_author('catalogue').list_machines('semiconductor', 3);"
    "create_author('bedrock', model_id='us.amazon.nova-pro-v1:0', region='us-east-1');"
    "from defectory.sensors.authors.prompts import list_prompt; list_prompt('steel', 3);"
)
# What the packages of functions that look at images have beyond the others'.
HEAVY = {
    "inspect_image": {"numpy", "PIL"},
    "inspect_with_model": {"numpy", "PIL", "cv2"},
    "plan_scenes": {"numpy", "polars"},
    "render_scenes": {"numpy", "PIL", "cv2"},
    "synthesize_images": {"numpy", "PIL", "cv2"},
    # An image of the test set goes to the endpoint as an upload does.
    "training_controller": {"numpy", "PIL"},
}
# What else must run on a package, and how much it may weigh in bytes: AWS Lambda takes 262,144,000.
ALSO = {
    "check_safety": "import lambdas.set_safety_rules.handler;",
    "request_sensor_data": AUTHORS,
    "render_scenes": "import lambdas.assemble_scenes.handler;"
    "from defectory.detection.scenes.compose import SceneSources;"
    "from defectory.detection.layouts.records import Layout;"
    "SceneSources(('safety_cone',)).open().render(Layout(image_id='a', size=(64, 64)));",
    "start_safety_check": "import lambdas.record_safety_check.handler;"
    "import lambdas.send_safety_alert.handler, lambdas.send_safety_digest.handler;",
    "synthesize_images": "import lambdas.plan_synthesis.handler, lambdas.assemble_dataset.handler;"
    "from defectory.images.batch.models import ImageModels;"
    "ImageModels('us-west-2', '', 'us.stability.stable-image-inpaint-v1:0').renderer('bedrock-inpaint');"
    "from defectory.images.contact_sheet import contact_sheet; contact_sheet([], bytes, title='none');",
}
LIMITS = {
    # For this machine: OpenCV and onnxruntime are a third larger for Intel's processors than for Lambda's.
    "inspect_image": 100_000_000,
    "inspect_with_model": 320_000_000,
    "plan_scenes": 300_000_000,
    "render_scenes": 340_000_000,
    "synthesize_images": 262_144_000,
    "training_controller": 100_000_000,
}


def package_of(function: str, **settings: str) -> Package:
    return Package.of(PACKAGES[function], load_config({"lambda_platform": "host", **settings}, {}))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Package:
    """A package of a small project that tests may change."""
    monkeypatch.setattr("stacks.packaging.ROOT", tmp_path)
    monkeypatch.setattr("stacks.packaging.CACHE", tmp_path / "cache")
    for name, text in {
        "lambdas/f/handler.py": "import library.core\n",
        "lambdas/f/requirements.txt": "",
        "library/__init__.py": "",
        "library/core.py": "x = 1\n",
        "library/names.yaml": "[]\n",
        "library/unused.py": "y = 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Package((tmp_path / "lambdas" / "f",), python, for_host=True, library=tmp_path / "library")


def test_the_handlers_run_on_their_package_and_lambdas_runtime_alone(tmp_path):
    # Given the packages, and beside them only what Lambda brings
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for name in LAMBDA_RUNTIME:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin)
        source = origin.parent if spec.submodule_search_locations else origin
        (runtime / source.name).symlink_to(source)
    for function in PACKAGES:
        package_of(function).build(tmp_path / function)
        code = (
            f"import sys, os; import handler; {ALSO.get(function, '')}"
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


@pytest.mark.parametrize("function", PACKAGES)
def test_a_package_holds_no_tests_no_caches_and_no_other_function(tmp_path, function):
    package_of(function).build(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").rglob("*")}

    assert "handler.py" in names
    assert not {"__pycache__", "boto3", ".lock", "tests"} & names
    assert not ({"numpy", "PIL", "cv2"} - HEAVY.get(function, set())) & names
    limit = LIMITS.get(function, 25_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) < limit


def test_the_package_with_the_model_in_it_is_no_larger_than_lambda_takes(tmp_path):
    Package.of(("inspect_with_model",), load_config({"inspection_endpoint": "lambda"}, {})).build(tmp_path / "out")

    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) < 262_144_000


def built(package: Package, output: Path) -> set[str]:
    package.build(output)
    return {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}


def test_the_package_is_the_function_and_what_it_imports(project, tmp_path):
    files = built(project, tmp_path / "out")

    assert files == {"handler.py", "library/__init__.py", "library/core.py", "library/names.yaml"}
    assert (tmp_path / "out" / "library" / "core.py").read_text() == "x = 1\n"


def test_functions_that_share_a_package_have_what_each_imports(project, tmp_path):
    (tmp_path / "lambdas" / "g").mkdir()
    (tmp_path / "lambdas" / "g" / "handler.py").write_text("from library import unused\n")
    shared = dataclasses.replace(project, functions=(*project.functions, tmp_path / "lambdas" / "g"))

    files = built(shared, tmp_path / "out")

    assert {"handler.py", "lambdas/g/handler.py", "library/core.py", "library/unused.py"} <= files


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("import library.mising", "library.mising"),
        ("from library.mising import x", "library.mising"),
        ("from library import mising", "mising"),
        ("from library.core import mising", "mising"),
        ("def handler():\n    from library import mising", "mising"),
    ],
)
def test_a_function_that_imports_what_the_library_has_not_has_no_package(project, statement, missing):
    (project.functions[0] / "handler.py").write_text(f"import os\n{statement}\n")

    with pytest.raises(MissingImportError, match=rf"handler\.py, line \d: .*\b{missing}\b"):
        project.digest()


def test_a_module_of_the_library_that_imports_what_is_not_there_is_named(project, tmp_path):
    (tmp_path / "library" / "core.py").write_text("from library.gone import x\n")

    with pytest.raises(MissingImportError, match=r"core\.py, line 1: there is no module library\.gone\."):
        project.digest()


def test_a_function_whose_requirements_lack_what_it_loads_is_not_built(project, tmp_path):
    (tmp_path / "library" / "core.py").write_text("import boto3, sqlite3\nimport scikit\n")

    with pytest.raises(MissingImportError, match=r"core\.py, line 2: .* no package scikit\..*f/requirements\.txt"):
        project.build(tmp_path / "out")
    # What is loaded on demand may be there or not, as the code that asks for it says.
    (tmp_path / "library" / "core.py").write_text("def read():\n    import pandas\n")
    project.build(tmp_path / "out")


def test_an_unchanged_package_keeps_its_digest(project, tmp_path):
    before = project.digest()
    (tmp_path / "library" / "__pycache__").mkdir()
    (tmp_path / "library" / "__pycache__" / "core.cpython-313.pyc").write_bytes(b"x")

    assert project.digest() == before


@pytest.mark.parametrize("part", ["library/unused.py", "library/new.py", "library/other/__init__.py"])
def test_a_change_of_what_is_not_imported_keeps_the_digest(project, tmp_path, part):
    before = project.digest()
    (tmp_path / part).parent.mkdir(exist_ok=True)
    (tmp_path / part).write_text("# changed\n")

    assert project.digest() == before


@pytest.mark.parametrize(
    "part",
    [
        *("lambdas/f/handler.py", "lambdas/f/requirements.txt", "lambdas/f/new.py"),
        *("library/__init__.py", "library/core.py", "library/names.yaml", "library/new.yaml"),
    ],
)
def test_a_change_of_any_part_changes_the_digest(project, tmp_path, part):
    before = project.digest()
    with (tmp_path / part).open("a") as file:
        file.write("# changed\n")

    assert project.digest() != before


def test_a_moved_file_changes_the_digest(project, tmp_path):
    before = project.digest()
    (tmp_path / "library" / "core.py").rename(tmp_path / "library" / "moved.py")
    (project.functions[0] / "handler.py").write_text("import library.moved\n")

    assert project.digest() != before


def test_another_platform_makes_another_package(project):
    others = (dataclasses.replace(project, for_host=False), dataclasses.replace(project, for_host=False, python="3.14"))

    assert len({project.digest(), *(other.digest() for other in others)}) == 3


def test_a_change_of_code_installs_nothing(project, tmp_path, monkeypatch):
    project.build(tmp_path / "first")
    (tmp_path / "library" / "core.py").write_text("x = 2\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("uv was called"))

    project.build(tmp_path / "second")

    assert (tmp_path / "second" / "library" / "core.py").read_text() == "x = 2\n"


def test_requirements_that_cannot_be_installed_are_told_with_what_uv_said(project, tmp_path):
    (project.functions[0] / "requirements.txt").write_text("this is no requirement ===\n")

    with pytest.raises(PackagingError, match=r"requirements\.txt.*\n?.*no requirement|Couldn't parse"):
        project.build(tmp_path / "out")
    assert not list((tmp_path / "cache").iterdir()), "nothing half-installed is kept"
