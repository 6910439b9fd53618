"""Requests for pictures: the event of the function, which makes a few, and the input of the state machine."""

from __future__ import annotations

from typing import Self, TypeVar

from pydantic import ConfigDict, Field, JsonValue, model_validator

from defectory.aws.object_keys import check_key_length
from defectory.datasets.batches import MAX_BATCH, NAME_RULE, Folder, parse_event
from defectory.errors import InputError
from defectory.images.plan import Plan, Want
from defectory.images.prompts import KIND_PATTERN, KindName
from defectory.images.renderers import MAX_SEED, RendererName

MAX_PICTURES = 10
"""The most pictures that one call of the function makes."""

RULES = {
    "user_id": NAME_RULE,
    "dataset": NAME_RULE,
    "renderer": "procedural, transplant, bedrock-zero-shot, bedrock-image-to-image or bedrock-inpaint",
    "defect": "1 to 64 lower-case ASCII letters, digits or _, starting with a letter",
    "count": "a whole number of pictures, from 1 to {limit}",
    "source": "the key of a photo of a good part, or a prefix of some, below <user_id>/ in the bucket",
    "mask": "the key of a mask, or a prefix of masks named like the photos, below <user_id>/ in the bucket",
    "donors": "a prefix with images/ and masks/ of real defects in it, below <user_id>/ in the bucket",
    "prompt": "at most 10000 characters",
    "seed": f"a whole number from 0 to {MAX_SEED}",
    "plan": "a plan, as `defectory images plan` writes it, or the key of one below <user_id>/ in the bucket",
}


class SynthesisRequest(Folder):
    """What both kinds of request have in common; ``donors`` is for the transplant renderer."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    source: str = ""
    mask: str = ""
    donors: str = ""
    prompt: str = Field(default="", max_length=10_000)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)

    @model_validator(mode="after")
    def _names_its_users_files_alone(self) -> Self:
        for name in ("source", "mask", "donors", "plan"):
            key = getattr(self, name, "")
            if isinstance(key, str) and key:
                self.check_key(name, key)
        return self

    def check_key(self, name: str, key: str) -> None:
        """Raise ``InputError`` unless the field ``name`` may name this key or prefix: one of the user's own uploads."""
        if not self.is_own(key):
            raise InputError(name, RULES[name], key, f"Upload it below {self.user_id}/, and name that.")
        check_key_length(name, key)
        if name != "plan" and self.has(key):
            raise InputError(name, RULES[name], key, f"In {self.prefix} is what is made; take another dataset.")


class PicturesRequest(SynthesisRequest):
    """A few pictures of one kind of defect, made by one call of the function."""

    renderer: RendererName
    defect: KindName
    count: int = Field(ge=1, le=MAX_PICTURES)

    def own_plan(self) -> Plan:
        """What it asks for, as a plan."""
        return _plan(self, self.renderer, self.defect, self.count)


class BatchRequest(SynthesisRequest):
    """Many pictures of one kind of defect; or those of a plan, given itself or by its key."""

    renderer: RendererName | None = None
    defect: str = Field(default="", pattern=rf"\A({KIND_PATTERN})?\z")
    count: int = Field(default=0, ge=0, le=MAX_BATCH)
    plan: str | dict[str, JsonValue] = ""

    @model_validator(mode="after")
    def _names_one_kind_or_a_plan(self) -> Self:
        for name in ("renderer", "defect", "count"):
            value = getattr(self, name)
            if value and self.plan:
                raise InputError(name, "left out where there is a plan", value)
            if not value and not self.plan:
                raise InputError(name, RULES[name].format(limit=MAX_BATCH), value, "Name it, or give a plan.")
        return self

    def own_plan(self) -> Plan | None:
        """What it asks for, as a plan; None where it names a plan."""
        return _plan(self, self.renderer, self.defect, self.count) if self.renderer else None


_Kind = TypeVar("_Kind", bound=SynthesisRequest)


def parse_pictures_request(event: object) -> PicturesRequest:
    """Check an event of the function.

    Raises:
        InputError: names the first offending field and its rule.
    """
    return _parse(PicturesRequest, event, MAX_PICTURES, "The state machine makes more.")


def parse_batch_request(event: object) -> BatchRequest:
    """Check the input of the state machine.

    Raises:
        InputError: names the first offending field and its rule.
    """
    return _parse(BatchRequest, event, MAX_BATCH, "Divide it among several executions, each with a seed of its own.")


def _parse(kind: type[_Kind], event: object, limit: int, more: str) -> _Kind:
    rules = {field: rule.format(limit=limit) for field, rule in RULES.items()}
    example = "user_id, renderer, defect, count, source and dataset"
    return parse_event(kind, event, rules, example=example, too_large={"count": more})


def _plan(request: SynthesisRequest, renderer: RendererName, defect: str, count: int) -> Plan:
    want = Want(renderer=renderer, defect=defect, count=count, mask=request.mask, prompt=request.prompt)
    return Plan(wants=(want,))
