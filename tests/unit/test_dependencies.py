"""What is installed: few and loose for users, whole and exact for us, cut from that for what runs elsewhere."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from stacks import packaging
from stacks.packaging import LAMBDA_PLATFORM, Requirements
from tools.lock import LIST_HEADER, closure, normalise, read_lock, read_locks, render_lists, split_models_lock

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = (ROOT / "requirements.txt").read_text()
MODELS_LOCK = (ROOT / "requirements-models.txt").read_text()
DECLARED = (ROOT / "tools" / "lists.toml").read_text()
LISTS = render_lists(DECLARED, LOCK, MODELS_LOCK)
# The one extra that is not installed here.
TORCH = EXTRAS["torch"]
HERE = [each for name, extra in EXTRAS.items() if name != "torch" for each in extra]
APART = {entry["file"]: entry for entry in tomllib.loads(DECLARED)["apart"]}
SMALL_LOCK = """\
# A lock as uv writes it.
left==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via demo (pyproject.toml)
lower-part==2.5 ; sys_platform == 'linux' \\
    --hash=sha256:cc
    # via
    #   left
    #   right
right==3.1 \\
    --hash=sha256:dd
    # via demo (pyproject.toml)
"""


def needs(requirements: Iterable[str]) -> set[str]:
    """Names of everything that the requirements need on this machine, by what the installed packages declare."""
    names: set[tuple[str, str]] = set()
    todo = [Requirement(each) for each in requirements]
    while todo:
        requirement = todo.pop()
        for extra in ("", *requirement.extras):
            if (key := (normalise(requirement.name), extra)) in names:
                continue
            names.add(key)
            own = EXTRAS.get(extra, []) if key[0] == "defectory" else requires(requirement.name) or []
            declared = [Requirement(each) for each in own]
            todo += [each for each in declared if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {name for name, _ in names}


def third_party_imports(folder: Path) -> Iterator[tuple[str, Path]]:
    """Top-level modules, neither Python's nor ours, that files of a folder import at their top or late."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"defectory"}:
                yield name, path


def test_users_get_few_packages_as_ranges_and_none_of_the_developers():
    direct = {normalise(Requirement(each).name): Requirement(each) for each in PROJECT["dependencies"]}

    assert len(direct) <= 14
    for requirement in [*direct.values(), *(Requirement(each) for extra in EXTRAS.values() for each in extra)]:
        assert not [part for part in requirement.specifier if part.operator in ("==", "===")], requirement
    developers = {"pytest", "ruff", "mypy", "aws-cdk-lib", "boto3", "ministack", "pyarrow"}
    assert not needs(PROJECT["dependencies"]) & developers


def test_what_the_library_imports_comes_with_it_or_with_an_extra():
    brought = needs([*PROJECT["dependencies"], "defectory[local]"])
    owners = packages_distributions()
    # The distributions of the extra `torch` are called as their modules are.
    brought |= {Requirement(each).name for each in TORCH}
    owners |= {Requirement(each).name: [Requirement(each).name] for each in TORCH}

    for module, path in third_party_imports(ROOT / "defectory"):
        # SageMaker's container has Flask; where it is missing, the module does without.
        if (module, path.relative_to(ROOT).as_posix()) == ("werkzeug", "defectory/door/containers.py"):
            continue
        assert normalise(owners[module][0]) in brought, f"{path} imports {module}"


def test_every_direct_dependency_is_justified():
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    named = {normalise(name) for row in re.findall(r"^\| ([^|]+) \|", explained, re.M) for name in row.split(", ")}
    apart = (each for entry in APART.values() for each in entry["packages"])
    for each in (*PROJECT["dependencies"], *(each for extra in EXTRAS.values() for each in extra), *apart):
        assert normalise(Requirement(each).name) in {*named, "defectory"}


def test_the_lock_is_what_the_project_with_all_its_extras_needs():
    pins = read_lock(LOCK)
    everything = [*PROJECT["dependencies"], *HERE]
    needed = needs(everything) - {"defectory"}

    assert needed <= pins.keys(), "run `make lock`"
    # What is not needed here is needed on another platform, and says so.
    assert all(";" in pins[name].lines[0] for name in pins.keys() - needed), "run `make lock`"
    assert [name for name in needed if pins[name].lines[0].split()[0] != f"{name}=={version(name)}"] == []
    for each in map(Requirement, everything):
        if normalise(each.name) != "defectory":
            exact = pins[normalise(each.name)].lines[0].split()[0].partition("==")[2]
            assert each.specifier.contains(exact, prereleases=True), f"{each} is not {exact}: run `make lock`"


def test_the_models_lock_has_what_torch_goes_with_in_the_versions_of_the_lock():
    pins, locked = read_lock(MODELS_LOCK), read_lock(LOCK)
    torch = (ROOT / "requirements-torch.txt").read_text().splitlines()[-1]
    exact = {name: pin.lines[0].split()[0] for name, pin in pins.items()} | {"torch": torch}

    apart = [package for entry in APART.values() for package in entry["packages"]]
    for each in map(Requirement, [*TORCH, *PROJECT["dependencies"], *apart]):
        name, _, version = exact[normalise(each.name)].partition("==")
        assert each.specifier.contains(version), f"{each} is not {name} {version}: run `make lock`"
    # A marker may differ: what only the one needs on some platform, the other needs on all.
    same = {name: [pin.lines[0].split()[0], *pin.lines[1:]] for name, pin in locked.items()}
    assert [
        name
        for name in pins.keys() & same.keys()
        if [pins[name].lines[0].split()[0], *pins[name].lines[1:]] != same[name]
    ] == []
    # One maker's processors need gigabytes, and are not what this is for.
    assert [name for name in pins if name.startswith(("torch", "nvidia", "cuda", "triton"))] == []


def test_a_models_lock_leaves_out_torch_and_what_is_for_one_makers_processors():
    names = ("left", "nvidia-cublas", "torch", "triton")
    whole = "".join(f"{name}==1.0 \\\n    --hash=sha256:aa\n    # via torch\n" for name in names)

    texts = split_models_lock(whole)

    assert read_lock(texts["requirements-models.txt"]).keys() == {"left"}
    assert texts["requirements-torch.txt"].splitlines()[-1] == "torch==1.0"


@pytest.mark.parametrize("file", APART)
def test_a_list_apart_has_what_it_names_in_the_locks_versions(file):
    text, pins = (ROOT / file).read_text(), read_lock(LOCK)
    apart = read_lock(text)

    assert text.startswith(LIST_HEADER.format(purpose=APART[file]["purpose"])), "run `make lock`"
    for requirement in map(Requirement, APART[file]["packages"]):
        exact = apart[normalise(requirement.name)].lines[0].split()[0].partition("==")[2]
        assert requirement.specifier.contains(exact), f"{requirement} is not {exact}: run `make lock`"
    shared = apart.keys() & pins.keys()
    assert "numpy" in shared
    assert [name for name in shared if apart[name].lines[0].split()[0] != pins[name].lines[0].split()[0]] == []


def test_every_pin_has_hashes_and_nobodys_registry_is_named():
    for text in (LOCK, MODELS_LOCK, *LISTS.values(), *((ROOT / file).read_text() for file in APART)):
        options = [line for line in text.splitlines() if "--" in line]
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in options)
        assert all(len(pin.lines) > 1 for pin in read_lock(text).values())
        assert "://" not in text


@pytest.mark.parametrize(
    "requirements",
    [Requirements.for_host, lambda file: Requirements.for_platform(file, "3.13", LAMBDA_PLATFORM)],
    ids=["host", "lambda"],
)
def test_functions_and_containers_are_installed_by_hash_and_from_wheels(requirements, tmp_path, monkeypatch):
    # Given uv as a program that only notes how it is called
    calls: list[list[str]] = []
    others = subprocess.run

    def run(command, *arguments, **options):
        if "--target" in command:
            calls.append(command)
            command = ["mkdir", command[command.index("--target") + 1]]
        # The others are Python's own, to name the platform.
        return others(command, *arguments, **options)

    monkeypatch.setattr(packaging, "CACHE", tmp_path)
    monkeypatch.setattr(packaging.subprocess, "run", run)

    requirements(ROOT / "models" / "inspection" / "requirements.txt").installed()

    ((*_, pip, install),) = (command[:3] for command in calls)
    assert (pip, install) == ("pip", "install")
    assert {"--require-hashes", "--no-deps"} <= set(calls[0])
    assert calls[0][calls[0].index("--only-binary") + 1] == ":all:"


def test_nothing_that_runs_elsewhere_installs_in_another_way():
    # Given everything that builds, functions and containers are made of, and what makes it
    sources = [path for folder in ("buildspec", "lambdas", "models", "stacks") for path in (ROOT / folder).rglob("*")]
    texts = {path: path.read_text() for path in sources if path.suffix in (".py", ".yml", ".yaml", ".sh", ".json")}
    installs = {
        path.relative_to(ROOT).as_posix(): re.findall(r"^.*\bpip\W{1,5}(?:install|download|wheel)\b.*$", text, re.M)
        for path, text in texts.items()
    }

    # Then buildspecs do so, by hashes as their own test says, and `Requirements`, which is tested above
    assert {name for name, lines in installs.items() if lines} == {
        "stacks/packaging.py",
        *(path.relative_to(ROOT).as_posix() for path in (ROOT / "buildspec").glob("*.yml")),
    }


@pytest.mark.parametrize("path", LISTS)
def test_lists_are_what_the_command_would_write(path):
    assert (ROOT / path).read_text() == LISTS[path], "run `make lock`"


def test_every_list_of_the_application_is_declared():
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in ("lambdas", "models", "buildspec")
        for path in (ROOT / folder).rglob("requirements*.txt")
    }

    assert there <= {*LISTS, *APART}


@pytest.mark.parametrize("path", LISTS)
def test_a_list_holds_all_that_its_packages_need(path):
    pins, names = read_locks(LOCK, MODELS_LOCK), read_lock(LISTS[path]).keys()
    # What is not installed here, as what goes with torch, is held against the lock alone.
    here = {name for name in names & read_lock(LOCK).keys() if ";" not in pins[name].lines[0]}

    # Training's is installed beside the endpoint's, and that of torch beside both.
    before = {"-training.txt": ("",), "-training-torch.txt": ("", "-training")}
    ending = next((ending for ending in before if path.endswith(ending)), "")
    lists = [path.removesuffix(ending) + f"{part}.txt" for part in before.get(ending, ())]
    beside = {name for other in lists for name in read_lock(LISTS[other])}
    assert needs(here) <= {*names, *beside}
    assert closure(list(names), pins) <= {*names, *beside}


def test_a_closure_follows_what_the_lock_says_who_needs():
    pins = read_lock(SMALL_LOCK)

    assert closure(["Left"], pins) == {"left", "lower-part"}
    assert closure(["lower_part"], pins) == {"lower-part"}


def test_a_list_keeps_versions_markers_and_hashes():
    declared = '[[group]]\npurpose = "Why."\n[group.files]\n"a.txt" = ["right"]\n'

    assert render_lists(declared, SMALL_LOCK) == {
        "a.txt": LIST_HEADER.format(purpose="Why.")
        + "lower-part==2.5 ; sys_platform == 'linux' \\\n    --hash=sha256:cc\n"
        + "right==3.1 \\\n    --hash=sha256:dd\n"
    }


def test_a_list_may_leave_out_what_another_holds():
    declared = (
        '[[group]]\npurpose = "One."\n[group.files]\n"a.txt" = ["left"]\n'
        '[[group]]\npurpose = "Two."\nbeyond = ["a.txt"]\n[group.files]\n"b.txt" = ["right"]\n'
    )

    assert list(read_lock(render_lists(declared, SMALL_LOCK)["b.txt"])) == ["right"]


def test_a_list_that_names_a_package_nobody_locked_is_refused():
    declared = '[[group]]\npurpose = "Why."\n[group.files]\n"a.txt" = ["middle"]\n'

    with pytest.raises(ValueError, match=r"lists\.toml: must name packages of pyproject\.toml, got middle"):
        render_lists(declared, SMALL_LOCK)
