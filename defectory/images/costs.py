"""Costs: what pictures from image models will cost, before they are made, and what they did cost."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from defectory.aws.image_usage import Usage
from defectory.aws.inference_profiles import bare_model_id
from defectory.errors import InputError
from defectory.images.items import Item, ItemRecord
from defectory.images.renderers import RendererName
from defectory.validation import FrozenModel

DEFAULT_FILE = Path(__file__).with_name("prices.yaml")
USUAL_SECONDS = 15.0
"""How long a picture takes of which nobody said it."""


class Price(FrozenModel):
    """What one picture costs, and how many seconds it takes."""

    picture: float = Field(ge=0)
    seconds: float = Field(default=USUAL_SECONDS, gt=0)


class Prices(FrozenModel):
    """Prices by model id, without a profile's prefix, as they were on a day."""

    as_of: datetime.date
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    models: dict[str, Price]


class CostLine(FrozenModel):
    """Pictures of one model; ``cost`` is None where nobody knows its price."""

    model_id: str
    pictures: int
    price: float | None
    cost: float | None


class Cost(FrozenModel):
    """What pictures cost.

    ``total`` leaves out models whose price is unknown: ``complete`` says whether there are any.  ``filtered`` pictures
    were withheld by a content filter; they are not in the total, though a provider may charge for them.  ``minutes`` is
    how long it takes, with so many pictures at a time as was said.
    """

    lines: tuple[CostLine, ...]
    total: float
    currency: str
    as_of: datetime.date
    filtered: int = 0
    minutes: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether all prices were known."""
        return all(line.cost is not None for line in self.lines)

    def __str__(self) -> str:
        """One sentence, such as ``12 pictures: 0.84 USD (prices of 2026-09-30)``."""
        pictures = sum(line.pictures for line in self.lines)
        unknown = ", ".join(line.model_id for line in self.lines if line.cost is None)
        price = f"{self.total:.2f} {self.currency} (prices of {self.as_of})"
        sentence = f"{pictures} picture{'' if pictures == 1 else 's'}: {price}"
        if unknown:
            sentence += f", without {unknown}, whose price is unknown"
        if self.filtered:
            sentence += f"; {self.filtered} withheld by content filters, which may be charged for"
        return sentence


def load_prices(path: Path | None = None) -> Prices:
    """Read prices: ours, which are dated, or those of ``path``.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    file = path or DEFAULT_FILE
    try:
        return Prices.model_validate(yaml.safe_load(file.read_text("utf-8")))
    except OSError as error:
        raise InputError("prices", f"a file that can be read ({error.strerror})", str(file)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("prices", "a YAML file", str(file), " ".join(str(error).split())) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    raise InputError(
        f"prices: {place}", f"what prices can hold ({first['msg']})", None, f"Compare with {DEFAULT_FILE}."
    )


def estimate_cost(
    items: Iterable[Item],
    models: Mapping[RendererName, str],
    prices: Prices | None = None,
    *,
    at_a_time: int = 1,
) -> Cost:
    """What making ``items`` will cost; renderers without a model cost nothing.

    Args:
        items: the pictures to be made; each is asked for once.
        models: the id of the model that a renderer calls.
        prices: ours by default.
        at_a_time: how many pictures are made at the same time.
    """
    counts = Counter(models[item.renderer] for item in items if item.renderer in models)
    return _cost(counts, prices or load_prices(), at_a_time=at_a_time)


def estimate_calls(model_id: str, calls: int, prices: Prices | None = None, *, at_a_time: int = 1) -> Cost:
    """What ``calls`` of one model will cost, each for one picture.

    Args:
        model_id: of the model.
        calls: how often it is asked.
        prices: ours by default.
        at_a_time: how many are under way at the same time.
    """
    return _cost({model_id: calls}, prices or load_prices(), at_a_time=at_a_time)


def used_by(records: Iterable[ItemRecord], models: Mapping[RendererName, str]) -> dict[str, Usage]:
    """What each model did for ``records``, where no client that counted is at hand, as after a batch in AWS.

    A picture that showed another part instead of a defect counts as failed here, though it was made.
    """
    usage: dict[str, Usage] = {}
    for record in records:
        if record.item.renderer not in models:
            continue
        model_id = models[record.item.renderer]
        was = usage.get(model_id, Usage())
        match record.outcome:
            case "filtered":
                usage[model_id] = replace(was, filtered=was.filtered + 1)
            case "failed":
                usage[model_id] = replace(was, failed=was.failed + 1)
            case _:
                usage[model_id] = replace(was, pictures=was.pictures + 1)
    return usage


def actual_cost(usage: Mapping[str, Usage], prices: Prices | None = None) -> Cost:
    """What models did cost, by ``ImageModel.usage``, or else by `used_by`.

    Args:
        usage: what each model did, by its id.
        prices: ours by default.
    """
    counts = Counter({model_id: model_usage.pictures for model_id, model_usage in usage.items()})
    return _cost(counts, prices or load_prices(), filtered=sum(model_usage.filtered for model_usage in usage.values()))


def check_budget(cost: Cost, budget: float) -> None:
    """Raise `InputError` if ``cost`` is more than ``budget``, in the currency of the prices."""
    if cost.total > budget:
        got = f"{budget:.2f} for {cost.total:.2f} {cost.currency}"
        raise InputError("budget", "enough for all pictures", got, "Raise it, or make fewer.")


def _cost(counts: Mapping[str, int], prices: Prices, *, filtered: int = 0, at_a_time: int = 1) -> Cost:
    lines, seconds = [], 0.0
    for model_id, pictures in sorted(counts.items()):
        price = prices.models.get(bare_model_id(model_id))
        picture_price = None if price is None else price.picture
        lines.append(
            CostLine(
                model_id=model_id,
                pictures=pictures,
                price=picture_price,
                cost=None if picture_price is None else round(picture_price * pictures, 4),
            )
        )
        seconds += math.ceil(pictures / at_a_time) * (USUAL_SECONDS if price is None else price.seconds)
    return Cost(
        lines=tuple(lines),
        total=round(sum(line.cost or 0 for line in lines), 4),
        currency=prices.currency,
        as_of=prices.as_of,
        filtered=filtered,
        minutes=round(seconds / 60, 1),
    )
