"""One run of the training machine: what it is asked for, what it starts from, and whether what it made works.

The jobs themselves run in SageMaker; these are the decisions in between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from defectory.aws.hosted_model import HostedVersion
from defectory.errors import DefectoryError, InputError, shorten
from defectory.inspection.approved_models import ApprovedModels
from defectory.inspection.gate import GateRules, Judgement, ModelComparison, judge, read_comparison
from defectory.line.payload import fit_payload
from defectory.validation import FrozenModel
from defectory.vision.images import load_image

EndpointKind = Literal["serverless", "realtime", "lambda"]

_PREFIX = r"^([A-Za-z0-9!_.*'() =+-]+/)+$"
_IMAGES = (".png", ".jpg", ".jpeg")
_PREFIX_LIMIT = 1000
# What SageMaker takes: the value of a hyperparameter, and one of a model package's metadata.
OPTIONS_LIMIT, METADATA_LIMIT = 2500, 256
# What is said of a run goes through the state machine, with at most 256 kB, and into a mail.
REASONS, REASON_LIMIT = 30, 500


class DeploymentError(DefectoryError):
    """The endpoint does not answer as the new model has to."""

    code = "DeploymentFailed"


class TrainingRequest(FrozenModel):
    """The input of the machine: prefixes in the training bucket, and options."""

    dataset: str = Field(
        pattern=_PREFIX,
        max_length=_PREFIX_LIMIT,
        description="a prefix in the training bucket, such as datasets/boards/",
    )
    test: str = Field(
        default="test/",
        pattern=_PREFIX,
        max_length=_PREFIX_LIMIT,
        description="the prefix of the frozen test set, such as test/",
    )
    options: dict[str, Any] = Field(default={}, description="training options, an object")
    gate: dict[str, Any] = Field(default={}, description="rules of the gate, an object")


class TrainingRun(BaseModel):
    """What the jobs of one run are given.  ``current`` is the archive of the model in service, "" for none."""

    model_config = ConfigDict(frozen=True)

    name: str
    dataset: str
    test: str
    options: str
    gate: dict[str, Any]
    endpoint_exists: bool
    current: str = ""
    current_config: str = ""


class GateOutcome(BaseModel):
    """The gate's word on a run, with what the registry keeps."""

    model_config = ConfigDict(frozen=True)

    accepted: bool
    reasons: tuple[str, ...]
    model_version: str
    metadata: dict[str, str]

    @classmethod
    def of(cls, judgement: Judgement, model_version: str, metadata: Mapping[str, str]) -> GateOutcome:
        """What is passed on of ``judgement``: as much as a state machine, a mail and the registry take."""
        reasons = [shorten(reason, REASON_LIMIT) for reason in judgement.reasons[:REASONS]]
        if left_out := len(judgement.reasons) - len(reasons):
            reasons.append(f"... and {left_out} more: see the evaluation.")
        return cls(
            accepted=judgement.accepted,
            reasons=tuple(reasons),
            model_version=model_version,
            metadata={
                name: shorten(value, METADATA_LIMIT)
                for name, value in {"model_version": model_version, **metadata}.items()
            },
        )


@dataclass(frozen=True, slots=True)
class TrainedKind:
    """In what training differs from one kind of model to another.

    Attributes:
        upload: what a dataset consists of.
        check_rules: raises ``InputError`` for rules of the gate that there are not.
        decide: the gate's word on the content of an evaluation, by its rules.
    """

    upload: str
    check_rules: Callable[[object], object]
    decide: Callable[[bytes, Mapping[str, Any]], GateOutcome]


class TrainingStorage(Protocol):
    """The training bucket."""

    name: str

    def images(self, prefix: str) -> list[str]:
        """Keys of the files under ``prefix``, sorted."""
        ...

    def read(self, key: str) -> bytes:
        """An object's content."""
        ...

    def read_from_archive(self, uri: str, name: str) -> bytes:
        """The file ``name`` in the archive at ``uri``."""
        ...


class Hosting(Protocol):
    """What serves, as those see it who are about to put another model in its place."""

    def current(self) -> HostedVersion | None:
        """The model in service; None while there is none."""
        ...


class Answering(Protocol):
    """What answers to images."""

    def ask(self, image: bytes, content_type: str) -> bytes:
        """The answer to an image."""
        ...


class FunctionHosting:
    """A function that serves the model which the training bucket names."""

    def __init__(self, approved: ApprovedModels) -> None:
        self._approved = approved

    def current(self) -> HostedVersion | None:
        """The model in service; None while there is none."""
        model = self._approved.current()
        return HostedVersion(model.run, model.archive, "lambda") if model else None


def prepare(
    request: dict[str, Any],
    started: datetime,
    *,
    prefix: str,
    kind: EndpointKind,
    trained: TrainedKind,
    datasets: TrainingStorage,
    storage: TrainingStorage,
    hosting: Hosting,
) -> TrainingRun:
    """Check a request and look up what it meets.

    ``prefix`` starts the names of everything that the run creates; ``started`` makes them its own; ``kind`` is what is
    to serve.  ``datasets`` has the dataset, ``storage`` the test set; both may be the same.

    Raises:
        InputError: the request is wrong, a prefix has no images, or the endpoint cannot become of that kind.
        ServiceError: the bucket or the endpoint cannot be looked at.
    """
    try:
        training_request = TrainingRequest.model_validate(request)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "request"
        field = TrainingRequest.model_fields.get(name)
        rule = str(field.description) if field else f"left out; known are {', '.join(TrainingRequest.model_fields)}"
        raise InputError(name, rule, None if first["type"] == "missing" else first["input"]) from None
    trained.check_rules(training_request.gate)
    places = (training_request.dataset, training_request.test)
    if datasets.name == storage.name and any(one.startswith(other) for one, other in (places, places[::-1])):
        raise InputError("test", f"apart from the dataset {training_request.dataset}", training_request.test)
    for field_name, bucket, place in zip(("dataset", "test"), (datasets, storage), places, strict=True):
        if not bucket.images(place):
            fix = f"Upload {trained.upload} to s3://{bucket.name}/{place}."
            raise InputError(field_name, "a prefix with files", place, fix)
    options = json.dumps(training_request.options)
    if len(options) > OPTIONS_LIMIT:
        raise InputError("options", f"at most {OPTIONS_LIMIT} characters of JSON", f"{len(options)} characters")
    current = hosting.current()
    if current and current.kind == "realtime" and kind == "serverless":
        # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html: SageMaker converts one way only.
        fix = (
            f"SageMaker cannot make {prefix} serverless. Delete it (aws sagemaker delete-endpoint --endpoint-name "
            f"{prefix}) and start again, or deploy with inspection_endpoint=realtime."
        )
        raise InputError("inspection_endpoint", "realtime while the endpoint is real-time", kind, fix)
    return TrainingRun(
        name=f"{prefix}-{started:%Y%m%dT%H%M%S}{started.microsecond // 1000:03d}",
        dataset=f"s3://{datasets.name}/{training_request.dataset}",
        test=f"s3://{storage.name}/{training_request.test}",
        options=options,
        gate=training_request.gate,
        endpoint_exists=current is not None,
        current_config=current.config if current else "",
        current=current.archive if current else "",
    )


def decide(content: bytes, gate: Mapping[str, Any]) -> GateOutcome:
    """What the gate says of the comparison in ``content``, by the rules in ``gate``.

    Raises:
        InputError: it is no comparison.
    """
    comparison = read_comparison(ModelComparison, content)
    candidate = comparison.candidate
    metadata = {
        "test_set": comparison.test_digest,
        "auroc": "" if candidate.auroc is None else f"{candidate.auroc:.6f}",
        "escapes": f"{candidate.escapes} of {candidate.anomalous}",
        "overkill": f"{candidate.overkill} of {candidate.normal}",
        "review": f"{candidate.review} of {candidate.images}",
    }
    return GateOutcome.of(judge(comparison, GateRules.parse(gate)), candidate.model_version, metadata)


INSPECTION = TrainedKind(
    upload="normal/ and anomaly/",
    check_rules=GateRules.parse,
    decide=decide,
)
"""Models of inspection, as their training machine sees them."""


def verify(test: str, model_version: str, *, storage: TrainingStorage, hosting: Answering) -> None:
    """Make sure that the endpoint answers to an image of the test set, and with the new model.  The image goes there
    as an upload would: made smaller if it has to be.

    Raises:
        DeploymentError: it does not.
        InputError: there is no image, or none that can be read.
        ServiceError: it does not answer at all.
    """
    prefix = test.removeprefix(f"s3://{storage.name}/")
    key = next((key for key in storage.images(prefix) if key.lower().endswith(_IMAGES)), None)
    if key is None:
        raise InputError("test", "a prefix with .png or .jpg images", test)
    original = storage.read(key)
    payload = fit_payload(original, load_image(original, name=key))
    content = hosting.ask(payload.content, payload.content_type)
    try:
        answered = json.loads(content)["model_version"]
    except (ValueError, TypeError, KeyError):
        raise DeploymentError("The endpoint's answer has no model_version.") from None
    if answered != model_version:
        raise DeploymentError(f"The endpoint answers with model {answered} instead of {model_version}.")
