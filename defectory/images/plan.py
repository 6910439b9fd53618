"""Plan: how many pictures of which defect balance a dataset, and the items that they come to."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from defectory.datasets.records import Dataset
from defectory.errors import InputError, shorten
from defectory.images.items import Item
from defectory.images.prompts import KindName, Mode
from defectory.images.renderers import MAX_SEED, RendererName
from defectory.images.renderers.names import RendererFamily, needs_photo, refuse_mode, renderer_name
from defectory.images.renderers.procedural import KINDS
from defectory.images.renderers.transplant import kind_of
from defectory.validation import FrozenModel
from defectory.writing import write_whole, writing_to

UNNAMED_DEFECT = "anomaly"
"""What defects are called that nobody has given a class."""

MAX_COUNT = 75_000
"""The most pictures of one kind in one plan."""

RendererChoice = RendererName | Literal["auto"]


_RULES = {
    "defect": "a name of lower-case letters, digits and _, a letter first",
    "count": f"a number of pictures from 1 to {MAX_COUNT}",
}


class Want(FrozenModel):
    """A number of pictures of one kind of defect.

    ``mask`` names where the defect is to be on each photo, ``prompt`` replaces the kind's own; ``why`` is for people.
    """

    renderer: RendererName
    defect: KindName
    count: int = Field(ge=1, le=MAX_COUNT)
    mask: str = ""
    prompt: str = ""
    why: str = ""


class Plan(FrozenModel):
    """What to make, so that each kind of defect has ``target`` images.

    ``dataset`` is the version planned for and ``good`` its good parts; ``have`` are its images of each defect.
    ``classes`` says what the dataset calls a kind ("" where it has no name); ``left_out`` says why nothing is made of
    a kind that falls short.
    """

    format: Literal["defectory-image-plan"] = "defectory-image-plan"
    dataset: str = ""
    good: int = Field(default=0, ge=0)
    have: dict[str, int] = Field(default_factory=dict)
    target: int = Field(default=0, ge=0)
    wants: tuple[Want, ...] = ()
    classes: dict[str, str] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many pictures there are to be."""
        return sum(want.count for want in self.wants)


def choose_renderer(family: RendererFamily | Literal["auto"], mode: Mode | None = None) -> RendererChoice:
    """What is to make the pictures of a plan: ``auto``, or the `renderer_name` of a family and a mode.

    Raises:
        InputError: a mode is given with what has none.
    """
    if family == "auto":
        refuse_mode(mode)
        return family
    return renderer_name(family, mode)


def plan_kinds(kinds: Sequence[str], count: int, renderer: RendererName, prompt: str = "") -> Plan:
    """A plan of as many pictures of each of ``kinds``, in their order; a kind named twice is one.

    Args:
        kinds: of defects, as ``scratch``.
        count: pictures of each.
        renderer: what makes them.
        prompt: replaces the kind's own, for renderers that take one.

    Raises:
        InputError: a kind or the count breaks its rule.
    """
    try:
        wants = [Want(renderer=renderer, defect=kind, count=count, prompt=prompt) for kind in dict.fromkeys(kinds)]
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        raise InputError(field, _RULES.get(field, first["msg"]), first["input"]) from None
    return Plan(wants=tuple(wants))


def plan_balance(
    dataset: Dataset,
    target: int | None = None,
    *,
    renderer: RendererChoice = "auto",
    defects: Sequence[str] = (),
) -> Plan:
    """How many pictures of which defect balance ``dataset``.

    Args:
        dataset: what is to be balanced: its training part, so that nothing is learnt of what is tested on.
        target: how many images each kind is to have.  By default as many as the most frequent one has, and so many
            that all defects together are at least as many as the good parts.
        renderer: what makes them.  ``auto`` moves real defects of a kind where at least one is masked, which helps
            most, and draws those that can be drawn without an example.
        defects: kinds that are to be there though the dataset has none of them.

    Raises:
        InputError: the target is out of range, there are no good parts or no defects to plan for, or two classes come
            to the same kind.

    >>> from pathlib import Path
    >>> from defectory import load_dataset
    >>> plan_balance(load_dataset(Path("parts")), target=8, renderer="procedural", defects=["scratch"]).count
    8
    """
    if target is not None and not 1 <= target <= MAX_COUNT:
        raise InputError("target", f"a number of images from 1 to {MAX_COUNT}", target)
    if not dataset.normal:
        raise InputError("dataset", "one with photos of good parts, on which defects are made", "none")
    have, masked, classes = _kinds(dataset)
    for name in defects:
        if kind_of(name) != name:
            raise InputError("defect", "lower-case letters, digits and _", name)
        have.setdefault(name, 0)
        classes.setdefault(name, name)
    if not have:
        fix = "Name the kinds that are to be made."
        raise InputError("dataset", "one with at least one labelled defect", "none", fix)
    if target is None:
        target = min(MAX_COUNT, max(*have.values(), -(-len(dataset.normal) // len(have)), 1))
    wants, left_out = [], {}
    for kind in sorted(have):
        missing = target - have[kind]
        if missing <= 0:
            continue
        choice, why = _choose(kind, masked[kind], renderer)
        if choice is None:
            left_out[kind] = why
        else:
            wants.append(Want(renderer=choice, defect=kind, count=missing, why=why))
    return Plan(
        dataset=dataset.version,
        good=len(dataset.normal),
        have=have,
        target=target,
        wants=tuple(wants),
        classes=classes,
        left_out=left_out,
    )


def expand(plan: Plan, photos: Sequence[str], seed: int = 0) -> list[Item]:
    """The items of a plan, kind by kind.

    Each photo is used once before any is used again.  The same arguments give the same items; a larger count adds some
    at the end of its kind and changes none before it.

    Args:
        plan: what is wanted.
        photos: the photos' names (paths below their folder, or keys in a bucket), in any order.
        seed: another seed, other pictures.

    Raises:
        InputError: there is no photo where one is needed, or the seed is out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InputError("seed", f"a whole number from 0 to {MAX_SEED}", seed)
    names = sorted(set(photos))
    items: list[Item] = []
    for number, want in enumerate(plan.wants):
        on_photo = needs_photo(want.renderer)
        if on_photo and not names:
            raise InputError("photos", "at least one photo of a good part", 0)
        # A plan may want the same twice; the second time it is to give other pictures.
        repetition = sum(_same(earlier, want) for earlier in plan.wants[:number])
        key = f"{seed}:{repetition}:{want.renderer}:{want.defect}:{want.mask}:{want.prompt}"
        laps = -(-want.count // max(1, len(names)))
        order = [name for lap in range(laps) for name in _shuffled(names, f"{key}:{lap}")] if on_photo else []
        items.extend(
            Item(
                renderer=want.renderer,
                defect=want.defect,
                seed=_number(f"{key}:{place}") % (MAX_SEED + 1),
                source=order[place] if on_photo else "",
                mask=want.mask if on_photo else "",
                prompt=want.prompt,
            )
            for place in range(want.count)
        )
    return items


def save_plan(plan: Plan, file: Path) -> Path:
    """Store a plan as JSON, to be looked at, changed by hand and made.

    Raises:
        InputError: the file cannot be written.
    """
    with writing_to(file):
        return write_whole(file, f"{plan.model_dump_json(indent=1)}\n".encode())


def load_plan(file: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: it is none; the message names the place.
    """
    try:
        return Plan.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InputError("plan", f"a file that can be read ({error.strerror})", str(file)) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "content"
        rule = f"as `defectory images plan` writes it ({shorten(first['msg'])})"
        got = None if isinstance(first["input"], bytes) else first["input"]
        raise InputError(f"{file}, {place}", rule, got) from None


def _kinds(dataset: Dataset) -> tuple[dict[str, int], Counter[str], dict[str, str]]:
    """Of each kind: how many images it has, how many of them are real and masked, and its class's name."""
    have: Counter[str] = Counter()
    masked: Counter[str] = Counter()
    names: defaultdict[str, set[str]] = defaultdict(set)
    for record in dataset.anomalous:
        for name in record.classes or ("",):
            kind = kind_of(name) if name else UNNAMED_DEFECT
            have[kind] += 1
            masked[kind] += record.mask is not None and not record.synthetic
            names[kind].add(name)
    for kind, class_names in names.items():
        if len(class_names) > 1:
            got = " and ".join(sorted(repr(name) for name in class_names))
            raise InputError("classes", f"told apart by more than case and signs ({kind})", got, "Rename one of them.")
    return dict(have), masked, {kind: class_names.pop() for kind, class_names in names.items()}


def _choose(kind: str, masked: int, renderer: RendererChoice) -> tuple[RendererName | None, str]:
    """What makes a kind, and why; or why nothing can."""
    name: RendererName = ("transplant" if masked else "procedural") if renderer == "auto" else renderer
    if name == "transplant":
        if not masked:
            return None, "none of its real defects is masked"
        return name, f"{masked} real {'one is' if masked == 1 else 'ones are'} masked"
    if name == "procedural":
        if kind not in KINDS:
            return None, "it needs an example: mask a real one for transplant, or use bedrock"
        return name, "it can be drawn without an example"
    return name, "asked for"


def _same(first: Want, second: Want) -> bool:
    return (first.renderer, first.defect, first.mask, first.prompt) == (
        second.renderer,
        second.defect,
        second.mask,
        second.prompt,
    )


def _shuffled(names: Sequence[str], key: str) -> list[str]:
    return [names[place] for place in np.random.default_rng(_number(key)).permutation(len(names))]


def _number(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def class_name(kind: str, classes: Mapping[str, str]) -> tuple[str, ...]:
    """What a dataset calls a kind, as the classes of an image."""
    name = classes.get(kind, kind)
    return (name,) if name else ()
