"""CodeBuild in the local cloud, without a pipeline: sources, variables, phases, artifacts, and ends of every kind."""

import importlib.metadata
import io
import os
import sys
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import yaml
from botocore.client import BaseClient

from defectory.local.cloud import LocalCloud
from tests.local_cloud.processes import using
from tests.local_cloud.roles import ROLE
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("local-cloud")
Spec = dict[str, Any]


@pytest.fixture(scope="module")
def builds(cloud: LocalCloud) -> BaseClient:
    return cloud.client("codebuild")


@pytest.fixture(scope="module")
def bucket(cloud: LocalCloud) -> str:
    cloud.client("s3").create_bucket(Bucket="build-things")
    return "build-things"


@pytest.fixture
def project(builds: BaseClient) -> Callable[..., str]:
    """Makes a project of a buildspec and returns its name."""

    def make(spec: Spec | str, **more: Any) -> str:
        name = f"project-{uuid.uuid4().hex[:8]}"
        text = spec if isinstance(spec, str) else yaml.safe_dump({"version": 0.2, **spec})
        source = {"type": "NO_SOURCE", "buildspec": text, **more.pop("source", {})}
        environment = {"type": "LINUX_CONTAINER", "computeType": "BUILD_GENERAL1_SMALL", "image": "any"}
        environment["environmentVariables"] = more.pop("variables", [])
        builds.create_project(
            name=name,
            source=source,
            artifacts=more.pop("artifacts", {"type": "NO_ARTIFACTS"}),
            environment=environment,
            serviceRole=ROLE,
            **more,
        )
        return name

    return make


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return buffer.getvalue()


def found(builds: BaseClient, build_id: str) -> dict[str, Any]:
    return builds.batch_get_builds(ids=[build_id])["builds"][0]


def finished(builds: BaseClient, build_id: str) -> dict[str, Any]:
    return eventually(lambda: (b := found(builds, build_id))["buildComplete"] and b, "end of the build")


def run(builds: BaseClient, name: str, **options: Any) -> dict[str, Any]:
    return finished(builds, builds.start_build(projectName=name, **options)["build"]["id"])


def log_of(cloud: LocalCloud, build: dict[str, Any]) -> list[str]:
    place = {"logGroupName": build["logs"]["groupName"], "logStreamName": build["logs"]["streamName"]}
    return [e["message"] for e in cloud.client("logs").get_log_events(**place, startFromHead=True)["events"]]


def phases(build: dict[str, Any]) -> dict[str, str]:
    return {phase["phaseType"]: phase.get("phaseStatus", "") for phase in build["phases"]}


def failure(build: dict[str, Any]) -> tuple[str, str, str]:
    (failed,) = (phase for phase in build["phases"] if phase.get("phaseStatus") not in (None, "SUCCEEDED"))
    return failed["phaseType"], failed["contexts"][0]["statusCode"], failed["contexts"][0]["message"]


def test_sources_and_artifacts_are_archives_in_s3(
    cloud: LocalCloud, builds: BaseClient, bucket: str, project: Callable[..., str]
) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="main.zip", Body=zipped(top="1"))
    s3.put_object(Bucket=bucket, Key="parts.zip", Body=zipped(deep__part="2"))
    spec = {
        "phases": {"build": {"commands": ['cp top out.txt; cat "$CODEBUILD_SRC_DIR_parts/deep/part" >> out.txt']}},
        "artifacts": {"files": ["out.txt", "deep/*"], "secondary-artifacts": {"copy": {"files": ["out.txt"]}}},
    }
    spec["phases"]["install"] = {"commands": ["mkdir deep", "echo kept > deep/.hidden"]}
    name = project(
        spec,
        source={"type": "S3", "location": f"{bucket}/main.zip"},
        secondarySources=[{"type": "S3", "location": f"{bucket}/parts.zip", "sourceIdentifier": "parts"}],
        artifacts={"type": "S3", "location": bucket, "path": "made", "name": "all.zip", "packaging": "ZIP"},
        secondaryArtifacts=[
            {"type": "S3", "location": bucket, "name": "plain", "packaging": "NONE", "artifactIdentifier": "copy"}
        ],
    )
    build = run(builds, name)
    assert build["buildStatus"] == "SUCCEEDED", log_of(cloud, build)
    made = s3.get_object(Bucket=bucket, Key="made/all.zip")["Body"].read()
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        contents = {entry: archive.read(entry) for entry in archive.namelist()}
    assert contents == {"out.txt": b"12", "deep/.hidden": b"kept\n"}
    assert s3.get_object(Bucket=bucket, Key="plain/out.txt")["Body"].read() == b"12"


def test_variables_of_start_win_over_project_over_buildspec(
    cloud: LocalCloud, builds: BaseClient, project: Callable[..., str]
) -> None:
    cloud.client("ssm").put_parameter(Name="/build/p", Value="from the store", Type="String", Overwrite=True)
    secret = cloud.client("secretsmanager").create_secret(Name="build-s", SecretString='{"key": "from the vault"}')
    spec = {
        "env": {
            "variables": {"A": "spec", "B": "spec", "C": "spec", "N": 1, "T": True},
            "parameter-store": {"P": "/build/p"},
            "secrets-manager": {"S": f"{secret['ARN']}:key"},
        },
        "phases": {"build": {"commands": ['echo "$A|$B|$C|$N|$T|$P|$Q|$S"']}},
    }
    variables = [
        {"name": "B", "value": "project"},
        {"name": "C", "value": "project"},
        {"name": "Q", "value": "/build/p", "type": "PARAMETER_STORE"},
    ]
    build = run(
        builds, project(spec, variables=variables), environmentVariablesOverride=[{"name": "C", "value": "start"}]
    )
    assert "spec|project|start|1|true|from the store|from the store|from the vault" in log_of(cloud, build)


def test_commands_see_a_clean_environment_and_the_python_of_the_cloud(
    cloud: LocalCloud, builds: BaseClient, project: Callable[..., str]
) -> None:
    commands = ["env", 'echo "python is $(python -c "import sys; print(sys.prefix)")"']
    build = run(builds, project({"phases": {"build": {"commands": commands}}}))
    lines = log_of(cloud, build)
    names = {line.partition("=")[0] for line in lines}
    assert {"AWS_ENDPOINT_URL", "CODEBUILD_BUILD_ID", "CODEBUILD_SRC_DIR", "AWS_REGION", "HOME"} <= names
    assert not {"GATEWAY_PORT", "STATE_DIR", "PYTHONPATH", "PYTEST_CURRENT_TEST", "DOCKER_HOST"} & names
    assert not any(line == f"HOME={os.environ.get('HOME')}" for line in lines)
    assert f"CODEBUILD_BUILD_ID={build['id']}" in lines
    # An environment of the build's own, which brings in what is installed here.
    assert not any(line == f"python is {sys.prefix}" for line in lines)


def test_build_cannot_claim_to_be_in_a_container(
    cloud: LocalCloud, builds: BaseClient, project: Callable[..., str]
) -> None:
    """Else code written by a model would run here with the protection of a container that is not there."""
    spec = {
        "env": {"variables": {"DEFECTORY_SANDBOX_OUTER_WALL": "container"}},
        "phases": {"build": {"commands": ['echo "wall: [$DEFECTORY_SANDBOX_OUTER_WALL]"']}},
    }
    assert "wall: []" in log_of(cloud, run(builds, project(spec)))


def test_installed_requirements_are_installed_without_an_index(
    cloud: LocalCloud, builds: BaseClient, project: Callable[..., str]
) -> None:
    commands = ["echo boto3 > wanted.txt", "PIP_NO_INDEX=1 python -m pip install -r wanted.txt"]
    build = run(builds, project({"phases": {"install": {"commands": commands}}}))
    assert build["buildStatus"] == "SUCCEEDED", log_of(cloud, build)


def test_another_version_that_a_build_installs_is_its_own(
    cloud: LocalCloud, builds: BaseClient, project: Callable[..., str], tmp_path: Path
) -> None:
    # Given a version of a library that is none of those installed here
    wheel = tmp_path / "six-0.0.1-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: six\nVersion: 0.0.1\n"
    tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {"METADATA": metadata, "WHEEL": tags, "RECORD": ""}.items():
            archive.writestr(f"six-0.0.1.dist-info/{name}", text)
        archive.writestr("six.py", "__version__ = '0.0.1'\n")
    commands = [
        f"PIP_NO_INDEX=1 python -m pip install --no-deps {wheel}",
        'python -c "import numpy, six; print(six.__version__, numpy.__file__)"',
    ]

    # When a build installs it
    build = run(builds, project({"phases": {"build": {"commands": commands}}}))

    # Then the build has it, beside what is installed here, which is as it was
    assert f"0.0.1 {numpy.__file__}" in log_of(cloud, build)
    assert importlib.metadata.version("six") != "0.0.1"


@pytest.mark.parametrize("phase", ["install", "pre_build"])
def test_nothing_is_built_after_a_failure_before_the_build(
    cloud: LocalCloud, builds: BaseClient, project: Callable[..., str], phase: str
) -> None:
    spec = {
        "phases": {phase: {"commands": ["exit 4"]}, "build": {"commands": ["true"]}, "post_build": {"commands": []}}
    }
    build = run(builds, project(spec))
    assert build["buildStatus"] == "FAILED"
    assert failure(build) == (
        phase.upper(),
        "COMMAND_EXECUTION_ERROR",
        "Error while executing command: exit 4. Reason: exit status 4",
    )
    assert "BUILD" not in phases(build)


def test_phase_may_fail_if_the_buildspec_says_so(builds: BaseClient, project: Callable[..., str]) -> None:
    spec = {"phases": {"pre_build": {"commands": ["false"], "on-failure": "CONTINUE"}, "build": {"commands": ["true"]}}}
    build = run(builds, project(spec))
    assert build["buildStatus"] == "SUCCEEDED"
    assert (phases(build)["PRE_BUILD"], phases(build)["BUILD"]) == ("FAILED", "SUCCEEDED")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("version: 0.2\nphases: [", "YAML"),
        ("version: 0.2\nphases: {built: {commands: [a]}}", "phases.built"),
        ("version: 0.2\nphases: {build: {commands: {a: b}}}", "phases.build.commands"),
        ("buildspec/missing.yml", "buildspec"),
    ],
)
def test_wrong_buildspec_fails_the_build_and_says_where(
    builds: BaseClient, project: Callable[..., str], spec: str, complaint: str
) -> None:
    build = run(builds, project(spec))
    assert build["buildStatus"] == "FAILED"
    phase, code, message = failure(build)
    assert (phase, code) == ("DOWNLOAD_SOURCE", "YAML_FILE_ERROR")
    assert complaint in message


@pytest.mark.parametrize(
    ("artifacts", "complaint"),
    [
        ({"files": ["missing.txt"]}, "no matching artifact paths found for missing.txt"),
        ({"files": ["**/*"], "base-directory": "nowhere"}, "no matching base directory path found for nowhere"),
    ],
)
def test_missing_artifact_fails_the_build(
    builds: BaseClient, bucket: str, project: Callable[..., str], artifacts: Spec, complaint: str
) -> None:
    name = project({"artifacts": artifacts}, artifacts={"type": "S3", "location": bucket, "packaging": "ZIP"})
    phase, code, message = failure(run(builds, name))
    assert (phase, code) == ("UPLOAD_ARTIFACTS", "CLIENT_ERROR")
    assert complaint in message


@pytest.fixture
def endless(project: Callable[..., str]) -> tuple[str, str]:
    """A project whose builds never end and leave a daemon behind, and what is in its processes' command lines."""
    mark = f"3{uuid.uuid4().int % 10**9}"
    spec = {"phases": {"build": {"commands": [f"setsid nohup sleep {mark} > /dev/null 2>&1 &", f"sleep {mark}"]}}}
    return project(spec), f"sleep {mark}"


def test_stopping_a_build_ends_everything_that_it_started(builds: BaseClient, endless: tuple[str, str]) -> None:
    name, mark = endless
    build_id = builds.start_build(projectName=name)["build"]["id"]
    eventually(lambda: len(using(mark)) >= 2, "processes of the build")
    stopped = builds.stop_build(id=build_id)["build"]
    assert stopped["buildStatus"] == "STOPPED"
    assert phases(stopped)["BUILD"] == "STOPPED"
    assert using(mark) == []


def test_same_token_starts_one_build(builds: BaseClient, project: Callable[..., str]) -> None:
    name = project({"phases": {"build": {"commands": ["true"]}}})
    ids = {builds.start_build(projectName=name, idempotencyToken="once")["build"]["id"] for _ in range(2)}
    assert len(ids) == 1
    finished(builds, ids.pop())
