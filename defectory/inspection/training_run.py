"""One run of the training machine: what it is asked for, what it starts from, and whether what it made works.

The jobs themselves run in SageMaker; these are the decisions in between.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from defectory.aws.hosted_model import HostedVersion
from defectory.errors import DefectoryError, InputError, shorten
from defectory.inspection.approved_models import ApprovedModels
from defectory.inspection.gate import GateRules, Judgement, judge, parse_comparison
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
    storage: TrainingStorage,
    hosting: Hosting,
) -> TrainingRun:
    """Check a request and look up what it meets.

    ``prefix`` starts the names of everything that the run creates; ``started`` makes them its own; ``kind`` is what is
    to serve.

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
    GateRules.parse(training_request.gate)
    if training_request.dataset.startswith(training_request.test) or training_request.test.startswith(
        training_request.dataset
    ):
        raise InputError("test", f"apart from the dataset {training_request.dataset}", training_request.test)
    for field_name, place in (("dataset", training_request.dataset), ("test", training_request.test)):
        if not storage.images(place):
            fix = f"Upload normal/ and anomaly/ to s3://{storage.name}/{place}."
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
        dataset=f"s3://{storage.name}/{training_request.dataset}",
        test=f"s3://{storage.name}/{training_request.test}",
        options=options,
        gate=training_request.gate,
        endpoint_exists=current is not None,
        current_config=current.config if current else "",
        current=current.archive if current else "",
    )


def decide(evaluation: str, gate: dict[str, Any], *, name: str, storage: TrainingStorage) -> GateOutcome:
    """Judge a run by the file ``name`` in the archive that its evaluation left at ``evaluation``.

    Raises:
        InputError: there is no evaluation in it.
    """
    comparison = parse_comparison(storage.read_from_archive(evaluation, name))
    judgement: Judgement = judge(comparison, GateRules.parse(gate))
    candidate = comparison.candidate
    reasons = [shorten(reason, REASON_LIMIT) for reason in judgement.reasons[:REASONS]]
    if left_out := len(judgement.reasons) - len(reasons):
        reasons.append(f"... and {left_out} more: see the evaluation.")
    metadata = {
        "model_version": candidate.model_version,
        "test_set": comparison.test_digest,
        "auroc": "" if candidate.auroc is None else f"{candidate.auroc:.6f}",
        "escapes": f"{candidate.escapes} of {candidate.anomalous}",
        "overkill": f"{candidate.overkill} of {candidate.normal}",
        "review": f"{candidate.review} of {candidate.images}",
    }
    return GateOutcome(
        accepted=judgement.accepted,
        reasons=tuple(reasons),
        model_version=candidate.model_version,
        metadata={name: shorten(value, METADATA_LIMIT) for name, value in metadata.items()},
    )


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
        raise DeploymentError("The endpoint's answer is no inspection.") from None
    if answered != model_version:
        raise DeploymentError(f"The endpoint answers with model {answered} instead of {model_version}.")
