"""Buildspecs, as CodeBuild reads them ("Build specification reference" in its user guide)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from defectory.errors import InputError

DEFAULT_FILE = "buildspec.yml"
PhaseName = Literal["install", "pre_build", "build", "post_build"]
PHASES: tuple[PhaseName, ...] = get_args(PhaseName)


def _commands(value: object) -> object:
    """A block of text is one command."""
    return [value] if isinstance(value, str) else value or []


def _texts(value: object) -> object:
    """YAML has its own ideas of what 1, yes and null are; in a variable all are text."""
    if not isinstance(value, dict):
        return value or {}
    return {name: _text(item) for name, item in value.items()}


def _text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value if value is not None else ""


def _flag(value: object) -> object:
    return {"yes": True, "no": False}.get(value, value) if isinstance(value, str) else value


Commands = Annotated[list[str], BeforeValidator(_commands)]
Texts = Annotated[dict[str, str], BeforeValidator(_texts)]


class _Part(BaseModel):
    # What is not known here (reports, caches, batches) makes no difference to what is built.
    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")


class Phase(_Part):
    """Commands in the order in which they run; those of ``finally`` run also after one has failed."""

    commands: Commands = Field(default_factory=list)
    after: Commands = Field(default_factory=list, alias="finally")
    on_failure: Literal["ABORT", "CONTINUE"] | None = Field(default=None, alias="on-failure")


class Environment(_Part):
    """Variables, and where their values come from."""

    shell: str = "sh"
    variables: Texts = Field(default_factory=dict)
    parameters: Texts = Field(default_factory=dict, alias="parameter-store")
    secrets: Texts = Field(default_factory=dict, alias="secrets-manager")
    exported: list[str] = Field(default_factory=list, alias="exported-variables")


class Files(_Part):
    """Which files an artifact consists of."""

    files: Commands = Field(default_factory=list)
    base_directory: str = Field(default=".", alias="base-directory")
    discard_paths: Annotated[bool, BeforeValidator(_flag)] = Field(default=False, alias="discard-paths")
    excluded: Commands = Field(default_factory=list, alias="exclude-paths")
    name: str | None = None


class Artifacts(Files):
    """The primary artifact and the others by their identifiers."""

    secondary: dict[str, Files] = Field(default_factory=dict, alias="secondary-artifacts")


class Buildspec(_Part):
    """What a build does."""

    version: Annotated[str, BeforeValidator(str)]
    env: Environment = Field(default_factory=Environment)
    phases: dict[PhaseName, Phase] = Field(default_factory=dict)
    artifacts: Artifacts = Field(default_factory=Artifacts)

    @classmethod
    def parse(cls, text: str, name: str = DEFAULT_FILE) -> Buildspec:
        """Read a buildspec.

        Raises:
            InputError: it is not YAML, or not a buildspec; the message names the place.
        """
        try:
            document: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(name, "YAML", fix=str(error)) from None
        if not isinstance(document, dict):
            raise InputError(name, "a mapping with a version and phases", document)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise InputError(f"{name}: {place}", "what CodeBuild takes there", first["input"], first["msg"] + ".")
