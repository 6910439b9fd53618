"""Prompts: what models that paint are told of a layout and its objects, in English words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from defectory.detection.layouts.records import Layout, Light

FALLEN = 45.0
"""Degrees of tilt from which on something is said to have fallen over."""

_LIGHT: dict[Light, str] = {
    "even": "even light",
    "bright": "bright light",
    "dim": "dim light",
    "warm": "warm light",
    "cold": "cold light",
    "backlit": "light from behind",
}


def name_object(layout: Layout, place: int) -> str:
    """The object at a place of the layout with what is known of it.

    >>> from defectory.detection.layouts.records import LayoutObject
    >>> worker = LayoutObject(label="person", box=(0, 0, 20, 60), wears=("hard_hat", "safety_vest"))
    >>> name_object(Layout(image_id="a", size=(64, 64), objects=(worker,)), 0)
    'person wearing a hard hat and a safety vest'
    """
    item = layout.objects[place]
    words = f"{_words(item.variant)} {_words(item.label)}".strip()
    worn = [f"{_article(name)} {name}" for name in map(_words, sorted(worn_classes(layout, place)))]
    if worn:
        words += f" wearing {' and '.join([', '.join(worn[:-1]), worn[-1]] if worn[1:] else worn)}"
    return f"{words} that has fallen over" if abs(item.tilt) >= FALLEN else words


def worn_classes(layout: Layout, place: int) -> set[str]:
    """The classes of what the object at a place of the layout wears, with boxes of their own or without."""
    return {*layout.objects[place].wears, *(other.label for other in layout.objects if other.worn_by == place)}


def describe_place(layout: Layout) -> str:
    """Where a layout is set, and in which light."""
    where = _words(layout.background) or "factory"
    return f"{_article(where)} {where}, {_LIGHT[layout.conditions.light]}"


def describe_scene(layout: Layout, places: Collection[int]) -> str:
    """The layout's own prompt; where it has none, its place with the objects at ``places``."""
    if layout.prompt.strip():
        return layout.prompt.strip()
    standing = Counter(name_object(layout, place) for place in places if layout.objects[place].worn_by is None)
    things = ", ".join(
        f"{_article(name)} {name}" if count == 1 else f"{count} x {name}" for name, count in standing.items()
    )
    return f"A photo of {describe_place(layout)}{', with ' if things else ''}{things}"


def _words(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").split())


def _article(name: str) -> str:
    return "an" if name[:1].lower() in "aeiou" else "a"
