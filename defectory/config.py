"""The deployment's configuration: one typed, frozen value, read from the CDK's context.

In ``cdk.json`` the settings stand together under ``"defectory"``; on the command line one is set with
``-c author=catalogue`` (or ``-c defectory:author=catalogue``), which wins.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from defectory.aws.inference_profiles import InferenceProfile, default_profile, profile_of
from defectory.aws.model_capabilities import MODELS, capabilities_of
from defectory.aws.tokens import ServiceTier
from defectory.company import CompanySettings, check_company_settings
from defectory.errors import ConfigError, InputError
from defectory.images.defaults import MODEL_IDS
from defectory.sensors.authors import AuthorName, PromptStyle

GROUP = "defectory"
FALLBACK_REGION = "us-east-1"
REGION_VARIABLES = ("AWS_REGION", "CDK_DEFAULT_REGION", "AWS_DEFAULT_REGION")
# What CloudWatch Logs can keep a log group for.
LOG_RETENTIONS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)

IMAGE_MODELS = ("image_model_id", "inpaint_model_id")

_REGION = r"^[a-z]{2}(-[a-z]+)+-[0-9]$"


def _rules() -> dict[str, str]:
    """What each setting has to be, in the user's words."""
    return {name: str(field.description) for name, field in Config.model_fields.items()}


class Config(CompanySettings):
    """Every setting, with its default."""

    name: str = Field(
        default="defectory",
        pattern=r"^[a-z][a-z0-9-]{0,19}$",
        description="1 to 20 lower-case letters, digits or hyphens, a letter first: what the stacks' names start with",
    )
    region: str = Field(pattern=_REGION, description="an AWS region, such as eu-west-1")
    image_region: str = Field(
        default="us-west-2",
        pattern=_REGION,
        description="the AWS region that image models are called in, such as us-west-2",
    )
    image_model_id: str = Field(
        default=MODEL_IDS["image_model_id"],
        description="the id of a Bedrock model that makes pictures from text or from a picture, which can be called "
        "from image_region (empty for none)",
    )
    inpaint_model_id: str = Field(
        default=MODEL_IDS["inpaint_model_id"],
        description="the id of a Bedrock model or inference profile that repaints where a mask says, which can be "
        "called from image_region (empty for none)",
    )
    image_concurrency: int = Field(
        default=10, ge=1, le=40, description="a whole number from 1 to 40: so many pictures are made at a time"
    )
    author: AuthorName = Field(
        default="bedrock", description="bedrock (a model writes the scripts) or catalogue (curated, free, offline)"
    )
    model_id: str = Field(
        default="",
        description="the id of a Bedrock inference profile that can be called from the region (empty for catalogue)",
    )
    base_model_id: str = Field(
        default="",
        max_length=200,
        description="the id of the model that model_id behaves like, such as anthropic.claude-sonnet-4-6, where "
        "Defectory does not know model_id itself (empty where it does)",
    )
    prompt_style: PromptStyle = Field(default="library", description="library or freeform")
    service_tier: ServiceTier = Field(
        default="default",
        description="default or flex: scripts are written at about half the price, and later, by models that have it",
    )
    alert_email: str | None = Field(
        default=None, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", description="an e-mail address, or left out for no e-mail"
    )
    defect_email: str | None = Field(
        default=None,
        pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
        description="an e-mail address to tell of inspected parts, or left out for no e-mail",
    )
    alert_limit_per_hour: int = Field(
        default=20,
        ge=0,
        le=1000,
        description="a whole number from 0 to 1000: so many e-mails an hour about single parts, the rest in a digest",
    )
    inspection_endpoint: Literal["serverless", "realtime"] = Field(
        default="serverless",
        description="serverless (idle, it costs nothing) or realtime (an instance that is always there)",
    )
    inspection_instance: str = Field(
        default="ml.c6i.large",
        pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$",
        description="an instance type of SageMaker hosting, such as ml.c6i.large",
    )
    inspection_registry: str | None = Field(
        default=None,
        pattern=r"^[0-9]{12}$",
        description="the 12 digits of the account whose registry has AWS's PyTorch containers, or left out",
    )
    retention_days: int = Field(
        default=365,
        ge=1,
        le=3650,
        description="a whole number of days from 1 to 3650 that requests and data are kept for",
    )
    log_retention_days: int = Field(
        default=90, description=f"a number of days that CloudWatch Logs knows: {', '.join(map(str, LOG_RETENTIONS))}"
    )
    pipeline_source: Literal["asset", "codecommit"] = Field(
        default="asset",
        description="asset (what was deployed) or codecommit (a repository that starts as what was deployed)",
    )
    run_compute: Literal["small", "medium", "large"] = Field(
        default="large", description="small, medium or large: the CodeBuild size that scripts run on (2, 4 or 8 vCPU)"
    )
    removal_policy: Literal["retain", "destroy"] = Field(
        default="retain", description="retain or destroy: what becomes of data when a stack is deleted"
    )
    lambda_platform: Literal["aws", "host"] = Field(
        default="aws", description="aws, or host (functions run on this machine, in the local cloud)"
    )
    lambda_python: str = Field(
        pattern=r"^3\.(1[1-9])$", description="a version of Python that AWS Lambda runs, 3.11 or later, such as 3.13"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Defaults that follow from other settings."""
        host = f"{sys.version_info.major}.{sys.version_info.minor}"
        values = {"lambda_python": host if values.get("lambda_platform") == "host" else "3.13", **values}
        if not values.get("model_id"):
            values["model_id"] = default_profile(str(values["region"])) or ""
        # Bedrock elsewhere is another partition's, which has no image models.
        if str(values["region"]).startswith(("cn-", "us-gov-")):
            values = {**dict.fromkeys(IMAGE_MODELS, ""), **values}
        for address in ("alert_email", "defect_email"):
            if values.get(address) == "":
                del values[address]
        return values

    @field_validator("log_retention_days")
    @classmethod
    def _known_to_cloudwatch(cls, days: int) -> int:
        if days not in LOG_RETENTIONS:
            raise ValueError("unknown to CloudWatch Logs")
        return days

    @model_validator(mode="after")
    def _model_serves_region(self) -> Self:
        try:
            profile = self.profile
        except InputError as error:
            raise ConfigError(error.field, error.rule, error.got, error.fix) from None
        if self.author == "catalogue" or (profile and profile.callable_from(self.region)):
            return self
        fix = f"Profiles of {profile.geography} cannot be called from {self.region}. " if profile else ""
        suggestion = default_profile(self.region)
        fix += (
            f"Use {suggestion}, or another of the same prefix."
            if suggestion
            else "Set author=catalogue, or another region."
        )
        raise ConfigError("model_id", _rules()["model_id"], self.model_id or None, fix)

    @model_validator(mode="after")
    def _model_has_the_tier(self) -> Self:
        model = capabilities_of(self.base_model_id or self.model_id)
        if self.author == "catalogue" or self.service_tier == "default" or model.flex:
            return self
        fix = (
            f"{self.model_id} is not known to have flex; {', '.join(row.model for row in MODELS if row.flex)} have it."
        )
        raise ConfigError("service_tier", _rules()["service_tier"], self.service_tier, fix)

    @model_validator(mode="after")
    def _image_models_serve_image_region(self) -> Self:
        for name in IMAGE_MODELS:
            if not (model_id := getattr(self, name)):
                continue
            try:
                profile = profile_of(model_id, name)
            except InputError as error:
                raise ConfigError(name, _rules()[name], model_id, error.fix) from None
            if profile and not profile.callable_from(self.image_region):
                fix = f"Profiles of {profile.geography} cannot be called from image_region {self.image_region}."
                raise ConfigError(name, _rules()[name], model_id, f"{fix} Set image_region to one that can.")
        return self

    @model_validator(mode="after")
    def _company_settings_fit(self) -> Self:
        check_company_settings(
            self, region=self.region, endpoint=self.inspection_endpoint, alert_email=self.alert_email
        )
        return self

    @property
    def profile(self) -> InferenceProfile | None:
        """The inference profile of the text model; None if there is no model."""
        return InferenceProfile.parse(self.model_id) if self.model_id else None


def load_config(context: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """Read the configuration.

    The region is the configured one, else that of ``AWS_REGION``, the CDK's own default or ``AWS_DEFAULT_REGION``, else
    us-east-1; the default model is one that this region can call.

    Raises:
        ConfigError: a key is unknown or a value breaks a rule; the message names the key, the rule and the fix.
    """
    values = _settings(context)
    region = next((environ[name] for name in REGION_VARIABLES if environ.get(name)), FALLBACK_REGION)
    values.setdefault("region", region)
    for key in values:
        if key not in Config.model_fields:
            near = difflib.get_close_matches(key, Config.model_fields, n=1)
            fix = f"Did you mean {near[0]}?" if near else ""
            raise ConfigError(key, f"left out: the known settings are {', '.join(Config.model_fields)}", fix=fix)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    key = str(first["loc"][0])
    raise ConfigError(key, _rules()[key], values[key], f'Set it in cdk.json under "{GROUP}" or with -c {key}=….')


def _settings(context: Mapping[str, Any]) -> dict[str, Any]:
    """Our settings among the CDK's: what is under the group, what starts with ``defectory:``, plain snake_case names.

    The CDK's own keys all have a colon, a slash or a hyphen in them.
    """
    group = context.get(GROUP, {})
    if not isinstance(group, Mapping):
        raise ConfigError(GROUP, "an object of settings in cdk.json", group, "Set one by -c author=catalogue, say.")
    single: dict[str, Any] = {}
    for key, value in context.items():
        name = key.removeprefix(f"{GROUP}:")
        if key == GROUP or (name == key and not re.fullmatch(r"[a-z][a-z0-9_]*", key)):
            continue
        if name in single and single[name] != value:
            raise ConfigError(name, "given once", fix=f"It is given both as {name} and as {GROUP}:{name}.")
        single[name] = value
    return {**group, **single}
