"""Cut-outs on disk: ``cutouts.jsonl``, a line each, beside the pictures that it names."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from defectory.validation import FrozenModel

INDEX = "cutouts.jsonl"
"""The file that says what a folder of cut-outs has."""

Split = Literal["train", "test"]
"""The two sides that a cut-out may stand on: it is never seen on both."""


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts or not path.name:
        raise ValueError("a path inside the folder, with / between its parts")
    return name


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
FileName = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(_inside)]


class PartRecord(FrozenModel):
    """What a person wears: its class, its box (left, top, width, height) in the cut-out's pixels, its mask's file."""

    label: Name
    box: tuple[
        Annotated[int, Field(ge=0)],
        Annotated[int, Field(ge=0)],
        Annotated[int, Field(gt=0)],
        Annotated[int, Field(gt=0)],
    ]
    mask: FileName


class CutOutRecord(FrozenModel):
    """A line of ``cutouts.jsonl``.

    Attributes:
        id: one in the folder, as ``safety_cone/striped-07``.
        file: the picture, WebP or PNG with straight alpha, cut tight to what is not transparent.
        label: the class.
        variant: the form of it; all views of one variant stand on the same side of the split.
        view: number of the view.
        split: ``train`` or ``test``.
        height_m: what the picture's height is in metres, at the object's distance.
        azimuth: from which side it is seen, in degrees; 0 is the front.
        elevation: from how high, in degrees above the horizontal.
        stands: whether its lowest pixels touch the floor; false for what lies flat or is worn.
        license: of the picture.
        source: where it comes from.
        parts: what a person wears.
    """

    id: Name
    file: FileName
    label: Name
    variant: Name
    view: Annotated[int, Field(ge=0)] = 0
    split: Split
    height_m: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
    azimuth: Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False)] = 0.0
    elevation: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] = 10.0
    stands: bool = True
    license: Annotated[str, Field(max_length=200)] = ""
    source: Annotated[str, Field(max_length=1000)] = ""
    parts: tuple[PartRecord, ...] = ()
