"""Rendering: the templates' environment, which escapes everything that goes into a page."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def _environment() -> Environment:
    loader = PackageLoader("defectory.sensors.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render(template: str, **values: object) -> str:
    """The page of ``template``.  In a script, values go through the filter ``tojson``, which lets no tag end it."""
    return _environment().get_template(template).render(**values)
