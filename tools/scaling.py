"""Scaling on paper: time, cost and the quota that binds first, for many pictures and many machines.

``python -m tools.scaling`` writes the tables into ``docs/scaling.md``; figures and sources are in ``scaling.yaml``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

DATA = Path(__file__).with_name("scaling.yaml")
PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"

PICTURES = (10**3, 10**5, 10**7)
SCENES = (10**3, 10**5)
MACHINES = (10**2, 10**3, 10**4)
LAMBDA_GB = 3008 / 1024
# What a deployment has unless it is told otherwise (defectory/config.py), and the most that it can be told.
IMAGE_CONCURRENCY, MOST_IMAGE_CONCURRENCY = 10, 1000
FLEET_CONCURRENCY, MOST_FLEET_CONCURRENCY = 5, 50

Account = Literal["new", "default"]
Renderer = Literal["drawn", "painted"]
SceneRenderer = Literal["composed", "inpainted", "transformed"]
Author = Literal["catalogue", "bedrock"]


@dataclass(frozen=True, slots=True)
class Figures:
    """Measures, quotas of one kind of account, and prices, by name."""

    measures: dict[str, float]
    quotas: dict[str, float]
    names: dict[str, str]
    prices: dict[str, float]

    @classmethod
    def of(cls, account: Account) -> Figures:
        """Those of ``scaling.yaml``."""
        data = load()
        return cls(
            {name: entry["value"] for name, entry in data["measures"].items()},
            {name: entry[account] for name, entry in data["quotas"].items()},
            {name: entry["name"] for name, entry in data["quotas"].items()},
            {name: entry["value"] for name, entry in data["prices"].items()},
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds, US dollars, gigabytes that are kept, what binds first, and what would bind next."""

    seconds: float
    dollars: float
    gigabytes: float
    binds: str
    next: str


def load() -> dict[str, Any]:
    """What is in ``scaling.yaml``."""
    data: dict[str, Any] = yaml.safe_load(DATA.read_text("utf-8"))
    return data


def estimate_pictures(count: int, renderer: Renderer, account: Account, concurrency: int) -> Estimate:
    """What ``count`` pictures take, in executions of 75,000 one after the other, so many calls at a time."""
    figures = Figures.of(account)
    measures, quotas, prices = figures.measures, figures.quotas, figures.prices
    seconds, batch = measures[f"{renderer}_seconds"], measures[f"{renderer}_batch"]
    rates = {
        figures.names["lambda_concurrency"]: quotas["lambda_concurrency"] / seconds,
        figures.names["map_children"]: quotas["map_children"] / seconds,
        figures.names["transitions"]: quotas["transitions"] / 2 * batch,
        figures.names["starts"]: quotas["starts"] * batch,
        # All kinds of objects of a dataset share its prefix until S3 has divided it.
        figures.names["puts"]: quotas["puts"] / measures["puts"],
        # Last, so that of equals the quota is named.
        f"image_concurrency = {concurrency}": concurrency / seconds,
    }
    if renderer == "painted":
        rates[figures.names["image_requests"]] = quotas["image_requests"] / 60
    binds, then = _slowest(rates)
    runs = math.ceil(count / measures["run_pictures"])
    assembly = count * measures["assembly_ms"] / 1000
    busy = count * seconds + assembly
    calls = math.ceil(count / batch)
    dollars = (
        busy * LAMBDA_GB * prices["lambda_gb_second"]
        + (calls + 2 * runs) * prices["lambda_request"]
        + (2 * calls + 6 * runs) * prices["transition"]
        + count * (measures["puts"] * prices["put"] + measures["gets"] * prices["get"])
        + (count * prices["painted"] if renderer == "painted" else 0)
    )
    whole = runs * measures["plan_seconds"] + count / rates[binds] + assembly
    return Estimate(whole, dollars, count * measures["picture_mb"] / 1000, binds, then)


def estimate_scenes(count: int, renderer: SceneRenderer, account: Account, concurrency: int) -> Estimate:
    """What ``count`` scenes take, in executions of 75,000 one after the other, so many shards at a time.

    A transform has as many instances as the default quota, whatever the account.
    """
    figures = Figures.of(account)
    measures, quotas, prices = figures.measures, figures.quotas, figures.prices
    calls = measures["scene_objects"] if renderer == "inpainted" else 0
    seconds = {
        "composed": measures["composed_seconds"],
        "inpainted": calls * measures["painted_seconds"] + measures["checked_seconds"],
        "transformed": measures["checked_seconds"],
    }[renderer]
    shard = measures["inpainted_shard" if renderer == "inpainted" else "composed_shard"]
    rates = {
        figures.names["lambda_concurrency"]: quotas["lambda_concurrency"] / seconds,
        figures.names["map_children"]: quotas["map_children"] / seconds,
        figures.names["starts"]: quotas["starts"] * shard,
        figures.names["puts"]: quotas["puts"] / measures["scene_puts"],
        # Last, so that of equals the quota is named.
        f"image_concurrency = {concurrency}": concurrency / seconds,
    }
    if renderer == "inpainted":
        rates[figures.names["image_requests"]] = quotas["image_requests"] / 60 / calls
    painting = count * measures["transformed_seconds"] if renderer == "transformed" else 0
    instances = Figures.of("default").quotas["transform_instances"]
    if renderer == "transformed":
        rates[figures.names["transform_instances"]] = instances / measures["transformed_seconds"]
    binds, then = _slowest(rates)
    runs = math.ceil(count / measures["run_pictures"])
    described = count * (measures["scene_assembly_ms"] + measures["scene_plan_ms"]) / 1000
    shards = math.ceil(count / shard)
    dollars = (
        (count * seconds + described) * LAMBDA_GB * prices["lambda_gb_second"]
        + (shards + 2 * runs) * prices["lambda_request"]
        + (2 * shards + 8 * runs) * prices["transition"]
        + (count * measures["scene_puts"] + 2 * shards) * prices["put"]
        + count * calls * prices["painted"]
        + painting / 3600 * prices["transform_hour"]
    )
    return Estimate(count / rates[binds] + described, dollars, count * measures["scene_mb"] / 1000, binds, then)


def estimate_machines(count: int, author: Author, account: Account, concurrency: int) -> Estimate:
    """What a fleet of ``count`` machines takes, so many requests at a time."""
    figures = Figures.of(account)
    measures, quotas, prices = figures.measures, figures.quotas, figures.prices
    size = min(count, measures["kinds"] if author == "catalogue" else measures["request_machines"])
    requests = math.ceil(count / size)
    writing = size * measures["script_seconds"] / 2 if author == "bedrock" else 0
    seconds = 60 * measures["request_minutes"] + size * measures["machine_seconds"] + writing
    rates = {
        f"fleet_concurrency = {concurrency}": concurrency / seconds,
        # One build of a request runs at a time.
        figures.names["builds"]: quotas["builds"] / seconds,
        figures.names["pipelines"]: quotas["pipelines"] / seconds,
        figures.names["lambda_concurrency"]: quotas["lambda_concurrency"],
        # Some writes for each machine's every step.
        figures.names["table_writes"]: quotas["table_writes"] / (8 * size),
    }
    if author == "bedrock":
        rates[figures.names["text_tokens"]] = quotas["text_tokens"] / 60 / (size * measures["script_tokens"])
    binds, then = _slowest(rates)
    dollars = (
        requests * seconds / 60 * (prices["build_minute"] + prices["action_minute"])
        + requests * measures["transitions_request"] * prices["transition"]
        + count * 7 * prices["put"]
        + (count * prices["script"] if author == "bedrock" else 0)
    )
    # No fleet is faster than one of its requests.
    return Estimate(max(seconds, requests / rates[binds]), dollars, count * measures["machine_mb"] / 1000, binds, then)


def _slowest(rates: dict[str, float]) -> tuple[str, str]:
    first, second, *_ = sorted(rates, key=lambda name: rates[name])
    return first, second


def tables() -> dict[str, str]:
    """The tables of the page, by the name of their place."""
    return {
        "pictures": _table(
            ("pictures", "account, settings", "time", "USD", "kept", "binds first", "then"), _picture_rows()
        ),
        "scenes": _table(("scenes", "account, settings", "time", "USD", "kept", "binds first", "then"), _scene_rows()),
        "machines": _table(
            ("machines", "account, settings", "time", "USD", "kept", "binds first", "then"), _machine_rows()
        ),
        "quotas": _table(("quota", "new account", "default", "sure", "source"), _quota_rows()),
    }


def _picture_rows() -> Iterator[Sequence[str]]:
    for renderer in ("drawn", "painted"):
        for count in PICTURES:
            for account, concurrency in _deployments(IMAGE_CONCURRENCY, MOST_IMAGE_CONCURRENCY):
                estimate = estimate_pictures(count, renderer, account, concurrency)
                yield (f"{count:,} {renderer}", f"{account}, {concurrency} at a time", *_cells(estimate))


def _scene_rows() -> Iterator[Sequence[str]]:
    for renderer in ("composed", "inpainted", "transformed"):
        for count in SCENES:
            for account, concurrency in _deployments(IMAGE_CONCURRENCY, MOST_IMAGE_CONCURRENCY):
                # A new account has no instances for transforms at all.
                if renderer != "transformed" or account != "new":
                    estimate = estimate_scenes(count, renderer, account, concurrency)
                    yield (f"{count:,} {renderer}", f"{account}, {concurrency} at a time", *_cells(estimate))


def _machine_rows() -> Iterator[Sequence[str]]:
    for author in ("catalogue", "bedrock"):
        for count in MACHINES:
            for account, concurrency in _deployments(FLEET_CONCURRENCY, MOST_FLEET_CONCURRENCY):
                estimate = estimate_machines(count, author, account, concurrency)
                yield (f"{count:,} by {author}", f"{account}, {concurrency} at a time", *_cells(estimate))


def _deployments(usual: int, most: int) -> Iterator[tuple[Account, int]]:
    yield "new", usual
    yield "default", usual
    yield "default", most


def _quota_rows() -> Iterator[Sequence[str]]:
    for quota in load()["quotas"].values():
        source = f"[{quota['source'].split('/')[3]}]({quota['source']})"
        sure = "yes" if quota["sure"] else "no"
        yield quota["name"], f"{quota['new']:,}", f"{quota['default']:,}", sure, source


def _cells(estimate: Estimate) -> Sequence[str]:
    return (
        _duration(estimate.seconds),
        f"{estimate.dollars:,.2f}" if estimate.dollars < 100 else f"{estimate.dollars:,.0f}",
        _size(estimate.gigabytes),
        estimate.binds,
        estimate.next,
    )


def _size(gigabytes: float) -> str:
    if gigabytes < 1:
        return f"{gigabytes * 1000:,.0f} MB"
    return f"{gigabytes:,.0f} GB" if gigabytes < 1000 else f"{gigabytes / 1000:,.0f} TB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"


def _table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(page: str) -> str:
    """The page with its tables as they are computed now."""
    for name, table in tables().items():
        mark = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        page = re.sub(mark, lambda place, table=table: place[1] + table + "\n" + place[2], page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), encoding="utf-8")
