"""The settings with which a deployment keeps the rules of the company whose account it is in; none has to be set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from defectory.errors import ConfigError
from defectory.validation import FrozenModel

VPC_SETTINGS = ("vpc_id", "subnet_ids", "security_group_ids")
TAG_LIMIT = 40
"""AWS allows 50 tags a resource; some are the services' own."""

_LISTS = ("subnet_ids", "security_group_ids")
_TAG_KEY = re.compile(r"(?!aws:)[\w .:/=+\-@]{1,128}", re.IGNORECASE)
_TAG_VALUE = re.compile(r"[\w .:/=+\-@]{0,256}")
# Where bills are another account's, or in another currency.
_NO_BUDGETS = ("cn-", "us-gov-")

Subnet = Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$")]
SecurityGroup = Annotated[str, StringConstraints(pattern=r"^sg-[0-9a-f]{8,17}$")]


class CompanySettings(FrozenModel):
    """What the company's rules ask of a deployment: its key, its network, its boundary, its tags, its budget."""

    kms_key_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$",
        description="the ARN of a KMS key in the region (no alias) that everything is encrypted with, or left out",
    )
    vpc_id: str | None = Field(
        default=None,
        pattern=r"^vpc-[0-9a-f]{8,17}$",
        description="the id of the VPC that functions, builds, training jobs and endpoints run in, such as "
        "vpc-0a1b2c3d4e5f60718, together with subnet_ids and security_group_ids; or left out",
    )
    subnet_ids: tuple[Subnet, ...] = Field(
        default=(),
        max_length=16,
        description="ids of up to 16 private subnets of vpc_id, as a list or with commas between them",
    )
    security_group_ids: tuple[SecurityGroup, ...] = Field(
        default=(),
        max_length=5,
        description="ids of up to 5 security groups of vpc_id, as a list or with commas between them",
    )
    permissions_boundary: str | None = Field(
        default=None,
        pattern=r"^(arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/)?[A-Za-z0-9+=,.@_/-]{1,512}$",
        description="the name or the ARN of the managed policy that bounds every role, or left out",
    )
    tags: Mapping[str, str] = Field(
        default={},
        description=f"up to {TAG_LIMIT} tags, as an object or as key=value with commas between them: keys of 1 to 128 "
        "and values of up to 256 letters, digits, spaces or .:/=+-@_, no key starting with aws:",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR: the least that functions log"
    )
    dashboards: bool = Field(default=True, description="true or false: whether each stack has a dashboard")
    budget_usd_per_month: float | None = Field(
        default=None,
        gt=0,
        le=10_000_000,
        description="US dollars that the account may cost in a month before alert_email is told, or left out",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_texts(cls, values: dict[str, Any]) -> dict[str, Any]:
        """On the command line, lists and tags are texts, and what is left out is empty."""
        texts = {name: value for name, value in values.items() if isinstance(value, str)}
        values = {name: value for name, value in values.items() if name not in _OPTIONAL or value != ""}
        for name in _LISTS:
            if name in texts:
                values[name] = [item.strip() for item in texts[name].split(",") if item.strip()]
        if "tags" in texts:
            pairs = (pair.partition("=") for pair in texts["tags"].split(",") if pair.strip())
            # A pair without = is no tag; the rule of the keys refuses it.
            values["tags"] = {key.strip() if equals else "": value.strip() for key, equals, value in pairs}
        return values

    @field_validator("tags")
    @classmethod
    def _tags_as_aws_takes_them(cls, tags: Mapping[str, str]) -> Mapping[str, str]:
        if len(tags) > TAG_LIMIT or not all(
            _TAG_KEY.fullmatch(key) and _TAG_VALUE.fullmatch(value) for key, value in tags.items()
        ):
            raise ValueError("no tags")
        return tags

    @property
    def in_vpc(self) -> bool:
        """Whether there is a network of the company's to run in."""
        return self.vpc_id is not None

    def rule_of(self, name: str) -> str:
        """What a setting has to be, in the user's words."""
        return str(type(self).model_fields[name].description)

    @model_validator(mode="after")
    def _network_is_whole(self) -> Self:
        if any(getattr(self, name) for name in VPC_SETTINGS):
            for name in VPC_SETTINGS:
                if not getattr(self, name):
                    fix = f"{', '.join(VPC_SETTINGS)} belong together: set all of them, or none."
                    raise ConfigError(name, self.rule_of(name), getattr(self, name) or None, fix)
        return self


_OPTIONAL = frozenset(name for name, field in CompanySettings.model_fields.items() if field.default is None)


def check_company_settings(settings: CompanySettings, *, region: str, endpoint: str, alert_email: str | None) -> None:
    """Refuse what does not go together with the rest of the configuration.

    Args:
        settings: all that the company asks for.
        region: where the deployment is.
        endpoint: how models are hosted, ``serverless`` or ``realtime``.
        alert_email: who is told of failures.

    Raises:
        ConfigError: names the setting, its rule and the fix.
    """
    key = settings.kms_key_arn
    if key and key.split(":")[3] != region:
        fix = f"Give a key of {region}, or a replica there of a multi-region key."
        raise ConfigError("kms_key_arn", settings.rule_of("kms_key_arn"), key, fix)
    if settings.in_vpc and endpoint == "serverless":
        fix = "Serverless endpoints run in no VPC: set inspection_endpoint=realtime or lambda, or leave the VPC out."
        raise ConfigError("vpc_id", settings.rule_of("vpc_id"), settings.vpc_id, fix)
    if settings.budget_usd_per_month is None:
        return
    rule = settings.rule_of("budget_usd_per_month")
    if region.startswith(_NO_BUDGETS):
        fix = f"Set the budget where the bills of {region} are paid."
        raise ConfigError("budget_usd_per_month", rule, settings.budget_usd_per_month, fix)
    if not alert_email:
        fix = "Set alert_email: somebody has to be told."
        raise ConfigError("budget_usd_per_month", rule, settings.budget_usd_per_month, fix)
