"""Contact sheet: all pictures of a synthetic dataset on one page that needs nothing from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from defectory.images.gate import GateResult
from defectory.images.items import ItemRecord

CONTACT_SHEET = "contact-sheet.html"
MOST_PICTURES = 400
"""More pictures than this would make a page that opens slowly: an even choice of each kind is shown."""


def contact_sheet(
    records: Sequence[ItemRecord], read: Callable[[str], bytes], *, title: str, gate: GateResult | None = None
) -> bytes:
    """The page, UTF-8.

    Args:
        records: of all items; those without a picture are counted and listed.
        read: gives the content of a small picture by its name.
        title: what the page is called.
        gate: what the gate found, where it was asked.
    """
    counts = Counter(record.outcome for record in records)
    page = _environment().get_template("contact_sheet.html.j2").render(title=title, counts=counts, gate=gate)
    return page.encode()


@cache
def _environment() -> Environment:
    loader = PackageLoader("defectory.images", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
