"""Temporary folders that are gone with their block, also where a signal ends the process in it.

Python turns SIGINT into an exception, but lets SIGTERM and SIGHUP end the process where it stands, and leave what it
had.  Within `unwinding` all three are exceptions in the main thread: blocks are left as they are by any error.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What this module replaces; a handler of the program's own stays.
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class Interruption(KeyboardInterrupt):
    """SIGINT in a block of `unwinding`.

    Not ``KeyboardInterrupt`` itself: where one passes through code that is run from a text (as of a data class),
    CPython ends the process by SIGINT at its exit, whatever became of it meanwhile.
    """


class _State:
    """Of the process; only its main thread changes it, and only there are signals handled."""

    blocks = 0
    holds = 0
    pending: int | None = None
    # What the signal that ends it was turned into.
    ending: BaseException | None = None


@contextmanager
def unwinding() -> Iterator[None]:
    """In this block SIGTERM and SIGHUP raise ``SystemExit`` with 128 + their number, and SIGINT `Interruption`.

    While one of them unwinds the block, others are ignored; what fails on the way because it was cut short does not
    take its place.  Outside of the main thread, and for signals that the program handles itself, nothing changes.
    """
    if not _is_main_thread():
        yield
        return
    replaced = {number: signal.getsignal(number) for number in _ENDING}
    replaced = {number: handler for number, handler in replaced.items() if handler in _DEFAULTS}
    _State.blocks += 1
    try:
        for number in replaced:
            signal.signal(number, _handle)
        yield
    except Exception as error:
        if (ending := _State.ending) is not None and _is_behind(ending, error):
            raise ending from None
        raise
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
        _State.blocks -= 1
        if not _State.blocks:
            _State.ending = None


def ignore_endings() -> None:
    """Let no signal that `unwinding` is about end this process any more: for its very end, when all is cleared away."""
    for number in _ENDING:
        if signal.getsignal(number) in _DEFAULTS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def temporary_folder(prefix: str, parent: Path | str | None = None) -> Iterator[Path]:
    """A new folder that is removed at the block's end, however the process is ended, SIGKILL apart.

    Args:
        prefix: how its name begins.
        parent: where it is made; in the system's folder for temporary files by default.

    Raises:
        OSError: it cannot be made.
    """
    with unwinding():
        folder: tempfile.TemporaryDirectory[str] | None = None
        try:
            with held():
                folder = tempfile.TemporaryDirectory(prefix=prefix, dir=parent)
            yield Path(folder.name)
        finally:
            with held():
                if folder is not None:
                    folder.cleanup()


@contextmanager
def held() -> Iterator[None]:
    """A signal of `unwinding` that comes in this block is handled at its end: what was begun is known by then."""
    if not _is_main_thread():
        yield
        return
    _State.holds += 1
    try:
        yield
    finally:
        _State.holds -= 1
        number, _State.pending = (None, _State.pending) if _State.holds else (_State.pending, None)
        if number is not None:
            _handle(number, None)


def _handle(number: int, _: FrameType | None) -> None:
    if _State.ending is not None:
        return
    if _State.holds:
        _State.pending = number
        return
    _State.ending = Interruption() if number == signal.SIGINT else SystemExit(128 + number)
    raise _State.ending


def _is_behind(ending: BaseException, error: BaseException | None) -> bool:
    """Whether ``error`` came up while ``ending`` was on its way."""
    while error is not None and error is not ending:
        error = error.__context__
    return error is not None


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
