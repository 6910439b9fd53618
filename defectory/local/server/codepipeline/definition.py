"""What a pipeline consists of, checked as CodePipeline checks it, in the API's form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

# AWS CodePipeline: an action takes and makes five artifacts at most.
ARTIFACT_LIMIT = 5
PROVIDERS = {("Source", "S3"), ("Build", "CodeBuild"), ("Test", "CodeBuild")}
_NAME = r"^[A-Za-z0-9.@_-]{1,100}$"


class InvalidPipeline(ValueError):
    """The pipeline cannot be made; the message says which part and why."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True)


class Artifact(_Part):
    """What one action hands to another, by its name in the pipeline."""

    name: str


class ActionType(_Part):
    """What does an action: ``Source`` by ``S3``, ``Build`` by ``CodeBuild``."""

    category: str
    owner: str = "AWS"
    provider: str
    version: str = "1"


class Action(_Part):
    """One action; equal run orders of a stage run at the same time."""

    name: Annotated[str, Field(pattern=_NAME)]
    action_type_id: ActionType
    run_order: Annotated[int, Field(ge=1, le=999)] = 1
    configuration: dict[str, str] = Field(default_factory=dict)
    input_artifacts: Annotated[list[Artifact], Field(max_length=ARTIFACT_LIMIT)] = Field(default_factory=list)
    output_artifacts: Annotated[list[Artifact], Field(max_length=ARTIFACT_LIMIT)] = Field(default_factory=list)
    namespace: str | None = None
    # The action's own; the pipeline's, if there is none.
    role_arn: str | None = None


class Stage(_Part):
    """Actions that all have to succeed before the next stage begins."""

    name: Annotated[str, Field(pattern=_NAME)]
    actions: Annotated[list[Action], Field(min_length=1)]

    def in_order(self) -> Iterator[list[Action]]:
        """The actions, those that run at the same time together."""
        for order in sorted({action.run_order for action in self.actions}):
            yield [action for action in self.actions if action.run_order == order]


class EncryptionKey(_Part):
    """The KMS key of an artifact store."""

    id: str
    type: Literal["KMS"] = "KMS"


class ArtifactStore(_Part):
    """The bucket that artifacts are kept in."""

    type: Literal["S3"] = "S3"
    location: str
    encryption_key: EncryptionKey | None = None

    @property
    def key(self) -> str:
        """The KMS key that artifacts are encrypted with, where it is not the bucket's own; else empty."""
        return self.encryption_key.id if self.encryption_key else ""


class Variable(_Part):
    """A variable of the pipeline, given at the start of an execution."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9@_-]{1,128}$")]
    default_value: str | None = None


def _whole(value: object) -> object:
    """Templates may spell numbers as text."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


class Pipeline(_Part):
    """A pipeline of type V2."""

    name: Annotated[str, Field(pattern=_NAME)]
    role_arn: str
    pipeline_type: Literal["V1", "V2"] = "V1"
    # AWS's default, SUPERSEDED, lets a newer execution overtake; that is not done here.
    execution_mode: Literal["PARALLEL", "QUEUED"]
    artifact_store: ArtifactStore
    stages: Annotated[list[Stage], Field(min_length=2)]
    variables: list[Variable] = Field(default_factory=list)
    version: Annotated[int, BeforeValidator(_whole)] = 1

    @classmethod
    def parse(cls, definition: Mapping[str, Any]) -> Pipeline:
        """Read the API's form.

        Raises:
            InvalidPipeline: CodePipeline would refuse it, or the local cloud cannot run it.
        """
        try:
            pipeline = cls.model_validate({"executionMode": "SUPERSEDED", **definition})
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(str(step) for step in first["loc"])
            raise InvalidPipeline(f"Pipeline {definition.get('name')}: {place}: {first['msg']}") from None
        pipeline._check()
        return pipeline

    @classmethod
    def from_template(cls, properties: Mapping[str, Any], name: str) -> Pipeline:
        """Read the properties of ``AWS::CodePipeline::Pipeline``."""
        definition = _from_template(properties)
        definition["name"] = properties.get("Name") or name
        if "artifactStores" in definition and "artifactStore" not in definition:
            definition["artifactStore"] = definition.pop("artifactStores")[0]["artifactStore"]
        return cls.parse(definition)

    def api(self) -> dict[str, Any]:
        """The API's form."""
        return self.model_dump(by_alias=True, exclude_none=True)

    def actions(self) -> Iterator[tuple[Stage, Action]]:
        for stage in self.stages:
            for action in stage.actions:
                yield stage, action

    def _check(self) -> None:
        artifacts: set[str] = set()
        for stage in self.stages:
            for together in stage.in_order():
                for action in together:
                    self._check_action(stage, action, artifacts)
                for action in together:
                    for artifact in action.output_artifacts:
                        if artifact.name in artifacts:
                            raise InvalidPipeline(self._where(action, f"the artifact {artifact.name} is made twice"))
                        artifacts.add(artifact.name)
        if self.variables and self.pipeline_type != "V2":
            raise InvalidPipeline(f"Pipeline {self.name}: variables need the pipeline type V2")

    def _check_action(self, stage: Stage, action: Action, artifacts: set[str]) -> None:
        kind = action.action_type_id
        first = stage is self.stages[0]
        if (kind.category, kind.provider) not in PROVIDERS:
            raise InvalidPipeline(
                self._where(
                    action,
                    f"the local cloud has no {kind.category} action of the provider {kind.provider}, only sources in "
                    "S3 and builds and tests in CodeBuild (a source in CodeCommit: set pipeline_source=asset)",
                )
            )
        if (kind.category == "Source") != first:
            raise InvalidPipeline(self._where(action, "sources stand in the first stage, and nothing else does"))
        for artifact in action.input_artifacts:
            if artifact.name not in artifacts:
                raise InvalidPipeline(self._where(action, f"no action before it makes the artifact {artifact.name}"))
        names = [artifact.name for artifact in action.input_artifacts]
        if kind.provider == "CodeBuild":
            if not names:
                raise InvalidPipeline(self._where(action, "a build needs an input artifact"))
            if "ProjectName" not in action.configuration:
                raise InvalidPipeline(self._where(action, "ProjectName is missing in its configuration"))
            primary = action.configuration.get("PrimarySource")
            if len(names) > 1 and primary not in names:
                raise InvalidPipeline(self._where(action, "PrimarySource has to name one of several input artifacts"))
        elif not {"S3Bucket", "S3ObjectKey"} <= action.configuration.keys():
            raise InvalidPipeline(self._where(action, "S3Bucket and S3ObjectKey are missing in its configuration"))

    def _where(self, action: Action, problem: str) -> str:
        return f"Pipeline {self.name}, action {action.name}: {problem}"


def _from_template(value: Any, key: str = "") -> Any:  # noqa: ANN401
    """A template spells the API's members with a capital; what is configured is left alone."""
    if isinstance(value, list):
        return [_from_template(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if key == "Configuration":
        return {name: str(item).lower() if isinstance(item, bool) else str(item) for name, item in value.items()}
    return {_uncapitalised(name): _from_template(item, name) for name, item in value.items() if name != "Tags"}


def _uncapitalised(name: str) -> str:
    return re.sub(r"^[A-Z]", lambda letter: letter[0].lower(), name)
