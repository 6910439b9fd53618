"""From what is asked of CodeBuild to what the agent does: buildspec, variables, artifacts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defectory.archives import read_member, zip_members
from defectory.errors import InputError
from defectory.local.archives import SOURCE
from defectory.local.environment import with_interpreter_first
from defectory.local.server.authorization.permissions import Access, Permit
from defectory.local.server.codebuild import interpreter
from defectory.local.server.codebuild.agent import Commands, Job, Output
from defectory.local.server.codebuild.buildspec import DEFAULT_FILE, PHASES, Artifacts, Buildspec, Files, Phase
from defectory.local.server.services import Scope, call
from defectory.sensors.sandbox.layers import OUTER_WALL_VARIABLE

LARGEST_BUILDSPEC = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where an artifact goes; ``identifier`` is empty for the primary one."""

    identifier: str
    bucket: str
    key: str
    packed: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """A build that is to be made.

    Attributes:
        sources: identifier and archive, the primary (with an empty identifier) first; no archive, an empty folder.
        reads: the ARNs of the objects that the archives are.
        variables: environment variables in the API's form, beyond the project's.
    """

    project: str
    sources: Sequence[tuple[str, Path | None]]
    reads: Sequence[str]
    targets: Sequence[Target]
    variables: Sequence[Mapping[str, str]] = ()
    buildspec: str | None = None
    source_version: str | None = None
    initiator: str = "local"
    timeout_minutes: float | None = None


def job(order: Order, project: Mapping[str, Any], folder: Path, environment: Mapping[str, str], permit: Permit) -> Job:
    """What the agent has to do in ``folder``.

    Args:
        environment: what every build has, and CodeBuild's own variables of this one.
        permit: knows what the project's role may do.

    Raises:
        InputError: the buildspec is missing or wrong.
        ServiceFault: a parameter or secret that a variable names is missing.
        ArchiveError: the source cannot be unpacked.
        NotAuthorized: the project's role may not read a parameter or secret.
    """
    spec = _buildspec(order, project)
    identifiers = [identifier for identifier, _ in order.sources]
    places = [folder / (f"src-{identifier}" if identifier else "src") for identifier in identifiers]
    scratch, home, temporary = (folder / name for name in ("scratch", "home", "tmp"))
    for directory in (scratch, home, temporary):
        directory.mkdir()
    programs = interpreter.create(folder / "python")
    variables = [*((project.get("environment") or {}).get("environmentVariables") or []), *order.variables]
    return Job(
        sources=[
            (str(place), str(archive) if archive else None)
            for place, (_, archive) in zip(places, order.sources, strict=True)
        ],
        scratch=str(scratch),
        shell=spec.env.shell,
        environment={
            "LANG": "C.UTF-8",
            # Nobody reads that there is a newer pip; asking takes longer than all else where all is installed.
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            **environment,
            "PATH": os.pathsep.join([str(programs), with_interpreter_first(environment.get("PATH", os.defpath))]),
            "HOME": str(home),
            "TMPDIR": str(temporary),
            # The project's variables win over the buildspec's, and an action's over both.
            **spec.env.variables,
            **{name: _parameter(value, permit) for name, value in spec.env.parameters.items()},
            **{name: _secret(value, permit) for name, value in spec.env.secrets.items()},
            **{str(variable["name"]): _value(variable, permit) for variable in variables},
            **{
                f"CODEBUILD_SRC_DIR_{identifier}" if identifier else "CODEBUILD_SRC_DIR": str(place)
                for identifier, place in zip(identifiers, places, strict=True)
            },
            # A buildspec may count on the container that it runs in; here is none: the sandbox has to hold by itself.
            OUTER_WALL_VARIABLE: "",
        },
        phases=[_commands(name, spec.phases.get(name) or Phase()) for name in PHASES],
        outputs=[_output(target, spec.artifacts, folder, alone=len(order.targets) == 1) for target in order.targets],
        exported=spec.env.exported,
    )


def artifact_path(target: Target, folder: Path) -> Path:
    """The archive, or the folder, that the agent makes of an artifact."""
    return folder / f"artifact-{target.identifier}"


def _commands(name: str, phase: Phase) -> Commands:
    return Commands(name.upper(), phase.commands, phase.after, goes_on=phase.on_failure == "CONTINUE")


def _buildspec(order: Order, project: Mapping[str, Any]) -> Buildspec:
    buildspec = order.buildspec or project["source"].get("buildspec") or DEFAULT_FILE
    if "\n" in buildspec or buildspec.lstrip().startswith("{"):
        return Buildspec.parse(buildspec, "buildspec")
    archive = order.sources[0][1]
    if archive is None:
        raise InputError("buildspec", "given in the project, as there is no source", buildspec)
    with archive.open("rb") as packed:
        spec = read_member(zip_members(packed, SOURCE), buildspec, LARGEST_BUILDSPEC)
    if spec is None:
        raise InputError("buildspec", f"a file of the source, such as {DEFAULT_FILE}", buildspec)
    try:
        return Buildspec.parse(spec.decode(), buildspec)
    except UnicodeDecodeError as error:
        raise InputError(buildspec, "text in UTF-8", fix=str(error)) from None


def _output(target: Target, artifacts: Artifacts, folder: Path, *, alone: bool) -> Output:
    # The only artifact of a pipeline's action may be the primary one; several go by their names.
    files: Files | None = artifacts if not target.identifier or (alone and artifacts.files) else None
    files = files or artifacts.secondary.get(target.identifier)
    if files is None or not files.files:
        where = f"secondary-artifacts.{target.identifier}" if target.identifier else "artifacts"
        raise InputError(f"buildspec: {where}", "declared with its files, because the build has to hand it over")
    return Output(
        target=str(artifact_path(target, folder)),
        files=files.files,
        base_directory=files.base_directory,
        discard_paths=files.discard_paths,
        excluded=files.excluded,
        packed=target.packed,
    )


def _value(variable: Mapping[str, str], permit: Permit) -> str:
    kind = variable.get("type") or "PLAINTEXT"
    if kind == "PARAMETER_STORE":
        return _parameter(variable["value"], permit)
    return _secret(variable["value"], permit) if kind == "SECRETS_MANAGER" else variable["value"]


def _parameter(name: str, permit: Permit) -> str:
    permit(Access("ssm:GetParameters", Scope.current().arn("ssm", f"parameter/{name.lstrip('/')}")))
    reply = call("ssm", "AmazonSSM.GetParameter", Name=name, WithDecryption=True)
    return str(reply["Parameter"]["Value"])


def _secret(reference: str, permit: Permit) -> str:
    """``id:json-key:version-stage:version-id``, of which all but the first may be left out; the id may be an ARN."""
    parts = reference.split(":")
    length = 7 if reference.startswith("arn:") else 1
    secret, (key, *_) = ":".join(parts[:length]), [*parts[length:], ""]
    permit(Access("secretsmanager:GetSecretValue", _secret_arn(secret)))
    value = str(call("secretsmanager", "secretsmanager.GetSecretValue", SecretId=secret)["SecretString"])
    return str(json.loads(value)[key]) if key else value


def _secret_arn(secret: str) -> str:
    described = call("secretsmanager", "secretsmanager.DescribeSecret", SecretId=secret)
    return str(described["ARN"])
