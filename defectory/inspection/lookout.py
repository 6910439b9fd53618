"""Amazon Lookout for Vision, for those who called it: the same answers, and a client with the same operations.

The service ended on 2025-10-31.  ``LookoutForVision`` stands in for ``boto3.client("lookoutvision")``; what answers is
``defectory inspect serve`` or a SageMaker endpoint.
"""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any, BinaryIO, Protocol, Self
from urllib.parse import quote, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from defectory.door import TOKEN_VARIABLE, is_loopback
from defectory.errors import DefectoryError, FailureKind, InputError, ServiceError, require_extra, shorten
from defectory.inspection.verdicts import DefectArea, Inspection, InspectionReply, decode_grey
from defectory.vision.images import MEDIA_TYPES, encode_png

API_VERSION = "2020-11-20"
# An endpoint in SageMaker's containers learns of a request little more than its Accept header.
LOOKOUT_MEDIA_TYPE = "application/vnd.lookoutvision+json"
PROJECT_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}")
MODEL_VERSION = re.compile(r"[1-9][0-9]*")
STATUS_OF_ERROR = {
    "ValidationException": 400,
    "ServiceQuotaExceededException": 402,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ConflictException": 409,
    "ThrottlingException": 429,
    "InternalServerException": 500,
}
ANSWER_LIMIT = 25 * 1024 * 1024
_BACKGROUND = "#FFFFFF"
# Endpoint of SageMaker -> model of Lookout for Vision.
_HOSTING = {
    "InService": "HOSTED",
    "Creating": "STARTING_HOSTING",
    "Updating": "HOSTED",
    "SystemUpdating": "HOSTED",
    "RollingBack": "HOSTED",
    "Deleting": "STOPPING_HOSTING",
    "Failed": "HOSTING_FAILED",
}


class LookoutError(DefectoryError):
    """A refused call, with the attribute ``response`` that callers of boto3 look into."""

    code = "InternalServerException"

    def __init__(self, message: str, *, operation: str = "DetectAnomalies") -> None:
        super().__init__(f"An error occurred ({self.code}) when calling the {operation} operation: {message}")
        self.message, self.operation_name = message, operation
        self.response = {
            "Error": {"Code": self.code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": STATUS_OF_ERROR[self.code]},
        }


class ValidationException(LookoutError):
    """The image, the project's name or the model's version is not what it has to be."""

    code = "ValidationException"
    exit_code = 2


class AccessDeniedException(LookoutError):
    """The caller may not invoke the endpoint, or has no token, or a wrong one."""

    code = "AccessDeniedException"


class ResourceNotFoundException(LookoutError):
    """There is no such endpoint."""

    code = "ResourceNotFoundException"


class ConflictException(LookoutError):
    """The model is not ready to answer."""

    code = "ConflictException"
    kind = FailureKind.TRANSIENT


class ServiceQuotaExceededException(LookoutError):
    """A quota of the account is used up."""

    code = "ServiceQuotaExceededException"


class ThrottlingException(LookoutError):
    """Too many calls at once; try again later."""

    code = "ThrottlingException"
    kind = FailureKind.TRANSIENT


class InternalServerException(LookoutError):
    """The endpoint failed."""

    kind = FailureKind.TRANSIENT


_EXCEPTIONS: dict[str, type[LookoutError]] = {
    kind.code: kind
    for kind in (
        ValidationException,
        AccessDeniedException,
        ResourceNotFoundException,
        ConflictException,
        ServiceQuotaExceededException,
        ThrottlingException,
        InternalServerException,
    )
}


def detect_anomalies_answer(inspection: Inspection | InspectionReply) -> dict[str, Any]:
    """``inspection`` in the shape of DetectAnomalies.

    ``IsAnomalous`` is the verdict FAIL, so that REVIEW is a normal part of low confidence.  ``AnomalyMask`` is an RGB
    PNG in base64, white where there is no defect; like ``Anomalies`` it is left out where a reply came without images.
    A reply does not say which region is of which class: where it names several, all of them have the colour of the
    largest.
    """
    result: dict[str, Any] = {
        "Source": {"Type": "direct"},
        "IsAnomalous": inspection.verdict == "FAIL",
        "Confidence": inspection.confidence,
    }
    defects = inspection.defects
    classes = _classes(inspection)
    if classes is not None:
        background = DefectArea(
            name="background",
            area=min(1.0, max(0.0, 1.0 - sum(defect.area for defect in defects))),
            regions=0,
            color=_BACKGROUND,
        )
        result["Anomalies"] = [
            {"Name": area.name, "PixelAnomaly": {"TotalPercentageArea": area.area, "Color": area.color.upper()}}
            for area in (background, *defects)
        ]
        result["AnomalyMask"] = _coloured(classes, defects)
    return {"DetectAnomalyResult": result}


def check_names(project: str, version: str) -> None:
    """Refuse what the service would have refused.

    Raises:
        ValidationException: ``project`` is no project's name or ``version`` no model's version.
    """
    if not PROJECT_NAME.fullmatch(project):
        raise ValidationException(
            f"ProjectName must be 1 to 255 letters, digits, hyphens or underscores, got {project!r}"
        )
    if not MODEL_VERSION.fullmatch(version):
        raise ValidationException(f"ModelVersion must be a number such as 1, got {version!r}")


class _Backend(Protocol):
    """What a client of Lookout for Vision talks to."""

    def detect(self, project: str, version: str, body: bytes, content_type: str) -> bytes: ...

    def hosting(self) -> str: ...


class LookoutForVision:
    """The operations of the service that run a trained model, with the names and shapes they had.

    Give ``endpoint_url`` and ``token`` for ``defectory inspect serve``, which prints both; without ``token``, that of
    the environment variable ``DEFECTORY_SERVE_TOKEN`` is sent.  Or give ``endpoint_name`` for an endpoint of SageMaker:
    there is one a model, so names of projects and versions are only checked and handed back.

        client = LookoutForVision(endpoint_name="defectory-inspection")
        client.detect_anomalies(ProjectName="boards", ModelVersion="1", Body=photo, ContentType="image/jpeg")

    Raises:
        InputError: not exactly one of the two is given.

    >>> from defectory.errors import InputError
    >>> try:
    ...     LookoutForVision()
    ... except InputError as error:
    ...     print(error.field)
    endpoint_url, endpoint_name
    """

    def __init__(
        self,
        *,
        endpoint_url: str = "",
        endpoint_name: str = "",
        token: str = "",
        region_name: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        if bool(endpoint_url) == bool(endpoint_name):
            raise InputError("endpoint_url, endpoint_name", "given one of them", fix="The one says where, by HTTP.")
        if endpoint_url:
            self._backend: _Backend = _Http(endpoint_url, token or os.environ.get(TOKEN_VARIABLE, ""), timeout)
        else:
            self._backend = _SageMaker(endpoint_name, region_name)
        self.exceptions = SimpleNamespace(**_EXCEPTIONS, ClientError=LookoutError)

    def detect_anomalies(
        self, *, ProjectName: str, ModelVersion: str, Body: bytes | bytearray | BinaryIO, ContentType: str
    ) -> dict[str, Any]:
        """Inspect one image.

        Raises:
            LookoutError: by what went wrong one of ``exceptions``.
        """
        check_names(ProjectName, ModelVersion)
        if ContentType not in MEDIA_TYPES:
            raise ValidationException(f"ContentType must be {' or '.join(MEDIA_TYPES)}, got {ContentType!r}")
        body = bytes(Body) if isinstance(Body, bytes | bytearray) else Body.read()
        if not body:
            raise ValidationException("Body must be an image, it is empty")
        content = self._backend.detect(ProjectName, ModelVersion, body, ContentType)
        try:
            reply = json.loads(content)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict):
            # A proxy's page, say.
            raise InternalServerException(f"the answer is no JSON object: {shorten(repr(content[:200]))}")
        return {**reply, "ResponseMetadata": {"HTTPStatusCode": 200}}

    def describe_model(self, *, ProjectName: str, ModelVersion: str) -> dict[str, Any]:
        """Whether the model can answer: ``Status`` as the service named it."""
        check_names(ProjectName, ModelVersion)
        return {"ModelDescription": {"ModelVersion": ModelVersion, "Status": self._backend.hosting()}}

    def start_model(self, *, ProjectName: str, ModelVersion: str, MinInferenceUnits: int = 1) -> dict[str, str]:
        """The model's status; nothing has to be started, and what is idle costs nothing."""
        check_names(ProjectName, ModelVersion)
        return {"Status": self._backend.hosting()}

    def stop_model(self, *, ProjectName: str, ModelVersion: str) -> dict[str, str]:
        """The model's status; a serverless endpoint needs no stopping, and others may be using it."""
        check_names(ProjectName, ModelVersion)
        return {"Status": self._backend.hosting()}

    def close(self) -> None:
        """For the sake of callers who close their clients; there is nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Http:
    """``defectory inspect serve``, or anything that speaks the service's protocol."""

    def __init__(self, url: str, token: str, timeout: float) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError("endpoint_url", "an address that starts with http:// or https://", url)
        self._url, self._timeout = url.rstrip("/"), timeout
        self._headers = {"Authorization": f"Bearer {token.strip()}"} if token.strip() else {}
        # What is on this machine no proxy reaches.
        proxies = [urllib.request.ProxyHandler({})] if is_loopback(urlsplit(url).hostname or "") else []
        self._opener = urllib.request.build_opener(_NoRedirect, *proxies)

    def detect(self, project: str, version: str, body: bytes, content_type: str) -> bytes:
        path = f"/{API_VERSION}/projects/{quote(project, safe='')}/models/{quote(version, safe='')}/detect"
        headers = {**self._headers, "Content-Type": content_type, "Accept": "application/json"}
        return self._call(urllib.request.Request(self._url + path, body, headers, method="POST"))

    def hosting(self) -> str:
        try:
            self._call(urllib.request.Request(f"{self._url}/ping"))
        except ConflictException:
            return "STARTING_HOSTING"
        return "HOSTED"

    def _call(self, request: urllib.request.Request) -> bytes:
        try:
            with self._opener.open(request, timeout=self._timeout) as reply:
                content: bytes = reply.read(ANSWER_LIMIT + 1)
        except urllib.error.HTTPError as error:
            kind = _EXCEPTIONS.get(error.headers.get("x-amzn-ErrorType", ""))
            kind = kind or (ConflictException if error.code == 503 else InternalServerException)
            raise kind(_message(error.read(ANSWER_LIMIT)) or str(error)) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise InternalServerException(f"{self._url} does not answer ({error}). Is the server running?") from error
        if len(content) > ANSWER_LIMIT:
            raise InternalServerException(f"the answer is longer than {ANSWER_LIMIT:,} bytes")
        return content


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Hands the token to nobody else."""

    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401
        return None


class _SageMaker:
    """An endpoint of SageMaker that serves one model."""

    def __init__(self, name: str, region: str | None) -> None:
        require_extra("aws")
        self._name, self._region = name, region

    def detect(self, project: str, version: str, body: bytes, content_type: str) -> bytes:
        from defectory.aws.hosted_model import invoke

        try:
            return invoke(self._name, body, content_type=content_type, accept=LOOKOUT_MEDIA_TYPE, region=self._region)
        except ServiceError as error:
            raise _exception_of(error) from error

    def hosting(self) -> str:
        from defectory.aws.hosted_model import endpoint_status

        try:
            return _HOSTING.get(endpoint_status(self._name, region=self._region), "HOSTING_FAILED")
        except ServiceError as error:
            raise _exception_of(error) from error


def _exception_of(error: ServiceError) -> LookoutError:
    return _EXCEPTION_OF_FAULT.get(getattr(error, "fault", ""), InternalServerException)(str(error))


# By the name of the endpoint's fault (`defectory.aws.failures`), which the containers have not.
_EXCEPTION_OF_FAULT: dict[str, type[LookoutError]] = {
    "missing": ResourceNotFoundException,
    "forbidden": AccessDeniedException,
    "invalid": ValidationException,
    "model_refused": ValidationException,
    "throttled": ThrottlingException,
    "not_ready": ConflictException,
}


def _message(content: bytes) -> str:
    try:
        reply = json.loads(content)
    except ValueError:
        return ""
    if not isinstance(reply, dict):
        return ""
    error = reply.get("error")
    return str(reply.get("Message") or (error.get("message") if isinstance(error, dict) else "") or "")


def _classes(inspection: Inspection | InspectionReply) -> NDArray[np.uint8] | None:
    """Which defect each pixel shows, 0 = none, n = ``defects[n - 1]``; None where nothing tells."""
    if isinstance(inspection, Inspection):
        return inspection.classes
    if not inspection.mask:
        return None
    mask = decode_grey(inspection.mask) > 0
    areas = [defect.area for defect in inspection.defects]
    largest = 1 + int(np.argmax(areas)) if areas else 0
    return np.where(mask, largest, 0).astype(np.uint8)


def _coloured(classes: NDArray[np.uint8], defects: tuple[DefectArea, ...]) -> str:
    colours = [ImageColor.getrgb(colour) for colour in (_BACKGROUND, *(defect.color for defect in defects))]
    return base64.b64encode(encode_png(np.array(colours, np.uint8)[classes], effort=1)).decode()
