"""The wheel: what is installed from it, away from any checkout, is the library and the application."""

import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from defectory.config import STACKS

ROOT = Path(__file__).parents[2]
NOT_BUILT_FROM = ("tests", "build", ".*", "*.egg-info", "__pycache__", "node_modules", "demo-output", "cdk.out")
# Makes Python believe that the local cloud is not installed.
WITHOUT_EXTRA = """
import importlib.machinery as machinery

find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = lambda name, *more: None if name in ("ministack", "boto3") else find(name, *more)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder in which the wheel alone is installed."""
    source = tmp_path_factory.mktemp("source") / "defectory"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NOT_BUILT_FROM))
    # What somebody exported, or a build left behind, is not ours to hand on.
    (source / "models" / "inspection" / "backbone.onnx").write_bytes(b"somebody's")
    (source / "build" / "lib" / "defectory").mkdir(parents=True)
    (source / "build" / "lib" / "defectory" / "removed_since.py").touch()
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "wheel", ".", *options], cwd=source, check=True)
    folder = tmp_path_factory.mktemp("site")
    [wheel] = source.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(site, folder, *arguments, path=()):
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*path, site)))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_it_has_the_embedded_cut_outs(site):
    here, there = (root / "defectory/detection/cutouts/assets" for root in (ROOT, site))

    assert {file.relative_to(there) for file in there.rglob("*")} == {
        file.relative_to(here) for file in here.rglob("*")
    }


def test_it_declares_ranges_and_no_tool_of_developers(site):
    [folder] = site.glob("*.dist-info")
    metadata = message_from_string((folder / "METADATA").read_text())
    direct = [each for each in map(Requirement, metadata.get_all("Requires-Dist")) if "extra" not in str(each.marker)]

    assert len(direct) <= 14
    assert not {"pytest", "ruff", "mypy", "aws-cdk-lib", "boto3"} & {each.name for each in direct}
    assert not [str(each) for each in direct if "==" in str(each.specifier)]
    assert {"aws", "local", "deploy", "dev"} <= set(metadata.get_all("Provides-Extra"))


def test_it_holds_the_application_as_it_is_here(site):
    application = site / "defectory" / "application"
    files = {path.relative_to(application) for path in application.rglob("*") if path.is_file()}

    folders = ("stacks", "lambdas", "buildspec", "models")
    here = {path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()}
    here = {path for path in here if "__pycache__" not in path.parts and path.suffix != ".onnx"}
    assert files == {*here, Path("app.py"), Path("cdk.json")}
    assert all((application / path).read_bytes() == (ROOT / path).read_bytes() for path in files)
    assert not (site / "defectory" / "removed_since.py").exists()


def test_without_its_extra_the_demo_is_refused_before_any_work(site, tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(WITHOUT_EXTRA)

    done = run(site, tmp_path / "empty", "-m", "defectory", "demo", path=(tmp_path / "without",))

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("MissingExtra: ")
    assert "(ministack, boto3)" in done.stderr
    assert done.stderr.endswith("Install them with: pip install 'defectory[local]'\n")
    assert not list((tmp_path / "empty").iterdir())


def test_a_command_that_comes_to_lack_a_package_says_which_extra_has_it(site, tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(WITHOUT_EXTRA)
    command = ("-m", "defectory", "datasets", "fetch-feedback", "--table", "results", "--out", "confirmed")

    done = run(site, tmp_path / "empty", *command, path=(tmp_path / "without",))

    assert done.returncode == 1
    assert done.stderr.startswith("MissingExtra: ")
    assert done.stderr.endswith("Install them with: pip install 'defectory[aws]'\n")


def test_the_application_in_it_is_synthesised_away_from_any_checkout(site, tmp_path):
    # Given an empty folder and, so that nothing is installed twice, what the checkout has of functions' requirements
    (tmp_path / ".cache" / "defectory").mkdir(parents=True)
    kept = ROOT / "build" / "lambda-requirements"
    kept.mkdir(parents=True, exist_ok=True)
    (tmp_path / ".cache" / "defectory" / "lambda-requirements").symlink_to(kept)
    code = (
        "import os, pathlib; from defectory.local.synth import find_app, synthesise;"
        f"os.environ['XDG_CACHE_HOME'] = {str(tmp_path / '.cache')!r};"
        "print(find_app()); synthesise(pathlib.Path('cdk.out'))"
    )

    # When the application is synthesised there
    done = run(site, tmp_path / "empty", "-c", code)

    # Then it is the wheel's, and what its builds run is the wheel's library without the application
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == site / "defectory" / "application"
    assembly = tmp_path / "empty" / "cdk.out"
    assert len(list(assembly.glob("*.template.json"))) == len(STACKS)
    [source] = [path.parent for path in assembly.glob("asset.*/buildspec")]
    assert {path.name for path in source.iterdir()} == {"buildspec", "defectory"}
    assert (source / "defectory" / "sensors" / "pipeline" / "__main__.py").is_file()
    assert not (source / "defectory" / "application").exists()
    assert list(assembly.glob("asset.*/handler.py"))


def test_it_knows_its_version(site, tmp_path):
    done = run(site, tmp_path / "empty", "-m", "defectory", "--version")

    assert done.stdout == f"defectory {version('defectory')}\n"
