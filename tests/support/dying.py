"""Work that kills its process, once or always."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def double_or_die(item: tuple[str, int]) -> int:
    """Twice the number; the first to find no file of that name leaves one and is killed, and so is all that is 13."""
    name, number = item
    if number == 13 or (number == 2 and not Path(name).exists()):
        Path(name).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number
