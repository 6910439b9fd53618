"""Signals: whoever ends a command interrupts it, so that it stops its children and removes what it has half done.

The one place for all commands.  What is under way ends by the way of an exception; whoever made a folder, a file or a
process gives it up on that way.  Exit codes are a shell's: 128 and the signal's number.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption(KeyboardInterrupt):
    """A signal that ends a command.

    Not ``KeyboardInterrupt`` itself: where one passes through code that is run from a text (as of a data class),
    CPython ends the process by SIGINT at its exit, whatever became of it meanwhile.
    """


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first ending signal raise `Interruption`, and ignore those that follow, until all is cleared away.

    Ends the process with 128 and the signal's number, unless what is interrupted ends well by itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals: list[int] = []

    def interrupt(number: int, _: object) -> NoReturn:
        for ending in ENDING:
            signal.signal(ending, signal.SIG_IGN)
        signals.append(number)
        raise Interruption

    # A terminal that is closed does not end what was started with nohup.
    before = {number: signal.getsignal(number) for number in ENDING}
    handled = [number for number in ENDING if number != signal.SIGHUP or before[number] != signal.SIG_IGN]
    for number in handled:
        signal.signal(number, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(_status(signals))
    except SystemExit as ended:
        # typer's word on an interruption.
        if signals and ended.code == 128 + signal.SIGINT:
            sys.exit(_status(signals))
        raise
    finally:
        for number in handled:
            signal.signal(number, before[number])


def _status(signals: list[int]) -> int:
    return 128 + (signals[0] if signals else signal.SIGINT)
