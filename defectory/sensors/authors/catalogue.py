"""The catalogue author: turns curated machine entries into scripts; deterministic, offline and free."""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from defectory.errors import InputError
from defectory.sensors.authors import AuthorName, MachineListing, Script, ScriptTask
from defectory.sensors.catalogue import MachineEntry, find_industry, machines


class CatalogueAuthor:
    """Lists machines of the catalogue and renders each entry as a documented, object-oriented script."""

    name: AuthorName = "catalogue"

    def list_machines(self, industry: str, number: int) -> MachineListing:
        """The first ``number`` machines of ``industry``; the note tells when the catalogue has fewer."""
        catalogue_industry = find_industry(industry)
        names = tuple(entry.name for entry in machines(catalogue_industry.key))[:number]
        note = (
            ""
            if len(names) >= number
            else f"the catalogue has {len(names)} machines of {catalogue_industry.key}, {number} asked"
        )
        return MachineListing(names, note)

    def write_script(self, task: ScriptTask) -> Script:
        """Render the entry of ``task.machine``.

        Raises:
            InputError: the catalogue does not have the industry or the machine.
        """
        industry = find_industry(task.industry)
        for entry in machines(industry.key):
            if entry.name == task.machine:
                return Script(render(entry, industry.title, task.year, task.seed), author="catalogue", trusted=True)
        names = ", ".join(entry.name for entry in machines(industry.key))
        raise InputError("machine", f"one of the catalogue's for {industry.key}: {names}", task.machine)

    def repair_script(self, task: ScriptTask, script: Script, failures: Sequence[str]) -> Script:
        """The same machine with the next seed; some years, a rare coincidence of events breaks the contract."""
        return self.write_script(replace(task, seed=task.seed + 1))


def class_name(machine: str) -> str:
    """``CamelCase`` name for the class that simulates ``machine``."""
    words = re.findall(r"[A-Za-z0-9]+", machine)
    name = "".join(word[:1].upper() + word[1:] for word in words) or "Simulator"
    return name if not name[0].isdigit() and not keyword.iskeyword(name) else f"Machine{name}"


def render(entry: MachineEntry, industry: str, year: int, seed: int) -> str:
    """Python source that simulates ``entry`` for ``year`` with ``seed`` and writes its files where it is run."""
    body = textwrap.indent("\n".join(_body(entry)), " " * 8)
    name = class_name(entry.name)
    return f'''"""One year of sensor data for one machine, a row a minute.

Machine: {_prose(entry.name)}
Industry: {_prose(industry)}
"""

import numpy as np

from defectory.sensors.signals import Machine, Step


class {name}:
    """{_prose(entry.description)}"""

    def __init__(self, year: int, seed: int) -> None:
        self.machine = Machine({entry.name!r}, year=year, seed=seed, description={entry.description!r})

    def simulate(self) -> Machine:
        """Operate the machine for a year: calendar, wear, failures, production, signals, then anomalies."""
        m = self.machine
{body}
        m.anomalies(count={entry.anomalies})
        return m


def main() -> None:
    """Write the dataset into the working directory."""
    {name}(year={year}, seed={seed}).simulate().write(".")


if __name__ == "__main__":
    main()
'''


def _prose(text: str) -> str:
    """``text`` as it may stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"', "'")


def _call(function: str, *positional: object, **named: object) -> str:
    arguments = [repr(value) for value in positional]
    arguments += [f"{key}={value!r}" for key, value in named.items() if value is not None]
    return f"{function}({', '.join(arguments)})"


def _body(entry: MachineEntry) -> Iterator[str]:
    if entry.shifts:
        yield _call("m.shifts", **entry.shifts.model_dump())
    if entry.stops:
        yield _call("m.stops", **entry.stops.model_dump())
    for care in entry.maintenance:
        arguments = {"every_hours": care.every_hours, "minutes": care.minutes, "exponent": care.exponent}
        yield f"{care.id} = " + _call("m.maintenance", care.name, **arguments)
    for failure in entry.failures:
        arguments = {"hours": failure.hours, "count": failure.count, "repair_minutes": failure.repair_minutes}
        yield f"{failure.id} = " + _call("m.failure", failure.name, dict(failure.effects), **arguments)
    yield "on = m.on"
    if entry.recipe:
        steps = ", ".join(_call("Step", *step) for step in entry.recipe.steps)
        yield f"recipe = m.recipe({steps}, gap={entry.recipe.gap}, products={entry.recipe.products})"
    for identifier, expression in entry.terms.items():
        yield f"{identifier} = {expression}"
    for signal in entry.signals:
        yield "m.signal("
        yield f"    {signal.name!r}, {signal.value},"
        options = {"unit": signal.unit, "kind": signal.kind, "low": signal.low, "high": signal.high}
        options |= {"noise": signal.noise, "resolution": signal.resolution}
        yield "    " + ", ".join(f"{key}={value!r}" for key, value in options.items() if value is not None) + ","
        yield f"    description={signal.description!r},"
        yield ")"
    for a, sign, b in entry.correlations:
        yield _call("m.correlated", a, b, sign)
