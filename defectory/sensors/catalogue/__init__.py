"""The catalogue: curated industries, their machines, and the physics of each machine's signals, as data files.

``industries.yaml`` names the industries with their aliases; ``<industry>.yaml`` holds the machines.  The schema is
``MachineEntry``; ``docs/catalogue.md`` explains how to add a machine.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from defectory.errors import DefectoryError, InputError, shorten
from defectory.sensors.dataset import SignalKind
from defectory.sensors.syntax import parsing
from defectory.validation import FrozenModel

_FOLDER = Path(__file__).parent


def _expression(text: str) -> str:
    try:
        with parsing():
            ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"is no Python expression ({error.msg}); quote it in the file") from None
    return text


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", text) or text in {"m", "np", "on", "recipe"}:
        raise ValueError("must be lower_case and none of m, np, on, recipe")
    return text


Expression = Annotated[str, AfterValidator(_expression)]
Identifier = Annotated[str, AfterValidator(_identifier)]
SignalName = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9_]{0,63}$")]


class Shifts(FrozenModel):
    """Arguments of ``Machine.shifts``."""

    per_day: int = Field(default=3, ge=1, le=4)
    days: int = Field(default=7, ge=1, le=7)
    start_hour: float = Field(default=6, ge=0, lt=24)
    hours: float = Field(default=8, gt=0, le=24)
    shutdown: bool = False


class Stops(FrozenModel):
    """Arguments of ``Machine.stops``."""

    per_week: float = Field(gt=0, le=70)
    minutes: float = Field(gt=0, le=240)
    name: str


class Maintenance(FrozenModel):
    """Arguments of ``Machine.maintenance``; ``id`` is the name of the wear in expressions."""

    id: Identifier
    name: str
    every_hours: float = Field(ge=24, le=9000)
    minutes: float = Field(ge=10, le=4000)
    exponent: float = Field(default=1.4, gt=0, le=5)


class FailureMode(FrozenModel):
    """Arguments of ``Machine.failure``; ``id`` is the name of the degradation in expressions."""

    id: Identifier
    name: str
    hours: float = Field(ge=4, le=240)
    count: int = Field(default=2, ge=1, le=6)
    repair_minutes: float = Field(ge=30, le=5000)
    effects: dict[SignalName, float] = Field(min_length=2)


class RecipeEntry(FrozenModel):
    """Arguments of ``Machine.recipe``; steps are ``[name, minutes]`` or ``[name, minutes, spread]``."""

    gap: float = Field(default=2, ge=0)
    products: int = Field(default=1, ge=1, le=12)
    steps: tuple[tuple[Identifier, float] | tuple[Identifier, float, float], ...] = Field(min_length=1)


class SignalEntry(FrozenModel):
    """Arguments of ``Machine.signal``; ``value`` is a NumPy expression."""

    name: SignalName
    unit: str = Field(max_length=24)
    kind: SignalKind
    low: float
    high: float
    noise: float | None = Field(default=None, ge=0)
    resolution: float | None = Field(default=None, gt=0)
    description: str = Field(min_length=8, max_length=300)
    value: Expression


class MachineEntry(FrozenModel):
    """One machine: how it is operated, what it makes, its signals, and how it fails.

    Expressions may use ``m`` (the ``Machine``), ``np``, ``on``, ``recipe``, the ids of maintenance and failures, and
    the terms above them.
    """

    name: str = Field(min_length=3, max_length=80)
    description: str = Field(min_length=20, max_length=300)
    shifts: Shifts | None = None
    stops: Stops | None = None
    maintenance: tuple[Maintenance, ...] = Field(min_length=1)
    failures: tuple[FailureMode, ...] = Field(min_length=1)
    recipe: RecipeEntry | None = None
    terms: dict[Identifier, Expression] = Field(default_factory=dict)
    signals: tuple[SignalEntry, ...] = Field(min_length=6, max_length=14)
    correlations: tuple[tuple[SignalName, Literal["+", "-"], SignalName], ...] = Field(min_length=1)
    anomalies: int = Field(default=24, ge=8, le=80)

    @model_validator(mode="after")
    def _names_exist(self) -> MachineEntry:
        names = {signal.name for signal in self.signals}
        if len(names) != len(self.signals):
            raise ValueError("signal names must be unique")
        used = {name for failure in self.failures for name in failure.effects}
        used |= {name for a, _, b in self.correlations for name in (a, b)}
        if used - names:
            raise ValueError(f"{sorted(used - names)[0]} is used in effects or correlations but is no signal")
        return self


class Industry(FrozenModel):
    """An industry as listed in ``industries.yaml``."""

    key: str
    title: str
    aliases: tuple[str, ...] = ()


def _read(path: Path) -> object:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)


@cache
def industries() -> tuple[Industry, ...]:
    """All industries of the catalogue, in the order of ``industries.yaml``."""
    entries = _read(_FOLDER / "industries.yaml")
    assert isinstance(entries, list)
    return tuple(Industry.model_validate(entry) for entry in entries)


def _normal(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold().replace("&", " and ")).strip()


def find_industry(name: str) -> Industry:
    """The industry called ``name`` by key, title or alias, whatever its case and punctuation.

    Raises:
        InputError: the catalogue does not know it; the message lists what there is and names the other author.
    """
    normal_name = _normal(name)
    for industry in industries():
        if normal_name in {_normal(text) for text in (industry.key, industry.title, *industry.aliases)}:
            return industry
    keys = ", ".join(industry.key for industry in industries())
    raise InputError(
        "industry", f"one of the catalogue's: {keys}", name, fix="Author 'bedrock' writes data for any industry."
    )


@cache
def machines(key: str) -> tuple[MachineEntry, ...]:
    """The machines of the industry with ``key``, most typical first.

    Raises:
        DefectoryError: the data file breaks the schema; the message names file, machine, signal and rule.
    """
    return read_machines(_FOLDER / f"{key}.yaml")


def read_machines(path: Path) -> tuple[MachineEntry, ...]:
    """The machines in the file ``path``, a YAML list of ``MachineEntry``.

    Raises:
        DefectoryError: the file cannot be read or breaks the schema; the message names the file and, for each fault,
            the machine, the signal and the rule.
    """
    try:
        entries = _read(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DefectoryError(f"catalogue file {path}: cannot be read as YAML ({error})") from error
    if not isinstance(entries, list):
        raise DefectoryError(f"catalogue file {path}: must be a list of machines, each beginning with '- name: ...'")
    machines_read, faults = [], []
    for number, entry in enumerate(entries, 1):
        try:
            machines_read.append(MachineEntry.model_validate(entry))
        except ValidationError as error:
            faults += [f"{_place(entry, number, fault['loc'])}: {_rule(fault)}" for fault in _causes(error)]
    if faults:
        raise DefectoryError("\n  ".join([f"catalogue file {path}:", *faults]))
    return tuple(machines_read)


def _causes(error: ValidationError) -> list[ErrorDetails]:
    """The faults without those that only follow: a signal that is faulty does not count, so that there seem too few."""
    faults = error.errors(include_url=False)
    within = {fault["loc"][:depth] for fault in faults for depth in range(1, len(fault["loc"]))}
    return [fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in within]


def _place(entry: object, number: int, location: tuple[int | str, ...]) -> str:
    """Where a fault is, in the file's own words: ``machine 'Hydraulic Press', signals 'Oil_Level', description``."""
    words = [f"machine {_name_in(entry) or number}"]
    inner = entry
    for part in location:
        try:
            inner = inner[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            inner = None
        if isinstance(part, int):
            words[-1] += f" {_name_in(inner) or part + 1}"
        else:
            words.append(part)
    return ", ".join(words)


def _name_in(entry: object) -> str:
    name = (entry.get("name") or entry.get("id")) if isinstance(entry, dict) else None
    return repr(name) if isinstance(name, str) else ""


def _rule(fault: ErrorDetails) -> str:
    """What was broken, and by what where that is short."""
    if fault["type"] in {"too_short", "too_long"}:
        least, most = fault["ctx"].get("min_length"), fault["ctx"].get("max_length")
        limit = f"at least {least}" if fault["type"] == "too_short" else f"at most {most}"
        return f"must be {limit}, got {fault['ctx']['actual_length']}"
    given = fault["input"]
    shown = f", got {shorten(repr(given))}" if isinstance(given, str | int | float) else ""
    return f"{fault['msg'].removeprefix('Value error, ')}{shown}"
