"""``defectory sensors catalogue``: the industries, their machines and signals.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.options import JsonOption
from defectory.cli.output import print_json, print_table

if TYPE_CHECKING:
    from defectory.sensors.catalogue import MachineEntry


def catalogue(
    industry: Annotated[str | None, typer.Argument(help="Show the machines and signals of this industry.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the industries of the built-in catalogue, or the machines and signals of one of them.

    Examples:

        defectory sensors catalogue

        defectory sensors catalogue semiconductor
    """
    from defectory.sensors.catalogue import find_industry, industries, machines

    if industry is None:
        listed = [
            {
                "industry": entry.key,
                "title": entry.title,
                "aliases": entry.aliases,
                "machines": len(machines(entry.key)),
            }
            for entry in industries()
        ]
        if as_json:
            print_json(listed)
        else:
            print_table("Industries", ["industry", "title", "machines"], listed)
        return
    catalogue_industry = find_industry(industry)
    entries = machines(catalogue_industry.key)
    if as_json:
        print_json({"industry": catalogue_industry.key, "machines": [_describe_machine(entry) for entry in entries]})
        return
    rows = [
        {
            "machine": entry.name,
            "signals": "\n".join(f"{signal.name} [{signal.unit}]" for signal in entry.signals),
            "fails by": "\n".join(failure.name for failure in entry.failures),
        }
        for entry in entries
    ]
    print_table(catalogue_industry.title, ["machine", "signals", "fails by"], rows, unbroken="signals", lines=True)


def _describe_machine(entry: MachineEntry) -> dict[str, object]:
    signals = [
        signal.model_dump(include={"name", "unit", "kind", "low", "high", "description"}) for signal in entry.signals
    ]
    return {"name": entry.name, "description": entry.description, "signals": signals}
