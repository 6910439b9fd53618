"""Prompts: what image models are told of each kind of defect; data that users may edit (``defects.yaml``)."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, Field, ValidationError

from defectory.errors import InputError
from defectory.validation import FrozenModel

Mode = Literal["zero-shot", "image-to-image", "inpaint"]
"""From a text alone, from a photo as a whole, or into a place of a photo."""

MODES: tuple[Mode, ...] = get_args(Mode)
DEFAULT_FILE = Path(__file__).with_name("defects.yaml")

_FIELDS = ("part", "defect")


def _template(text: str) -> str:
    """A text that has nothing in braces but {part} and {defect}; a kind's own may spell either out.

    Raises:
        ValueError: it has others, or a lone brace.
    """
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError as error:
        raise ValueError(f"has a brace of its own ({error}); double it") from None
    if unknown := sorted(names - set(_FIELDS)):
        raise ValueError(f"knows only {{part}} and {{defect}}, not {{{unknown[0]}}}")
    return text


Text = Annotated[str, Field(min_length=3, max_length=4000)]
Template = Annotated[Text, AfterValidator(_template)]
KIND_PATTERN = r"[a-z][a-z0-9_]{0,63}"
"""What a kind of defect may be called, everywhere."""

KindName = Annotated[str, Field(pattern=rf"^{KIND_PATTERN}$")]


class DefectKind(FrozenModel):
    """One kind of defect.

    ``description`` is what stands for {defect}; ``prompts`` replace the file's for this kind; ``negative`` is added to
    what no picture is to show.
    """

    description: Text
    prompts: dict[Mode, Template] = Field(default_factory=dict)
    negative: str = Field(default="", max_length=4000)


class Prompts(FrozenModel):
    """All that image models are told: the part, the kinds of defects, one prompt for each mode."""

    part: Text
    negative: str = Field(default="", max_length=4000)
    prompts: dict[Mode, Template]
    kinds: dict[KindName, DefectKind]

    def write(self, defect: str, mode: Mode, prompt: str = "") -> Prompt:
        """What a model is told.

        Args:
            defect: a kind; one that is not listed is described by its name.
            mode: how the picture is made.
            prompt: words of the user's own, which replace the prompt as they are.
        """
        kind = self.kinds.get(defect) or DefectKind(description=f"a clearly visible {defect.replace('_', ' ')}")
        template = kind.prompts.get(mode, self.prompts[mode])
        text = prompt.strip() or template.format(part=self.part, defect=kind.description)
        return Prompt(" ".join(text.split()), ", ".join(filter(None, (self.negative, kind.negative))))


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a picture is to show, and what not."""

    text: str
    negative: str


def load_prompts(path: Path | None = None) -> Prompts:
    """Read the prompts: ours, with what ``path`` says instead.

    A file may name the part only, or add a kind, or change one prompt of one kind: what it leaves out stays.

    Raises:
        InputError: the file cannot be read, or says something that prompts do not have; the message names the place.
    """
    ours = yaml.safe_load(DEFAULT_FILE.read_text("utf-8"))
    if path is None:
        return Prompts.model_validate(ours)
    try:
        theirs = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError("prompts", f"a file that can be read ({error.strerror})", str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("prompts", "a YAML file", str(path), " ".join(str(error).split())) from None
    if not isinstance(theirs, dict):
        raise InputError("prompts", "a YAML file of settings such as `part: ceramic tile`", str(path))
    try:
        return Prompts.model_validate(_merged(ours, theirs))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(step) for step in first["loc"] if step != "[key]")
    reason = first["msg"].removeprefix("Value error, ")
    got = None if isinstance(first["input"], dict) else first["input"]
    fix = f"In {path}; {DEFAULT_FILE} shows what there can be."
    raise InputError(f"prompts: {place}", f"what prompts can hold ({reason[:1].lower()}{reason[1:]})", got, fix)


def with_part(prompts: Prompts, part: str) -> Prompts:
    """``prompts`` about another part, such as ``ceramic tile``; an article before it is left out: prompts have one.

    Raises:
        InputError: the part is no words.
    """
    name = re.sub(r"^(an?|the)\s+", "", part.strip(), flags=re.IGNORECASE)
    try:
        return Prompts.model_validate(prompts.model_dump() | ({"part": name} if name else {}))
    except ValidationError as error:
        raise InputError("part", f"words for what the photos show ({error.errors()[0]['msg']})", part) from None


def _merged(ours: dict[str, Any], theirs: dict[Any, Any]) -> dict[Any, Any]:
    """``theirs`` over ``ours``, level by level."""
    both: dict[Any, Any] = dict(ours)
    for name, value in theirs.items():
        old = both.get(name)
        both[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both
