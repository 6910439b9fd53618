"""Which region of AWS has what: services, containers and models, as ``regions.toml`` has it, dated and with sources.

AWS publishes no such table, and adds regions and services every few weeks.  A region that is not in it is one that AWS
made since: nothing is known to be missing there, and nothing is known to be there.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

TABLE = Path(__file__).with_name("regions.toml")

Service = Literal["bedrock", "codebuild", "codepipeline"]


@dataclass(frozen=True, slots=True)
class Region:
    """What is known of a region.

    Attributes:
        name: such as ``eu-west-1``.
        partition: ``aws``, ``aws-cn``, ``aws-us-gov`` and so on; nothing reaches from one into another.
        suffix: what the domain names of its services end in.
        text_model: the text model to call unless another is configured: an inference profile, or a model on demand;
            None where none is known, or none that stays near.
        worldwide_model: one to offer where there is no ``text_model``, whose answers may come from any region.
        deep_learning_containers, scikit_learn_containers: accounts whose registries have AWS's containers; None where
            none is known.
        missing: services that the application uses and the region is not known to have.
        serverless: whether SageMaker has serverless endpoints there.
    """

    name: str
    partition: str
    suffix: str
    serverless: bool
    text_model: str | None = None
    worldwide_model: str | None = None
    deep_learning_containers: str | None = None
    scikit_learn_containers: str | None = None
    missing: frozenset[Service] = frozenset()

    @property
    def area(self) -> str:
        """The part of the world, as the name begins: ``us``, ``eu``, ``ap``; other partitions are areas of their own.

        GovCloud and the USA's other isolated regions are no part of ``us``: nothing gets from one to the other.
        """
        return self.name.partition("-")[0] if self.partition == "aws" else self.partition


@dataclass(frozen=True, slots=True)
class Container:
    """An image that AWS maintains: a repository's name, a tag, its Python, and until when it is patched."""

    repository: str
    tag: str
    python: str
    patched_until: datetime.date


def region(name: str) -> Region:
    """What is known of the region ``name``; of one that is not in the table, what its name tells."""
    partitions = table()["partitions"].items()
    partition, facts = next(item for item in partitions if name.startswith(tuple(item[1]["prefixes"])))
    known = dict(table()["regions"].get(name, {}))
    missing = frozenset(known.pop("missing", ()))
    return Region(name, partition, suffix=facts["suffix"], serverless=facts["serverless"], missing=missing, **known)


def regions() -> tuple[str, ...]:
    """Names of the regions in the table."""
    return tuple(table()["regions"])


def container(use: Literal["training", "serving"]) -> Container:
    """The image that jobs of training, or endpoints, run in."""
    return Container(**table()["containers"][use])


@cache
def table() -> Mapping[str, Any]:
    """``regions.toml`` as it is."""
    return tomllib.loads(TABLE.read_text("utf-8"))
