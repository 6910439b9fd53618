"""Bedrock's inference profiles: which regions one is called from, and where it routes to.

Current models are callable only through a profile, ``<geography>.<provider>.<model>``; whoever calls it needs leave for
the profile and for the model in every region that the profile may route to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from defectory.errors import InputError


@dataclass(frozen=True, slots=True)
class _Geography:
    """Prefixes of the regions that call its profiles, and the regions that these may route to."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]


_US = ("us-east-1", "us-east-2", "us-west-1", "us-west-2")
_GEOGRAPHIES = {
    "us": _Geography(("us-east-", "us-west-", "ca-"), _US),
    "us-gov": _Geography(("us-gov-",), ("us-gov-east-1", "us-gov-west-1")),
    "ca": _Geography(("ca-",), ("ca-central-1", "ca-west-1", *_US)),
    "eu": _Geography(
        ("eu-",),
        (
            *("eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2"),
            *("eu-west-1", "eu-west-2", "eu-west-3"),
        ),
    ),
    "apac": _Geography(
        ("ap-", "me-"),
        (
            *("ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2"),
            *("ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5"),
            *("ap-southeast-7", "me-central-1"),
        ),
    ),
    "jp": _Geography(("ap-northeast-1", "ap-northeast-3"), ("ap-northeast-1", "ap-northeast-3")),
    "au": _Geography(("ap-southeast-2", "ap-southeast-4"), ("ap-southeast-2", "ap-southeast-4")),
    # Anywhere, which Bedrock asks for as the model without a region.
    "global": _Geography(("",), ("",)),
}
_PROFILE = re.compile(r"(?P<geography>[a-z-]+)\.(?P<model>(?P<provider>[a-z0-9-]+)\.[a-z0-9.:-]+)")
_BARE = re.compile(r"(?!(?:%s)\.)[a-z0-9-]+\.[a-z0-9.:-]+" % "|".join(_GEOGRAPHIES))  # noqa: UP031


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
        if match and match["geography"] in _GEOGRAPHIES:
            return cls(profile_id, match["geography"], match["provider"], match["model"])
        fix = f"Known prefixes: {', '.join(f'{name}.' for name in _GEOGRAPHIES)}"
        if _BARE.fullmatch(profile_id):
            fix = f"Bedrock refuses bare model ids on demand; name a profile, such as us.{profile_id}."
        raise InputError(field, "the id of an inference profile, such as us.amazon.nova-pro-v1:0", profile_id, fix)

    def callable_from(self, region: str) -> bool:
        """Whether the profile belongs to the geography of ``region``."""
        return region.startswith(_GEOGRAPHIES[self.geography].sources)

    def model_regions(self, region: str) -> tuple[str, ...]:
        """Regions in which a call from ``region`` may need the model; "" stands for all of them."""
        return tuple(sorted({region, *_GEOGRAPHIES[self.geography].destinations}))


def profile_of(model_id: str, field: str) -> InferenceProfile | None:
    """The profile that ``model_id`` names; None where it names a model itself, as those on demand are called.

    Raises:
        InputError: it is neither; ``field`` is named in the message.
    """
    return None if _BARE.fullmatch(model_id) else InferenceProfile.parse(model_id, field)


def bare_model_id(model_id: str, field: str = "model_id") -> str:
    """The id of the model itself, where ``model_id`` names a profile that routes to it.

    Raises:
        InputError: it is neither; ``field`` is named in the message.
    """
    profile = profile_of(model_id, field)
    return profile.model if profile else model_id


def default_profile(region: str) -> str | None:
    """The text model used in ``region`` unless configured otherwise; None where no profile is known to serve it."""
    if region.startswith("cn-"):
        return None
    for geography in ("us", "eu", "apac", "us-gov"):
        if region.startswith(_GEOGRAPHIES[geography].sources):
            return f"{geography}.amazon.nova-pro-v1:0"
    return "global.amazon.nova-2-lite-v1:0"
