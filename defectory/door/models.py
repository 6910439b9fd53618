"""A model behind the door: images in, JSON out, by the contract of SageMaker's containers.

    GET  /ping                  200 once the model is loaded, 503 before
    POST /invocations           image -> what the model says of it, as JSON; JSON lines of images -> a line for each
    GET  /execution-parameters  how a transform job of SageMaker is to ask

Images are taken from those who send ``Authorization: Bearer TOKEN``; anybody may ask ``/ping``, except web pages of
other servers (see ``defectory.door``).
"""

from __future__ import annotations

import json
import logging
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import ClassVar, Generic, TypeVar

from defectory.door import TOKEN_VARIABLE, Refused, check_bearer
from defectory.door.lines import JSON_LINES, answer_lines
from defectory.door.server import Answer, GuardedServer, Head, Limits, Work, available_cores
from defectory.errors import ImageError, InputError
from defectory.vision.images import MEDIA_TYPES

logger = logging.getLogger(__name__)

Model = TypeVar("Model")

INVOCATIONS = "/invocations"
ROUTES = "GET /ping, GET /execution-parameters, POST /invocations"
# An image of 4 MB in base64; SageMaker takes 100 MB in all, and asks a container this within two seconds of its start.
_PAYLOAD_MB, _MOST_TOGETHER_MB = 6, 100
# What SageMaker's real-time endpoints take; serverless ones take 4 MB.
LIMITS = Limits(body_bytes=25 * 1024 * 1024)


class ModelServer(GuardedServer, Generic[Model]):
    """An HTTP server of one model; without one it answers 503 until ``load`` has brought it.

    Subclasses say what is answered, by ``answering``, and which command starts them, by ``command``; they may take
    other ``media_types`` and have other ``default_limits``.

    Args:
        token: what callers have to send; None asks for none, where somebody else in front has authenticated them.
        names: host names that may lead here beside addresses and localhost; None for any.

    Raises:
        InputError: the address cannot be listened on.
    """

    command: ClassVar[str]
    media_types: ClassVar[tuple[str, ...]] = MEDIA_TYPES
    default_limits: ClassVar[Limits] = LIMITS

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        model: Model | None = None,
        *,
        token: str | None,
        names: Iterable[str] | None = (),
        limits: Limits | None = None,
    ) -> None:
        self.model = model
        self.token = token
        self.failure: Exception | None = None
        try:
            # More threads would only slow each other down: one image keeps one core busy.
            super().__init__(host, port, limits or self.default_limits, names=names, threads=available_cores())
        except (OSError, OverflowError) as error:
            fix = "Choose another with --port, or 0 for a free one."
            raise InputError("host, port", f"an address that is free ({error})", f"{host}:{port}", fix) from error

    @abstractmethod
    def answering(self, head: Head) -> Callable[[Model, bytes], bytes]:
        """What makes the answer, JSON, of the model and an image's bytes; may raise ``ImageError``.

        Raises:
            Refused: the request asks for what there is not.
        """

    def check_path(self, path: str) -> None:
        """Raise ``Refused`` if ``path`` takes no images."""
        if path != INVOCATIONS:
            raise no_such_path(path, ROUTES)

    def load(self, load_model: Callable[[], Model]) -> threading.Thread:
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

    @classmethod
    def serve(
        cls,
        model: Model,
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
        with cls(host, port, model, token=token, names=names) as server:
            ready(server.url)
            server.serve_forever()

    def route(self, head: Head) -> Answer | Work:
        """What the model says of an image, or health."""
        is_ping = head.path == "/ping"
        if self.token is not None and not (is_ping and head.method in ("GET", "HEAD")):
            check_bearer(head.headers, self.token)
        if is_ping:
            _check_method(head, ("GET", "HEAD"))
            return Answer(HTTPStatus.OK, b"{}") if self.model is not None else self.refusal(_loading(), head)
        if head.path == "/execution-parameters":
            _check_method(head, ("GET", "HEAD"))
            return Answer(HTTPStatus.OK, json.dumps(self.execution_parameters()).encode())
        self.check_path(head.path)
        _check_method(head, ("POST",))
        kind = _check_content_type(head, self.media_types)
        answer = self.answering(head)
        if self.model is None:
            raise _loading()
        ask = partial(answer, self.model)
        # Lines of images, unless the model takes lines of its own.
        if kind == JSON_LINES and kind not in self.media_types:
            return lambda body: Answer(HTTPStatus.OK, answer_lines(body, ask), {"Content-Type": JSON_LINES})
        return partial(_ask, ask)

    def execution_parameters(self) -> dict[str, object]:
        """How a transform job is to ask: an image at a time, as many at once as there are cores."""
        concurrency = min(available_cores(), _MOST_TOGETHER_MB // _PAYLOAD_MB)
        return {
            "MaxConcurrentTransforms": concurrency,
            "BatchStrategy": "SINGLE_RECORD",
            "MaxPayloadInMB": _PAYLOAD_MB,
        }

    def refusal(self, refused: Refused, head: Head | None) -> Answer:
        """As any server's; who sent no token is told where it is."""
        if refused.status != HTTPStatus.UNAUTHORIZED:
            return super().refusal(refused, head)
        message = f"{refused} The token is what 'defectory {self.command}' printed or was given ({TOKEN_VARIABLE})."
        answer = super().refusal(Refused(message, status=refused.status, code=refused.code), head)
        return replace(answer, headers={**refused.headers, "WWW-Authenticate": "Bearer"})


def no_such_path(path: str, routes: str) -> Refused:
    """The refusal of a path that is none of ``routes``."""
    return Refused(f"There is no {path[:200]}; there are {routes}.", status=HTTPStatus.NOT_FOUND, code="NotFound")


def _ask(answer: Callable[[bytes], bytes], body: bytes) -> Answer:
    try:
        return Answer(HTTPStatus.OK, answer(body))
    except ImageError as error:
        raise Refused(str(error), status=HTTPStatus.BAD_REQUEST, code=error.code) from error
    except Exception as error:
        logger.exception("The model failed")
        message = f"The model failed: {type(error).__name__}. The server's log says more."
        raise Refused(message, status=HTTPStatus.INTERNAL_SERVER_ERROR, code="ModelFailed") from error


def _check_method(head: Head, allowed: tuple[str, ...]) -> None:
    if head.method not in allowed:
        names = " or ".join(allowed)
        message = f"{head.path} takes {names}, got {head.method[:20]}. Send it so."
        allow = {"Allow": ", ".join(allowed)}
        raise Refused(message, status=HTTPStatus.METHOD_NOT_ALLOWED, code="MethodNotAllowed", headers=allow)


def _check_content_type(head: Head, media_types: Sequence[str]) -> str:
    kind = head.header("content-type").partition(";")[0].strip().lower()
    known = tuple(dict.fromkeys((*media_types, JSON_LINES))) if head.path == INVOCATIONS else tuple(media_types)
    if kind not in known:
        message = f"Content-Type must be {' or '.join(known)}, got {kind[:60]!r}."
        raise Refused(message, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE, code="UnsupportedMediaType")
    return kind


def _loading() -> Refused:
    message = "The model is being loaded. Try again in a moment."
    return Refused(message, status=HTTPStatus.SERVICE_UNAVAILABLE, code="Loading", headers={"Retry-After": "1"})
