"""Bedrock's models and inference profiles: which regions they are called from, and where calls are routed to.

Most models are callable only through a profile, ``<geography>.<provider>.<model>``; whoever calls it needs leave for
the profile and for the model in every region that the profile may route to.  A few are called by their own id, on
demand.  What is known of either is in ``regions.toml``; one that is not in it is newer, and goes by its geography.

An account may have profiles of its own (application inference profiles, by which it tells costs apart).  Their ARNs say
nothing of the model; they are called as the profile, or the model, that they were made from.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from defectory.aws.regions import region as region_of
from defectory.aws.regions import table
from defectory.errors import InputError

ANYWHERE = "*"
_PROFILE = re.compile(r"(?P<geography>[a-z-]+)\.(?P<model>(?P<provider>[a-z0-9-]+)\.[a-z0-9.:-]+)")
_BARE = re.compile(r"(?P<provider>[a-z0-9-]+)\.[a-z0-9.:-]+")
_OF_AN_APPLICATION = re.compile(
    r"arn:aws[a-z-]*:bedrock:(?P<region>[a-z0-9-]+):[0-9]{12}:application-inference-profile/[a-z0-9]+"
)


@dataclass(frozen=True, slots=True)
class InferenceProfile:
    """A profile such as ``us.amazon.nova-pro-v1:0``: geography ``us``, model ``amazon.nova-pro-v1:0``."""

    profile_id: str
    geography: str
    provider: str
    model: str

    @classmethod
    def parse(cls, profile_id: str, field: str = "model_id") -> InferenceProfile:
        """Take a profile id apart.

        Raises:
            InputError: it is none; ``field`` is named in the message.
        """
        match = _PROFILE.fullmatch(profile_id)
        if match and match["geography"] in table()["geographies"]:
            return cls(profile_id, match["geography"], match["provider"], match["model"])
        rule = "the id of an inference profile, such as us.amazon.nova-pro-v1:0"
        prefixes = ", ".join(f"{name}." for name in table()["geographies"])
        raise InputError(field, rule, profile_id, f"Known prefixes: {prefixes}")

    def callable_from(self, region: str) -> bool:
        """Whether Bedrock answers to the profile in ``region``."""
        facts = self._facts()
        if "except" in facts:
            return region not in facts["except"] and region_of(region).partition == "aws"
        if facts["from"] == [ANYWHERE]:
            return region_of(region).partition == "aws"
        return region in facts["from"]

    def model_regions(self, region: str) -> tuple[str, ...]:
        """Regions in which a call from ``region`` may need the model; "" stands for all of them."""
        destinations = self._facts()["to"]
        return ("",) if destinations == [ANYWHERE] else tuple(sorted({region, *destinations}))

    def _facts(self) -> Mapping[str, Any]:
        known = (facts for facts in table()["profiles"] if self.profile_id in facts["ids"])
        return next(known, table()["geographies"][self.geography])


def profile_of(model_id: str, field: str) -> InferenceProfile | None:
    """The profile that ``model_id`` names; None where it names a model itself, as those on demand are called.

    Raises:
        InputError: it is neither; ``field`` is named in the message.
    """
    is_bare = _BARE.fullmatch(model_id) and model_id.partition(".")[0] not in table()["geographies"]
    return None if is_bare else InferenceProfile.parse(model_id, field)


def application_profile_region(model_id: str) -> str | None:
    """The region of the account's own profile whose ARN ``model_id`` is; None where it is none."""
    match = _OF_AN_APPLICATION.fullmatch(model_id)
    return match["region"] if match else None


def bare_model_id(model_id: str, field: str = "model_id") -> str:
    """The id of the model itself, where ``model_id`` names a profile that routes to it.

    Raises:
        InputError: it is neither; ``field`` is named in the message.
    """
    profile = profile_of(model_id, field)
    return profile.model if profile else model_id


def provider_of(model_id: str) -> str:
    """Whose model it is, such as ``anthropic``."""
    return bare_model_id(model_id).partition(".")[0]


def answering_regions(model_id: str, region: str) -> tuple[str, ...]:
    """Regions that may answer a call of ``model_id`` in ``region``; "" stands for all of them."""
    profile = profile_of(model_id, "model_id")
    return profile.model_regions(region) if profile else (region,)


def leaves_area(model_id: str, region: str, *, home: str) -> bool:
    """Whether what is sent to ``model_id`` in ``region`` may be answered outside the part of the world of ``home``."""
    area = region_of(home).area
    return any(not other or region_of(other).area != area for other in answering_regions(model_id, region))


def check_callable(model_id: str, region: str, field: str = "model_id") -> None:
    """Make sure that Bedrock answers to ``model_id`` in ``region``, as far as is known.

    Raises:
        InputError: it does not, or the id is none; the message names ``field`` and says which ids it answers to.
    """
    if "bedrock" in region_of(region).missing:
        raise InputError(field, f"left out in {region}, which has no Amazon Bedrock", model_id)
    profile = profile_of(model_id, field)
    served = _on_demand(model_id)
    if profile.callable_from(region) if profile else region in served:
        return
    if profile:
        fix = f"The profile {model_id} cannot be called from {region}."
    elif served:
        fix = f"Bedrock serves {model_id} on demand in {', '.join(served)} only."
    else:
        fix = f"Bedrock refuses bare model ids such as {model_id} on demand; name a profile that routes to it."
    rule = f"a model that can be called from {region}"
    raise InputError(field, rule, model_id, f"{fix} {alternatives(model_id, region)}".strip())


def alternatives(model_id: str, region: str) -> str:
    """A sentence on what else can be called from ``region``: the same model by other ids, or another; "" if nothing."""
    model = bare_model_id(model_id)
    ids = [profile_id for facts in table()["profiles"] for profile_id in facts["ids"]]
    same = [
        profile_id
        for profile_id in ids
        if (profile := InferenceProfile.parse(profile_id)).model == model and profile.callable_from(region)
    ]
    if region in _on_demand(model):
        same.append(model)
    if usual := default_model(region):
        same.append(usual)
    return f"From {region}, use {' or '.join(dict.fromkeys(same))}." if same else ""


def check_not_ended(model_id: str, today: datetime.date, field: str = "model_id") -> None:
    """Refuse a model whose life in Bedrock is over.

    Raises:
        InputError: it is; the message says since when.
    """
    model = bare_model_id(model_id, field)
    for entry in table()["ended"]:
        if model.startswith(entry["model"]) and entry["on"] <= today:
            raise InputError(field, "a model that Bedrock still has", model_id, f"Bedrock ended it on {entry['on']}.")


def default_model(region: str) -> str | None:
    """The text model used in ``region`` unless configured otherwise; None where none is known that stays near."""
    return region_of(region).text_model


def _on_demand(model: str) -> tuple[str, ...]:
    """Regions that serve ``model`` by its own id."""
    return tuple(name for facts in table()["on_demand"] if model in facts["models"] for name in facts["regions"])
