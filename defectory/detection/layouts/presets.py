"""Presets: the declared world that layouts are sampled from: classes, how often, how large, what goes with what."""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePath
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from defectory.detection.layouts.records import CameraQuality, ClassName, Light, Occlusion
from defectory.errors import InputError
from defectory.validation import FrozenModel, explain

PRESETS_FILE = Path(__file__).with_name("presets.yaml")

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0, le=50)]
Metres = Annotated[float, Field(gt=0, le=100)]
Size = Annotated[float, Field(gt=0, le=4)]


class ClassPlan(FrozenModel):
    """How often a class is there, how many of it, and how large.

    Args:
        share: of scenes that show it at all.
        number: how many where it is shown, each with its weight.
        height_m: metres, from and to; of what lies flat, its width.
        aspect: width over height; of what lies flat, depth over width.
        size: height in the picture (of what lies flat, its width) as a share of its shorter side, from and to.
        place: it stands on the floor, or lies flat on it.
        context: it belongs to the scene and is no class of the dataset: drawn, never labelled.
    """

    share: Share
    number: dict[Count, Weight] = Field(default={1: 1.0}, min_length=1)
    height_m: tuple[Metres, Metres]
    aspect: tuple[Metres, Metres]
    size: tuple[Size, Size]
    place: Literal["stands", "lies"] = "stands"
    context: bool = False


class Wears(FrozenModel):
    """``wearer`` wears ``label`` in this share of cases.

    ``box`` is where: left, top, width, height in shares of the wearer's box.
    """

    wearer: ClassName
    label: ClassName
    share: Share
    box: tuple[Share, Share, Share, Share]


class Beside(FrozenModel):
    """A ``label`` stands beside each ``of`` in this share of cases, so many metres from it."""

    label: ClassName
    of: ClassName
    share: Share
    distance_m: tuple[float, Metres]


class Together(FrozenModel):
    """Where ``present`` is, ``label`` is too in this share of the scenes that would have none."""

    label: ClassName
    present: ClassName
    share: Share


class RareEvent(FrozenModel):
    """What is seldom seen and should be known all the same.

    Args:
        name: what it is called in the conditions of the scene.
        rate: share of scenes that show it.
        number: how many of a class there are then.
        wears: the share of a worn class then.
        tilted: classes whose objects have fallen over.
        size: shares of the picture's shorter side, for all.
        light, camera, occlusion: what they are then.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    rate: Share
    number: dict[ClassName, Count] = Field(default={})
    wears: dict[ClassName, Share] = Field(default={})
    tilted: tuple[ClassName, ...] = ()
    size: tuple[Size, Size] | None = None
    light: Light | None = None
    camera: CameraQuality | None = None
    occlusion: Occlusion | None = None


class ViewPlan(FrozenModel):
    """The cameras, each from and to: row of the horizon as a share of the height, metres over the floor, degrees."""

    horizon: tuple[float, float] = (0.05, 0.42)
    height_m: tuple[Metres, Metres] = (1.5, 5.0)
    fov: tuple[float, float] = (45.0, 80.0)


class Preset(FrozenModel):
    """A world to sample scenes from.

    Args:
        name: what it is called, and how the names of its scenes begin; of a file of one's own, that of the file.
        classes: those that stand by themselves, each with its plan; worn ones are in ``wears``.
        wears, beside, together: relations between them.
        events: rare ones; their rates add up to 1 at most.
        backgrounds, light, camera, occlusion: how often each, as weights.
        view: the cameras.
        empty: share of scenes that show none of the classes.
        truncated: share of objects that may reach beyond the picture.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$")] = "own"
    title: str = ""
    classes: dict[ClassName, ClassPlan] = Field(min_length=1)
    wears: tuple[Wears, ...] = ()
    beside: tuple[Beside, ...] = ()
    together: tuple[Together, ...] = ()
    events: tuple[RareEvent, ...] = ()
    backgrounds: dict[str, Weight] = Field(min_length=1)
    light: dict[Light, Weight] = Field(default={"even": 1.0}, min_length=1)
    camera: dict[CameraQuality, Weight] = Field(default={"sharp": 1.0}, min_length=1)
    occlusion: dict[Occlusion, Weight] = Field(default={"none": 1.0}, min_length=1)
    view: ViewPlan = ViewPlan()
    empty: Share = 0.0
    truncated: Share = 0.15

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the dataset, worn ones last: their order is that of class ids."""
        labelled = [name for name, plan in self.classes.items() if not plan.context]
        return tuple(dict.fromkeys([*labelled, *(relation.label for relation in self.wears)]))

    @property
    def drawn(self) -> tuple[str, ...]:
        """All classes that scenes show."""
        return tuple(dict.fromkeys([*self.classes, *(relation.label for relation in self.wears)]))

    @model_validator(mode="after")
    def _relations_name_classes(self) -> Self:
        for relation in self.wears:
            if relation.wearer not in self.classes or relation.label in self.classes:
                raise ValueError(f"wears: {relation.wearer} of the classes, and {relation.label} of no other plan")
        for name in (name for rule in (*self.beside, *self.together) for name in rule.model_dump().values()):
            if isinstance(name, str) and name not in self.classes:
                raise ValueError(f"beside, together: classes that have a plan, which {name} has not")
        worn = {relation.label for relation in self.wears}
        for event in self.events:
            if unknown := ({*event.number, *event.tilted} - set(self.classes)) | (set(event.wears) - worn):
                raise ValueError(f"events.{event.name}: classes of this preset, which {min(unknown)} is not")
        if sum(event.rate for event in self.events) > 1:
            raise ValueError("events: rates that add up to 1 at most")
        return self


def preset_names() -> tuple[str, ...]:
    """The presets that are there."""
    return tuple(_presets())


def load_preset(name: str | Path) -> Preset:
    """A preset by its name, or from a YAML file of one's own.

    Raises:
        InputError: there is none of that name, or the file holds none.
    """
    if isinstance(name, str) and name in _presets():
        return _presets()[name]
    file = Path(name)
    if file.suffix not in {".yaml", ".yml"}:
        fix = "A preset of your own is a .yaml file, as `docs/detection.md` says."
        raise InputError("preset", f"one of {', '.join(_presets())}, or a YAML file", str(name), fix)
    try:
        return parse_preset(file.read_bytes(), str(name))
    except OSError as error:
        raise InputError("preset", f"a file that can be read ({error.strerror})", str(name)) from None


def parse_preset(content: bytes, name: str) -> Preset:
    """A preset from the YAML of a file of one's own, which is called ``name``.

    Raises:
        InputError: it is none.
    """
    try:
        fields = yaml.safe_load(content)
        stem = PurePath(name).stem
        return Preset.model_validate({"name": stem, **fields} if isinstance(fields, dict) else fields)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("preset", f"a file of YAML ({error})", name) from None
    except ValidationError as error:
        told = explain(error)
        raise InputError(f"preset: {told.field}", told.rule, told.got) from None


@cache
def _presets() -> dict[str, Preset]:
    content = yaml.safe_load(PRESETS_FILE.read_text(encoding="utf-8"))
    return {name: Preset.model_validate({"name": name, **preset}) for name, preset in content.items()}
