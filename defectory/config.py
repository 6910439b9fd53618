"""The deployment's configuration: one typed, frozen value, read from the CDK's context.

In ``cdk.json`` the settings stand together under ``"defectory"``; on the command line one is set with
``-c author=catalogue`` (or ``-c defectory:author=catalogue``), which wins.
"""

from __future__ import annotations

import datetime
import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from defectory.aws.inference_profiles import (
    application_profile_region,
    check_callable,
    check_not_ended,
    leaves_area,
    profile_of,
)
from defectory.aws.model_capabilities import MODELS, capabilities_of
from defectory.aws.regions import Region, Service
from defectory.aws.regions import region as region_of
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

STACKS = ("sensor-data", "inspection", "image-synthesis", "detection")
BUDGET_STACK = "budget"
"""What follows the configured name in those of the stacks."""

IMAGE_MODELS = ("image_model_id", "inpaint_model_id")

_REGION = r"^[a-z]{2,4}(-[a-z]+)+-[0-9]$"
# Lambda's Pythons on Amazon Linux 2023, which has the glibc that our libraries are built for (2.28); that of 3.11 on
# Amazon Linux 2 is 2.26 (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html, read 2026-11-28).
LAMBDA_PYTHONS = ("3.12", "3.13", "3.14")


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
    check_region: bool = Field(
        default=True,
        description="true or false: whether what the region is not known to have (a service, a model) is refused",
    )
    photos_may_leave: bool = Field(
        default=False,
        description="true or false: whether photos may go to image models in another part of the world than region",
    )
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
        default=10, ge=1, le=1000, description="a whole number from 1 to 1000: so many pictures are made at a time"
    )
    scene_model: str = Field(
        default="",
        pattern=r"^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)?$",
        description="the name of a SageMaker model in the region, made of models/gligen, that paints scenes (empty for "
        "none)",
    )
    scene_instance: str = Field(
        default="ml.g5.xlarge",
        pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$",
        description="an instance type of SageMaker Batch Transform, such as ml.g5.xlarge",
    )
    scene_instances: int = Field(
        default=1, ge=1, le=100, description="a whole number from 1 to 100: so many instances paint scenes at a time"
    )
    author: AuthorName = Field(
        default="bedrock", description="bedrock (a model writes the scripts) or catalogue (curated, free, offline)"
    )
    model_id: str = Field(
        default="",
        description="the id of a Bedrock inference profile, or of a model on demand, that can be called from the "
        "region, or the ARN of an application inference profile in it (empty for catalogue)",
    )
    base_model_id: str = Field(
        default="",
        max_length=200,
        description="the id of the model that model_id behaves like, such as anthropic.claude-sonnet-4-6, where "
        "Defectory does not know model_id itself (empty where it does); of an application inference profile, the id of "
        "the inference profile or model that it was made from, such as us.anthropic.claude-sonnet-4-6",
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
    safety_email: str | None = Field(
        default=None,
        pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
        description="an e-mail address to tell of broken rules of safety, or left out for no e-mail",
    )
    safety_privacy: bool = Field(
        default=True,
        description="true or false: whether persons are blurred in the pictures that the safety line writes",
    )
    safety_original_days: int = Field(
        default=7,
        ge=1,
        le=3650,
        description="a whole number of days from 1 to 3650 that what cameras uploaded is kept for, as it is",
    )
    inspection_endpoint: Literal["serverless", "realtime", "lambda"] = Field(
        description="serverless (SageMaker; idle, it costs nothing), realtime (an instance of SageMaker that is always "
        "there) or lambda (a function, which costs nothing idle either)",
    )
    inspection_instance: str = Field(
        default="ml.c6i.large",
        pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$",
        description="an instance type of SageMaker hosting, such as ml.c6i.large",
    )
    inspection_registry: str | None = Field(
        default=None,
        pattern=r"^[0-9]{12}$",
        description="the 12 digits of an account whose registry in the region has AWS's containers pytorch and "
        "sagemaker-scikit-learn, or left out for AWS's own",
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
    fleet_machines: int = Field(
        default=1000, ge=1, le=10_000, description="a whole number from 1 to 10000: so many machines a fleet may have"
    )
    fleet_concurrency: int = Field(
        default=5, ge=1, le=50, description="a whole number from 1 to 50: so many requests of a fleet run at a time"
    )
    removal_policy: Literal["retain", "destroy"] = Field(
        default="retain", description="retain or destroy: what becomes of data when a stack is deleted"
    )
    lambda_platform: Literal["aws", "host"] = Field(
        default="aws", description="aws, or host (functions run on this machine, in the local cloud)"
    )
    lambda_python: str = Field(
        pattern=r"^3\.(1[1-9])$",
        description=f"a version of Python that AWS Lambda runs on Amazon Linux 2023: {', '.join(LAMBDA_PYTHONS)}",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Defaults that follow from other settings."""
        host = f"{sys.version_info.major}.{sys.version_info.minor}"
        values = {"lambda_python": host if values.get("lambda_platform") == "host" else "3.13", **values}
        region = region_of(str(values["region"]))
        if not values.get("model_id"):
            values["model_id"] = region.text_model or ""
        values = {"inspection_endpoint": _default_endpoint(region), **values}
        if str(values.get("photos_may_leave", False)).lower() != "true" and _is_away(values, region):
            values = {**dict.fromkeys(IMAGE_MODELS, ""), **values}
        for address in ("alert_email", "defect_email", "safety_email"):
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
    def _functions_run_what_is_built(self) -> Self:
        if self.lambda_platform == "aws" and self.lambda_python not in LAMBDA_PYTHONS:
            fix = "The libraries are built for glibc 2.28; that of 3.11's runtime is older."
            raise ConfigError("lambda_python", _rules()["lambda_python"], self.lambda_python, fix)
        return self

    @model_validator(mode="after")
    def _endpoint_exists_in_region(self) -> Self:
        if self.inspection_endpoint == "serverless" and not region_of(self.region).serverless:
            fix = "Set inspection_endpoint=lambda, which costs nothing idle either, or realtime."
            rule = f"realtime or lambda in {self.region}, where SageMaker has no serverless endpoints"
            raise ConfigError("inspection_endpoint", rule, self.inspection_endpoint, fix)
        return self

    @model_validator(mode="after")
    def _model_serves_region(self) -> Self:
        if self.author == "catalogue":
            return self
        if not self.model_id:
            raise ConfigError("model_id", _rules()["model_id"], None, self._ways_without_near_model())
        name = self._check_application_profile()
        with _as_config_errors(otherwise="Set author=catalogue to do without a model."):
            check_not_ended(self.routed_model_id, datetime.date.today(), name)
            self._check_callable(name, self.region)
        return self

    def _check_application_profile(self) -> str:
        """The setting that says where calls go: ``base_model_id`` where ``model_id`` is a profile of the account's."""
        region = application_profile_region(self.model_id)
        if region is None:
            return "model_id"
        if region != self.region:
            fix = f"Give the ARN of a profile in {self.region}, or deploy to {region}."
            raise ConfigError("model_id", _rules()["model_id"], self.model_id, fix)
        if not self.base_model_id:
            fix = "What `aws bedrock get-inference-profile` lists under models says which; permissions follow from it."
            raise ConfigError("base_model_id", _rules()["base_model_id"], None, fix)
        return "base_model_id"

    @property
    def routed_model_id(self) -> str:
        """What decides where calls of the text model go: ``model_id``, or what an application's profile stands for."""
        return self.base_model_id if application_profile_region(self.model_id) else self.model_id

    def _ways_without_near_model(self) -> str:
        if worldwide := region_of(self.region).worldwide_model:
            return (
                f"Every model that {self.region} can call may answer from any region of the world: "
                f"model_id={worldwide} allows it, author=catalogue does without a model."
            )
        return f"None is known that {self.region} can call. Set author=catalogue, or another region."

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
            with _as_config_errors(otherwise=f"Set image_region to a region that has it, or {name}= for none."):
                check_not_ended(model_id, datetime.date.today(), name)
                self._check_callable(name, self.image_region)
            if region_of(self.image_region).partition != region_of(self.region).partition:
                rule = f"empty in {self.region}, from which nothing reaches {self.image_region}"
                raise ConfigError(name, rule, model_id, f"Set {name}= for none.")
            if not self.photos_may_leave and leaves_area(model_id, self.image_region, home=self.region):
                rule = f"empty unless photos may leave {self.region} for {self.image_region}"
                fix = f"Set photos_may_leave=true if they may, or {name}= to draw and transplant defects only."
                raise ConfigError(name, rule, model_id, fix)
        return self

    @model_validator(mode="after")
    def _company_settings_fit(self) -> Self:
        check_company_settings(
            self, region=self.region, endpoint=self.inspection_endpoint, alert_email=self.alert_email
        )
        return self

    def _check_callable(self, name: str, region: str) -> None:
        if self.check_region:
            check_callable(getattr(self, name), region, name)
        else:
            profile_of(getattr(self, name), name)

    def missing_services(self, *needed: Service) -> tuple[Service, ...]:
        """Those of ``needed`` that the region is not known to have; none where ``check_region`` is off."""
        missing = region_of(self.region).missing if self.check_region else frozenset()
        return tuple(service for service in needed if service in missing)


def _default_endpoint(region: Region) -> str:
    """Serverless, or what comes near it: without a serving container a function, without serverless an instance."""
    if not region.scikit_learn_containers and region.deep_learning_containers:
        return "lambda"
    return "serverless" if region.serverless else "realtime"


def _is_away(values: Mapping[str, Any], region: Region) -> bool:
    """Whether image models are called in another part of the world than the region's."""
    image_region = str(values.get("image_region") or Config.model_fields["image_region"].default)
    return region_of(image_region).area != region.area


@contextmanager
def _as_config_errors(*, otherwise: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise ConfigError(error.field, error.rule, error.got, f"{error.fix} {otherwise}".strip()) from None


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
