"""Serving a model by HTTP: the contract of SageMaker's containers, and Lookout for Vision's route beside it.

    GET  /ping                                                      200 once the model is loaded, 503 before
    POST /invocations                                               image -> InspectionReply as JSON; JSON lines
                                                                    of images -> a line for each
    GET  /execution-parameters                                      how a transform job of SageMaker is to ask
    POST /2020-11-20/projects/<project>/models/<version>/detect     image -> DetectAnomalies' answer

``/invocations`` answers in Lookout for Vision's shape as well: with ``?format=lookout``, the custom attribute
``format=lookout`` or the Accept header of ``LOOKOUT_MEDIA_TYPE``.

Images are inspected for those who send ``Authorization: Bearer TOKEN``; anybody may ask ``/ping``, except web pages of
other servers (see ``defectory.door``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qs, unquote

from defectory.door import Refused
from defectory.errors import require_extra

require_extra("serve")

from defectory.door.models import ROUTES, ModelServer, no_such_path  # noqa: E402
from defectory.door.server import Answer, Head  # noqa: E402
from defectory.inspection.lookout import (  # noqa: E402
    API_VERSION,
    LOOKOUT_MEDIA_TYPE,
    STATUS_OF_ERROR,
    LookoutError,
    check_names,
    detect_anomalies_answer,
)
from defectory.inspection.verdicts import ImageInspector, InspectionReply  # noqa: E402
from defectory.vision.images import load_image  # noqa: E402

CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_DETECTIONS = f"/{API_VERSION}/projects/"


def answer_invocation(model: ImageInspector, body: bytes, *, lookout: bool = False) -> bytes:
    """What ``/invocations`` answers to an image: JSON, in Lookout for Vision's shape where ``lookout`` says so.

    Raises:
        ImageError: ``body`` is no image that can be inspected.
    """
    inspection = model.inspect(load_image(body, name="request body"))
    if lookout:
        return json.dumps(detect_anomalies_answer(inspection)).encode()
    return InspectionReply.of(inspection).model_dump_json().encode()


class InspectionServer(ModelServer[ImageInspector]):
    """An HTTP server of one model of inspection; the arguments are those of ``ModelServer``."""

    command = "inspect serve"

    def check_path(self, path: str) -> None:
        """Lookout for Vision's route is there besides."""
        if path.startswith(_DETECTIONS):
            _check_detection(path)
        elif path != "/invocations":
            raise _unknown(path)

    def answering(self, head: Head) -> Callable[[ImageInspector, bytes], bytes]:
        """In Lookout for Vision's shape on its route, and where it is asked for."""
        return partial(answer_invocation, lookout=head.path.startswith(_DETECTIONS) or _wants_lookout(head))

    def refusal(self, refused: Refused, head: Head | None) -> Answer:
        """In the shape that the caller expects: Lookout for Vision's on its route, both for who is unknown."""
        answer = super().refusal(refused, head)
        code = _lookout_code(refused)
        headers = {**answer.headers, "x-amzn-ErrorType": code}
        if refused.status == HTTPStatus.UNAUTHORIZED:
            content = json.loads(answer.content)
            return Answer(answer.status, _json({**content, "Message": content["error"]["message"]}), headers)
        if head is not None and head.path.startswith(_DETECTIONS):
            return Answer(STATUS_OF_ERROR[code], _json({"Message": str(refused)}), headers)
        return answer


def _check_detection(path: str) -> None:
    match [unquote(part) for part in path.split("/")]:
        case [_, _, "projects", project, "models", version, "detect"]:
            try:
                check_names(project, version)
            except LookoutError as error:
                raise Refused(error.message, status=HTTPStatus.BAD_REQUEST, code=error.code) from error
        case _:
            raise _unknown(path)


def _wants_lookout(head: Head) -> bool:
    formats = parse_qs(head.query).get("format", [])
    formats += parse_qs(head.header(CUSTOM_ATTRIBUTES).replace(",", "&")).get("format", [])
    for name in formats:
        if name not in ("lookout", "inspection"):
            message = f"format must be lookout or inspection, got {name[:60]!r}."
            raise Refused(message, status=HTTPStatus.BAD_REQUEST, code="UnknownFormat")
    return "lookout" in formats or LOOKOUT_MEDIA_TYPE in head.header("accept")


def _lookout_code(refused: Refused) -> str:
    if refused.code in _LOOKOUT_CODES:
        return _LOOKOUT_CODES[refused.code]
    return "InternalServerException" if refused.status >= 500 else "ValidationException"


_LOOKOUT_CODES = {
    "Unauthorized": "AccessDeniedException",
    "Forbidden": "AccessDeniedException",
    "NotFound": "ResourceNotFoundException",
    "Loading": "ConflictException",
    "Busy": "ThrottlingException",
}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _unknown(path: str) -> Refused:
    return no_such_path(path, f"{ROUTES} and POST {_DETECTIONS}<project>/models/<version>/detect")
