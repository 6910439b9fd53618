"""Runs: what one call or one execution is to make, and the status that it comes to."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from defectory.datasets.batches import BatchStatus, Folder
from defectory.errors import InputError
from defectory.images.costs import Cost
from defectory.images.items import Item, ItemOutcome
from defectory.images.plan import Want
from defectory.images.renderers import MAX_SEED, RendererName
from defectory.validation import FrozenModel


class DonorKeys(FrozenModel):
    """A real defect in the bucket, by its keys; ``kind`` is "" where its folder does not say."""

    kind: str
    image: str
    mask: str


class ManifestItem(FrozenModel):
    """A line of the manifest: one picture to be made, by the number of what is wanted and the keys of its files."""

    want: int = Field(ge=0)
    seed: int = Field(ge=0, le=MAX_SEED)
    source: str = ""
    mask: str = ""

    @property
    def line(self) -> str:
        """As it is stored."""
        return self.model_dump_json(exclude_defaults=True) + "\n"


class Run(Folder):
    """What is to be made, but for the pictures themselves, which are in the manifest, one a line.

    ``classes`` says what the dataset calls a kind of defect, where it is not called like the kind; ``models`` are the
    models that renderers call, and ``estimate`` is what they may cost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    execution: str
    wants: tuple[Want, ...] = Field(min_length=1)
    donors: tuple[DonorKeys, ...] = ()
    classes: dict[str, str] = Field(default_factory=dict)
    models: dict[RendererName, str] = Field(default_factory=dict)
    estimate: Cost | None = None

    @property
    def count(self) -> int:
        """How many pictures there are to be."""
        return sum(want.count for want in self.wants)

    def item(self, entry: ManifestItem) -> Item:
        """The picture that a line of the manifest asks for.

        Raises:
            InputError: the line is not of this run.
        """
        if entry.want >= len(self.wants):
            raise InputError("want", f"a number of what is wanted, from 0 to {len(self.wants) - 1}", entry.want)
        want = self.wants[entry.want]
        return Item(
            renderer=want.renderer,
            defect=want.defect,
            seed=entry.seed,
            source=entry.source,
            mask=entry.mask,
            prompt=want.prompt,
        )

    @classmethod
    def read(cls, content: bytes, key: str) -> Self:
        """Read a stored run.

        Raises:
            InputError: it is none; ``key`` is named in the message.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise InputError(key, "what an execution is to make, as its plan step stored it", str(error)) from None

    def donors_of(self, kind: str) -> tuple[DonorKeys, ...]:
        """The donors of a kind of defect: those of its own folder, and those of none."""
        return tuple(donor for donor in self.donors if donor.kind in (kind, ""))


class ItemFailure(BaseModel):
    """A picture that was not made, and why."""

    model_config = ConfigDict(frozen=True)

    id: str
    outcome: ItemOutcome
    reason: str


class RunStatus(BatchStatus):
    """What became of the latest execution for a dataset.

    ``estimate`` is what image models were thought to cost beforehand, ``cost`` what they did, by the pictures that they
    made.
    """

    not_made: tuple[ItemFailure, ...] = ()
    estimate: Cost | None = None
    cost: Cost | None = None
