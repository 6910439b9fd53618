"""Synthesizing the pictures of a run, each once, however often it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from defectory.aws.bucket import Bucket
from defectory.datasets.batches import Folder
from defectory.errors import DefectoryError, InputError, ServiceError
from defectory.images.assembly import read_record
from defectory.images.batch.models import ImageModels
from defectory.images.batch.plan import plan_run
from defectory.images.batch.requests import PicturesRequest
from defectory.images.batch.runs import DonorKeys, ManifestItem, Run
from defectory.images.costs import Cost, actual_cost, used_by
from defectory.images.items import Item, ItemOutcome, ItemRecord, item_id, record_file
from defectory.images.placement import learn_placement
from defectory.images.renderers import Renderer
from defectory.images.renderers.procedural import ProceduralRenderer
from defectory.images.renderers.transplant import Donor, TransplantRenderer
from defectory.images.synthesis import make_item, request_of
from defectory.vision.arrays import Mask
from defectory.vision.photos import Photo, load_mask, load_photo

_MOST_DONORS, _MOST_EXAMPLES = 3, 5


class Picture(BaseModel):
    """What became of one picture; ``image`` and ``mask`` are keys in the bucket, "" where there is none."""

    model_config = ConfigDict(frozen=True)

    id: str
    outcome: ItemOutcome
    reason: str = ""
    image: str = ""
    mask: str = ""
    severity: float = 0.0

    @classmethod
    def of(cls, record: ItemRecord, folder: Folder) -> Self:
        """Of a record of the dataset in ``folder``."""
        image, mask = (folder.prefix + name if name else "" for name in (record.image, record.mask))
        described = record.model_dump(include={"id", "outcome", "reason", "severity"})
        return cls(**described, image=image, mask=mask)


class PicturesResult(BaseModel):
    """What became of a request for a few pictures; ``outcomes`` count them, ``cost`` is that of image models."""

    model_config = ConfigDict(frozen=True)

    status: Literal["COMPLETE", "PARTIAL", "FAILED"]
    user_id: str
    dataset: str
    outcomes: dict[str, int]
    cost: Cost
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Synthesizer:
    """Makes pictures from what is in ``bucket``, and stores them there."""

    bucket: Bucket
    models: ImageModels

    def synthesize(self, key: str, entries: Sequence[ManifestItem]) -> dict[str, int]:
        """Make these pictures of the run stored at ``key``, those that are not made already.

        Returns:
            How often each outcome came of them.  What cannot be worked with (a photo, a mask, a donor) ends as a
            picture that failed, with the reason in its record.

        Raises:
            InputError: there is no such run, or an entry is not of it.
            ServiceError: S3 or Bedrock failed, for one picture at least; the others are made.  Nothing of a picture
                counts until its record is stored, so the same call makes what is missing.
        """
        run = Run.read(self.bucket.read(key), key)
        outcomes: Counter[str] = Counter()
        problem: ServiceError | None = None
        for item in [run.item(entry) for entry in entries]:
            try:
                outcomes[self._synthesize(run, item).outcome] += 1
            except ServiceError as error:
                problem = problem or error
        if problem is not None:
            raise problem
        return dict(sorted(outcomes.items()))

    def synthesize_request(self, request: PicturesRequest) -> PicturesResult:
        """Make the pictures of a request, those that are not made already.

        Raises:
            InputError: something that it names is not there; nothing was written.
            ServiceError: S3 or Bedrock failed; the same request goes on from there.
        """
        run, manifest = plan_run(request, "", bucket=self.bucket, models=self.models)
        records = [self._synthesize(run, run.item(entry)) for entry in manifest]
        outcomes = Counter[str](record.outcome for record in records)
        return PicturesResult(
            status="COMPLETE" if outcomes["made"] == len(records) else "PARTIAL" if outcomes["made"] else "FAILED",
            user_id=run.user_id,
            dataset=run.dataset,
            outcomes=dict(sorted(outcomes.items())),
            cost=actual_cost(used_by(records, run.models)),
            pictures=tuple(Picture.of(record, run) for record in records),
        )

    def _synthesize(self, run: Run, item: Item) -> ItemRecord:
        if finished := self._finished_record(run, item):
            return finished
        try:
            photo = load_photo(self.bucket.read(item.source), name=item.source) if item.source else None
            request = request_of(item, self._mask(item, photo))
            result = make_item(item, self._renderer(item, run.donors_of(item.defect)), photo, request)
        except InputError as error:
            return self._fail(run, item, error)
        except ServiceError as error:
            # In case it is the last attempt; another one takes no failed picture for done.  The bucket itself may be
            # what fails, and then the first error says more than a second.
            with suppress(ServiceError):
                self._fail(run, item, error)
            raise
        self.bucket.write({run.prefix + name: content for name, content in result.files.items()})
        return result.record

    def _fail(self, folder: Folder, item: Item, error: DefectoryError) -> ItemRecord:
        record = failed_record(item, str(error))
        self.bucket.write({folder.prefix + record_file(record.id): record_content(record)})
        return record

    def _finished_record(self, folder: Folder, item: Item) -> ItemRecord | None:
        """The record of a picture that needs no second try."""
        key = folder.prefix + record_file(item_id(item))
        content = self.bucket.find(key)
        record = read_record(content, key) if content else None
        return record if record and record.outcome != "failed" else None

    def _mask(self, item: Item, photo: Photo | None) -> Mask | None:
        if not item.mask or photo is None:
            return None
        return load_mask(self.bucket.read(item.mask), photo, name=item.mask)

    def _renderer(self, item: Item, donors: Sequence[DonorKeys]) -> Renderer:
        # However many there are, a picture reads a few, and other pictures read others.
        rotated = [donors[(item.seed + number) % len(donors)] for number in range(len(donors))]
        match item.renderer:
            case "procedural":
                masks = [self._donor(item, keys).mask for keys in rotated[:_MOST_EXAMPLES]]
                return ProceduralRenderer({item.defect: learn_placement(masks)} if masks else None)
            case "transplant":
                return TransplantRenderer([self._donor(item, keys) for keys in rotated[:_MOST_DONORS]])
            case _:
                return self.models.renderer(item.renderer)

    def _donor(self, item: Item, keys: DonorKeys) -> Donor:
        photo = load_photo(self.bucket.read(keys.image), name=keys.image)
        mask = load_mask(self.bucket.read(keys.mask), photo, name=keys.mask)
        return Donor(keys.image, item.defect, photo.image, mask, photo.digest)


def failed_record(item: Item, reason: str) -> ItemRecord:
    """The record of a picture that could not be made."""
    return ItemRecord(id=item_id(item), item=item, outcome="failed", reason=reason)


def record_content(record: ItemRecord) -> bytes:
    """A record as it is stored."""
    return (record.model_dump_json(indent=1) + "\n").encode()
