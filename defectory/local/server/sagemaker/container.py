"""What runs inside an endpoint: a model behind ``/ping`` and ``/invocations``, as in AWS's framework containers.

A script of the standard library and uvicorn: ``python container.py PROGRAM MODEL_DIR DESCRIPTOR``.  It reads the token
that requests have to carry from its standard input, writes the port that it listens on to the file descriptor, then
loads the model; ``/ping`` answers 503 until that is done.

The program is a module with ``model_fn`` and either ``transform_fn`` or ``input_fn``, ``predict_fn`` and ``output_fn``,
called as SageMaker's inference toolkit calls them (https://github.com/aws/sagemaker-inference-toolkit): each may take a
``context`` as well.  One request is worked on at a time, because those containers ask no program to be thread-safe.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from defectory import door
    from defectory.door.server import Answer, GuardedServer, Head, Limits, Work
else:
    # The package is out of reach of what runs here, or another version of it came with the model.
    _spec = importlib.util.spec_from_file_location(
        "_defectory_door", Path(__file__).parents[3] / "door" / "__init__.py"
    )
    door = importlib.util.module_from_spec(_spec)
    sys.modules[_spec.name] = door
    _spec.loader.exec_module(door)
    _server = importlib.import_module("_defectory_door.server")
    Answer, GuardedServer, Limits = _server.Answer, _server.GuardedServer, _server.Limits

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
_SPELLED = {ATTRIBUTES.lower(): ATTRIBUTES}
# The toolkit hands these over as text, everything else as bytes.
TEXTS = ("application/json", "text/csv")
DEFAULT_ACCEPT = "application/json"
# Real-time endpoints of SageMaker take 25 MB; what is too much, or takes too long, is for the service in front to say.
LIMITS = Limits(body_bytes=100 * 1024 * 1024, held_bytes=1024**3, request_seconds=None)


@dataclass(slots=True)
class Context:
    """What a handler learns of its request and may say of its response: the part of MMS's context in use."""

    system_properties: dict[str, Any]
    request: dict[str, str] = field(default_factory=dict)
    status: int = 200
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def get_request_header(self, _index: int, key: str) -> str | None:
        return next((value for name, value in self.request.items() if name.lower() == key.lower()), None)

    def get_all_request_header(self, _index: int) -> dict[str, str]:
        return dict(self.request)

    def set_response_status(self, code: int = 200, phrase: str = "", _index: int = 0) -> None:
        self.status = code

    def set_response_content_type(self, _index: int, value: str) -> None:
        self.content_type = value

    def set_response_header(self, _index: int, key: str, value: str) -> None:
        self.headers[key] = value


class UnsupportedFormat(Exception):
    """A default handler cannot read or write such content."""

    status_code = 415


class Model:
    """A program with the model that it has loaded."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._folder = folder
        sys.path.insert(0, str(program.parent))
        spec = importlib.util.spec_from_file_location(program.stem, program)
        if spec is None or spec.loader is None:
            raise ImportError(f"{program} is not a Python module")
        self._module = importlib.util.module_from_spec(spec)
        sys.modules[program.stem] = self._module
        spec.loader.exec_module(self._module)
        load = getattr(self._module, "model_fn", None)
        if load is None:
            raise ImportError(f"{program.name} has no function model_fn, which loads the model")
        self._model = _call(load, (str(folder),), self._context({}))

    def answer(self, body: bytes, headers: dict[str, str]) -> Answer:
        """The response to a request."""
        context = self._context(headers)
        content_type = context.get_request_header(0, "Content-Type") or "application/json"
        accept = context.get_request_header(0, "Accept") or "*/*"
        accept = DEFAULT_ACCEPT if accept == "*/*" else accept
        base = content_type.partition(";")[0].strip().lower()
        try:
            content: str | bytes = body.decode() if base in TEXTS else body
            result = self._transform(content, content_type, accept, context)
        except Exception as error:
            trace = traceback.format_exc()
            print(trace, file=sys.stderr, flush=True)
            status = getattr(error, "status_code", 500)
            message = getattr(error, "message", None) or str(error)
            return _text(int(status), f"{message}\n{trace}")
        return _response(result, accept, context)

    def _transform(self, content: str | bytes, content_type: str, accept: str, context: Context) -> object:
        transform = getattr(self._module, "transform_fn", None)
        if transform:
            return _call(transform, (self._model, content, content_type, accept), context)
        model_input = _call(getattr(self._module, "input_fn", _read), (content, content_type), context)
        predict = getattr(self._module, "predict_fn", None)
        if predict is None:
            raise ImportError("The program has neither transform_fn nor predict_fn.")
        prediction = _call(predict, (model_input, self._model), context)
        return _call(getattr(self._module, "output_fn", _write), (prediction, accept), context)

    def _context(self, headers: dict[str, str]) -> Context:
        return Context({"model_dir": str(self._folder), "gpu_id": None}, headers)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], context: Context) -> Any:  # noqa: ANN401
    """Call a handler, with the context if it takes one argument more."""
    takes = inspect.signature(function).parameters
    return function(*arguments, context) if len(takes) == len(arguments) + 1 else function(*arguments)


def _read(content: str | bytes, content_type: str) -> object:
    if content_type.partition(";")[0].strip() != "application/json":
        raise UnsupportedFormat(f"Content type {content_type} is not supported by this framework.")
    return json.loads(content)


def _write(prediction: object, accept: str) -> str:
    if accept != "application/json":
        raise UnsupportedFormat(f"Accept type {accept} is not supported by this framework.")
    return json.dumps(prediction)


def _response(result: Any, accept: str, context: Context) -> Answer:  # noqa: ANN401
    status, content_type = context.status, context.content_type or accept
    if isinstance(result, tuple):
        result, content_type = result[0], context.content_type or result[1]
    elif hasattr(result, "get_data"):
        # A response of Flask, which scikit-learn's container takes too.
        status, content_type, result = result.status_code, result.mimetype, result.get_data()
    if not isinstance(result, (str, bytes, bytearray)):
        result = json.dumps(result)
    body = result.encode() if isinstance(result, str) else bytes(result)
    return Answer(status, body, {"Content-Type": content_type, **context.headers})


class Server(GuardedServer):
    """Answers the two routes that SageMaker asks of a container for one model, once it is loaded."""

    model: Model | None = None

    def __init__(self, token: str) -> None:
        super().__init__("127.0.0.1", 0, LIMITS, threads=1)
        self._token = token

    def route(self, head: Head) -> Answer | Work:
        """``/ping`` and ``/invocations``."""
        door.check_bearer(head.headers, self._token)
        model = self.model
        if (head.method, head.path) not in (("GET", "/ping"), ("POST", "/invocations")):
            return _text(404, "Not found\n")
        if model is None:
            return _text(503, "Loading\n")
        if head.path == "/ping":
            return _text(200, "\n")
        # The program sees what it would see in SageMaker.
        headers = {_SPELLED.get(name, name.title()): value for name, value in head.headers if name != "authorization"}
        return lambda body: model.answer(body, headers)


def _text(status: int, content: str) -> Answer:
    return Answer(status, content.encode(), {"Content-Type": "text/plain"})


def main() -> None:
    """Serve the model of the program and the folder that the arguments name, and write the port to the descriptor."""
    program, folder, descriptor = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    server = Server(sys.stdin.readline().strip())
    server.start()
    with os.fdopen(descriptor, "w") as pipe:
        pipe.write(f"{server.port}\n")
    server.model = Model(program, folder)
    threading.Event().wait()


if __name__ == "__main__":
    main()
