"""Serve the local cloud: ``python -m defectory.local.server FOLDER``, started by ``LocalCloud``.

Standard input holds the settings, with the secret among them: other users can read what a command was called with.
Standard output carries one line of JSON: ``{"port": …}`` once requests are answered, ``{"error": …}`` if that cannot
be.  Everything else goes to standard error, which is the log.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from typing import Any

from defectory.errors import LocalCloudError
from defectory.local.server.object_files import settle
from defectory.local.server.settings import Settings

LOOPBACK = "127.0.0.1"
# Long enough for answers under way; what has not ended by then is a client that listens for more.
SHUTDOWN_SECONDS = 1.0


def bind(port: int) -> socket.socket:
    """A socket that listens on the loopback interface; port 0 takes a free one.

    Raises:
        LocalCloudError: the port is taken, or not allowed.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise LocalCloudError(
            f"Port {port} cannot be used: {error.strerror}. Choose another with --port, or end what uses it."
        ) from error
    listener.set_inheritable(False)
    return listener


def serve(settings: Settings, listener: socket.socket) -> None:
    """Answer requests until SIGTERM, or until the parent is gone."""
    os.environ.update(settings.ministack_environment() | settings.client_environment())
    tempfile.tempdir = None
    if settings.persistent:
        settle(settings.objects)
    # MiniStack reads its environment on import.
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    from defectory.local.server.admission import Admission
    from defectory.local.server.extensions import install
    from defectory.local.server.hooks import check_replacements
    from defectory.local.server.state.durability import Durability

    ministack, extensions = install(settings)
    durability = Durability(settings, extensions.queues) if settings.persistent else None
    check_replacements()
    application = Admission(durability.applied_to(ministack) if durability else ministack, settings)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = SHUTDOWN_SECONDS
    config.accesslog = None
    config.loglevel = "WARNING"

    def begin() -> str:
        """Restore what was kept and start; what there is to say about it."""
        try:
            report = durability.restore() if durability else ""
            extensions.start()
        except LocalCloudError as error:
            announce(error=str(error))
            os._exit(1)
        except BaseException:
            # Hypercorn would go on without.
            traceback.print_exc()
            os._exit(1)
        return str(report)

    async def announcing(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] != "lifespan":
            await application(scope, receive, send)
            return

        async def send_and_announce(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                announce(port=settings.port, report=begin())
            await send(message)

        async def receive_and_stop() -> Any:  # noqa: ANN401
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                # What is under way ends, and is kept as ended.
                await asyncio.to_thread(extensions.stop)
                if durability:
                    durability.stop()
            return message

        await application(scope, receive_and_stop, send_and_announce)

    async def until_asked() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        threading.Thread(target=_watch_parent, args=(lambda: loop.call_soon_threadsafe(stop.set),), daemon=True).start()
        await hypercorn_serve(announcing, config, shutdown_trigger=stop.wait)

    asyncio.run(until_asked())


def _watch_parent(on_exit: Any) -> None:  # noqa: ANN401
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    on_exit()


def announce(**message: object) -> None:
    """Tell ``LocalCloud`` something; it listens for one line."""
    print(json.dumps(message), flush=True)


def main() -> int:
    """Serve with the settings that standard input holds, until it is closed or the process is told to end."""
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    try:
        listener = bind(settings.port)
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        serve(settings, listener)
    except LocalCloudError as error:
        announce(error=str(error))
        return 1
    sys.stderr.flush()
    # Threads of MiniStack that still wait for something would keep the process.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
