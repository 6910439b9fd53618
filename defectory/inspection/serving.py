"""Serving a model by HTTP: the contract of SageMaker's containers, and Lookout for Vision's route beside it.

    GET  /ping                                                      200 once the model is loaded, 503 before
    POST /invocations                                               image -> InspectionReply as JSON
    POST /2020-11-20/projects/<project>/models/<version>/detect     image -> DetectAnomalies' answer

``/invocations`` answers in Lookout for Vision's shape as well: with ``?format=lookout``, the custom attribute
``format=lookout`` or the Accept header of ``LOOKOUT_MEDIA_TYPE``.

Images are inspected for those who send ``Authorization: Bearer TOKEN``; anybody may ask ``/ping``, except web pages of
other servers (see ``defectory.door``).
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qs, unquote

from defectory.door import TOKEN_VARIABLE, Refused, check_bearer
from defectory.errors import ImageError, InputError, require_extra

require_extra("serve")

from defectory.door.server import Answer, GuardedServer, Head, Limits, Work, available_cores  # noqa: E402
from defectory.inspection.lookout import (  # noqa: E402
    API_VERSION,
    CONTENT_TYPES,
    LOOKOUT_MEDIA_TYPE,
    STATUS_OF_ERROR,
    LookoutError,
    check_names,
    detect_anomalies_answer,
)
from defectory.inspection.verdicts import ImageInspector, InspectionReply  # noqa: E402
from defectory.vision.images import load_image  # noqa: E402

logger = logging.getLogger(__name__)

# What SageMaker's real-time endpoints take; serverless ones take 4 MB.
LIMITS = Limits(body_bytes=25 * 1024 * 1024)
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


class InspectionServer(GuardedServer):
    """An HTTP server of one model; without one it answers 503 until ``load`` has brought it.

    Args:
        token: what callers have to send; None asks for none, where somebody else in front has authenticated them.
        names: host names that may lead here beside addresses and localhost; None for any.

    Raises:
        InputError: the address cannot be listened on.
        MissingExtraError: the extra ``serve`` is not installed.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        model: ImageInspector | None = None,
        *,
        token: str | None,
        names: Iterable[str] | None = (),
        limits: Limits = LIMITS,
    ) -> None:
        self.model = model
        self.token = token
        self.failure: Exception | None = None
        try:
            # More threads would only slow each other down: one inspection keeps one core busy.
            super().__init__(host, port, limits, names=names, threads=available_cores())
        except (OSError, OverflowError) as error:
            fix = "Choose another with --port, or 0 for a free one."
            raise InputError("host, port", f"an address that is free ({error})", f"{host}:{port}", fix) from error

    def load(self, load_model: Callable[[], ImageInspector]) -> threading.Thread:
        """Load the model on a thread; should that fail, the server stops and ``failure`` says why."""

        def load() -> None:
            try:
                self.model = load_model()
            except Exception as error:
                self.failure = error
                self.shutdown()

        thread = threading.Thread(target=load, name="load-model", daemon=True)
        thread.start()
        return thread

    def route(self, head: Head) -> Answer | Work:
        """Inspection of an image, or health."""
        is_ping = head.path == "/ping"
        if self.token is not None and not (is_ping and head.method in ("GET", "HEAD")):
            check_bearer(head.headers, self.token)
        is_detection = head.path.startswith(_DETECTIONS)
        if is_detection:
            _check_detection(head.path)
        elif not is_ping and head.path != "/invocations":
            raise _unknown(head.path)
        _check_method(head, ("GET", "HEAD") if is_ping else ("POST",))
        if is_ping:
            return Answer(HTTPStatus.OK, b"{}") if self.model is not None else self.refusal(_loading(), head)
        _check_content_type(head)
        lookout = is_detection or _wants_lookout(head)
        if self.model is None:
            raise _loading()
        return partial(_inspect, self.model, lookout)

    def refusal(self, refused: Refused, head: Head | None) -> Answer:
        """In the shape that the caller expects: Lookout for Vision's on its route, both for who is unknown."""
        message, headers = str(refused), dict(refused.headers)
        content: dict[str, object] = {"error": {"code": refused.code, "message": message}}
        if refused.status == HTTPStatus.UNAUTHORIZED:
            message = f"{message} The token is what 'defectory inspect serve' printed or was given ({TOKEN_VARIABLE})."
            content = {"error": {"code": refused.code, "message": message}, "Message": message}
            headers |= {"WWW-Authenticate": "Bearer", "x-amzn-ErrorType": _lookout_code(refused)}
        elif head is not None and head.path.startswith(_DETECTIONS):
            code = _lookout_code(refused)
            return Answer(STATUS_OF_ERROR[code], _json({"Message": message}), {**headers, "x-amzn-ErrorType": code})
        return Answer(refused.status, _json(content), headers)


def serve(
    model: ImageInspector,
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    token: str,
    names: Iterable[str] = (),
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve ``model`` until interrupted; ``ready`` hears the address, which tells the port where 0 asked for any.

    Args:
        token: what callers have to send, see ``defectory.door.new_secret``.
        names: host names that may lead here beside addresses and localhost.

    Raises:
        InputError: the address cannot be listened on.
    """
    with InspectionServer(host, port, model, token=token, names=names) as server:
        ready(server.url)
        server.serve_forever()


def _inspect(model: ImageInspector, lookout: bool, body: bytes) -> Answer:
    try:
        return Answer(HTTPStatus.OK, answer_invocation(model, body, lookout=lookout))
    except ImageError as error:
        raise Refused(str(error), status=HTTPStatus.BAD_REQUEST, code=error.code) from error
    except Exception as error:
        logger.exception("The model failed")
        message = f"The model failed: {type(error).__name__}. The server's log says more."
        raise Refused(message, status=HTTPStatus.INTERNAL_SERVER_ERROR, code="ModelFailed") from error


def _check_detection(path: str) -> None:
    match [unquote(part) for part in path.split("/")]:
        case [_, _, "projects", project, "models", version, "detect"]:
            try:
                check_names(project, version)
            except LookoutError as error:
                raise Refused(error.message, status=HTTPStatus.BAD_REQUEST, code=error.code) from error
        case _:
            raise _unknown(path)


def _check_method(head: Head, allowed: tuple[str, ...]) -> None:
    if head.method not in allowed:
        names = " or ".join(allowed)
        message = f"{head.path} takes {names}, got {head.method[:20]}. Send it so."
        allow = {"Allow": ", ".join(allowed)}
        raise Refused(message, status=HTTPStatus.METHOD_NOT_ALLOWED, code="MethodNotAllowed", headers=allow)


def _check_content_type(head: Head) -> None:
    kind = head.header("content-type").partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        message = f"Content-Type must be {' or '.join(CONTENT_TYPES)}, got {kind[:60]!r}."
        raise Refused(message, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE, code="UnsupportedMediaType")


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


def _loading() -> Refused:
    message = "The model is being loaded. Try again in a moment."
    return Refused(message, status=HTTPStatus.SERVICE_UNAVAILABLE, code="Loading", headers={"Retry-After": "1"})


def _unknown(path: str) -> Refused:
    routes = f"GET /ping, POST /invocations and POST {_DETECTIONS}<project>/models/<version>/detect"
    return Refused(f"There is no {path[:200]}; there are {routes}.", status=HTTPStatus.NOT_FOUND, code="NotFound")
