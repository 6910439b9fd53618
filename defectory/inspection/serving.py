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
import os
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from defectory.door import TOKEN_VARIABLE, GuardedHandler, GuardedServer, Refused, check_bearer
from defectory.errors import DefectoryError, ImageError, InputError
from defectory.inspection.lookout import (
    API_VERSION,
    CONTENT_TYPES,
    LOOKOUT_MEDIA_TYPE,
    STATUS_OF_ERROR,
    AccessDeniedException,
    LookoutError,
    ValidationException,
    check_names,
    detect_anomalies_answer,
)
from defectory.inspection.verdicts import ImageInspector, InspectionReply
from defectory.vision.images import load_image

logger = logging.getLogger(__name__)

# What SageMaker's real-time endpoints take; serverless ones take 4 MB.
LARGEST_BODY = 25 * 1024 * 1024
IDLE_SECONDS = 60.0
CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


class RequestError(DefectoryError):
    """A request that is refused before the model sees it."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


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
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        model: ImageInspector | None = None,
        *,
        token: str | None,
        names: Iterable[str] | None = (),
    ) -> None:
        self.model = model
        self.token = token
        self.failure: Exception | None = None
        # More at once would only slow each other down: one inspection keeps one core busy.
        self.working = threading.BoundedSemaphore(os.cpu_count() or 1)
        try:
            super().__init__((host, port), _Handler, names=names)
        except (OSError, OverflowError) as error:
            fix = "Choose another with --port, or 0 for a free one."
            raise InputError("host, port", f"an address that is free ({error})", f"{host}:{port}", fix) from error

    @property
    def url(self) -> str:
        """Where it is reached."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

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


class _Handler(GuardedHandler):
    server: InspectionServer
    server_version = "defectory"
    sys_version = ""
    timeout = IDLE_SECONDS

    def admit(self) -> None:
        super().admit()
        if self.server.token is not None and (self.command, self.path) != ("GET", "/ping"):
            check_bearer(self.headers.items(), self.server.token)

    def refuse(self, refusal: Refused) -> None:
        if refusal.status == HTTPStatus.UNAUTHORIZED:
            message = f"{refusal} The token is what 'defectory inspect serve' printed or was given ({TOKEN_VARIABLE})."
            # Both shapes of an error: who calls is not known, nor what they expect.
            content = {"error": {"code": refusal.code, "message": message}, "Message": message}
            headers = {"WWW-Authenticate": "Bearer", "x-amzn-ErrorType": AccessDeniedException.code}
            self.answer(refusal.status, _json(content), headers.items())
        elif self._asks_as_lookout:
            kind = AccessDeniedException if refusal.status == HTTPStatus.FORBIDDEN else ValidationException
            self._refuse_detection(kind.code, str(refusal))
        else:
            super().refuse(refusal)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/ping" and self.server.model is None:
            self._refuse(_loading())
        elif path == "/ping":
            self.answer(HTTPStatus.OK, b"{}")
        else:
            self._refuse(_unknown(path))

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        try:
            body = self.body(LARGEST_BODY)
            if path == "/invocations":
                self._answer_invocation(body)
            elif self._asks_as_lookout:
                self._answer_detection(path, body)
            else:
                raise _unknown(path)
        except RequestError as error:
            self._refuse(error)
        except Refused as refusal:
            self.part(refusal)

    @property
    def _asks_as_lookout(self) -> bool:
        return self.path.startswith(f"/{API_VERSION}/projects/")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401
        logger.info("%s %s", self.address_string(), format % args)

    def _answer_invocation(self, body: bytes) -> None:
        self._check_content_type()
        lookout = self._wants_lookout()
        try:
            self.answer(HTTPStatus.OK, self._inspect(body, lookout=lookout))
        except ImageError as error:
            raise RequestError(HTTPStatus.BAD_REQUEST, error.code, str(error)) from error

    def _answer_detection(self, path: str, body: bytes) -> None:
        """Lookout for Vision's own route, refusals included."""
        try:
            match [unquote(part) for part in path.split("/")]:
                case [_, _, "projects", project, "models", version, "detect"]:
                    check_names(project, version)
                case _:
                    raise _unknown(path)
            self._check_content_type()
            self.answer(HTTPStatus.OK, self._inspect(body, lookout=True))
        except LookoutError as error:
            self._refuse_detection(error.code, error.message)
        except ImageError as error:
            self._refuse_detection(ValidationException.code, str(error))
        except RequestError as error:
            self._refuse_detection(_LOOKOUT_CODES.get(error.status, "InternalServerException"), str(error))

    def _inspect(self, body: bytes, *, lookout: bool) -> bytes:
        model = self.server.model
        if model is None:
            raise _loading()
        try:
            with self.server.working:
                return answer_invocation(model, body, lookout=lookout)
        except ImageError:
            raise
        except Exception as error:
            logger.exception("The model failed")
            message = f"The model failed: {type(error).__name__}. The server's log says more."
            raise RequestError(HTTPStatus.INTERNAL_SERVER_ERROR, "ModelFailed", message) from error

    def _check_content_type(self) -> None:
        kind = self.headers.get_content_type()
        if kind not in CONTENT_TYPES:
            message = f"Content-Type must be {' or '.join(CONTENT_TYPES)}, got {kind!r}."
            raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)

    def _wants_lookout(self) -> bool:
        formats = parse_qs(urlsplit(self.path).query).get("format", [])
        formats += parse_qs(self.headers.get(CUSTOM_ATTRIBUTES, "").replace(",", "&")).get("format", [])
        for name in formats:
            if name not in ("lookout", "inspection"):
                message = f"format must be lookout or inspection, got {name!r}."
                raise RequestError(HTTPStatus.BAD_REQUEST, "UnknownFormat", message)
        return "lookout" in formats or LOOKOUT_MEDIA_TYPE in self.headers.get("Accept", "")

    def _refuse(self, error: RequestError) -> None:
        self.answer(error.status, _json({"error": {"code": error.code, "message": str(error)}}))

    def _refuse_detection(self, code: str, message: str) -> None:
        self.answer(STATUS_OF_ERROR[code], _json({"Message": message}), {"x-amzn-ErrorType": code}.items())


_LOOKOUT_CODES = {
    HTTPStatus.NOT_FOUND: "ResourceNotFoundException",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "ValidationException",
    HTTPStatus.SERVICE_UNAVAILABLE: "ConflictException",
}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _loading() -> RequestError:
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "Loading", "The model is being loaded. Try again in a moment.")


def _unknown(path: str) -> RequestError:
    routes = f"GET /ping, POST /invocations and POST /{API_VERSION}/projects/<project>/models/<version>/detect"
    return RequestError(HTTPStatus.NOT_FOUND, "NotFound", f"There is no {path}; there are {routes}.")
