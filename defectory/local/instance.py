"""Which local cloud is running: a lock that is held as long as it is, and a note about it beside the lock."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from defectory.claims import claim, is_claimed
from defectory.errors import LocalCloudError
from defectory.local.server.settings import SERVER_LOG

COMMAND = "defectory local up"
LOCK = "instance.lock"
NOTE = "instance.json"
STOP_SECONDS = 60.0


class Instance(BaseModel):
    """A running local cloud."""

    model_config = ConfigDict(frozen=True)

    pid: int
    endpoint: str
    account: str
    secret: str = Field(repr=False)
    region: str
    folder: Path
    outbox: Path
    persistent: bool
    started_at: str


def registry(state: Path | None) -> Path:
    """Where a running cloud is noted: the folder of its state, else a folder of the user's, who then has but one.

    Raises:
        LocalCloudError: as ``make_private``.
    """
    if state is not None:
        folder = state
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(runtime) / "defectory"
    else:
        folder = Path(tempfile.gettempdir()) / f"defectory-{os.getuid()}"
    if state is None and folder.is_symlink():
        raise LocalCloudError(f"The folder {folder} is a link; set XDG_RUNTIME_DIR to a folder of your own.")
    make_private(folder)
    return folder


def claim_state(folder: Path) -> None:
    """Take a folder for the state of a local cloud, whose work/ is removed when the cloud ends.

    Raises:
        InputError: it holds other things.
    """
    # Releases before 0.2 did not mark theirs, and logged there.
    if not (folder / SERVER_LOG).is_file():
        claim(folder, COMMAND, field="state")


def make_private(folder: Path) -> None:
    """Make a folder that no other user may look into, or an existing one such.

    Raises:
        LocalCloudError: it cannot be made, belongs to somebody else, or holds other things that others may read.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        strange = not is_claimed(folder, COMMAND) and not (folder / LOCK).exists() and any(folder.iterdir())
    except OSError as error:
        raise LocalCloudError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    if status.st_uid != os.getuid():
        raise LocalCloudError(f"The folder {folder} belongs to another user; take one of your own.")
    if status.st_mode & 0o077:
        if strange:
            raise LocalCloudError(
                f"Other users may look into the folder {folder}, which holds more than a local cloud. "
                f"Take one of its own, or keep others out: chmod 700 {folder}"
            )
        folder.chmod(0o700)


def lock(folder: Path) -> int:
    """Take the lock in ``folder`` and return its descriptor; whoever holds a copy of that holds the lock.

    Raises:
        LocalCloudError: a cloud is running there.
    """
    descriptor = _try_lock(folder)
    if descriptor is None:
        instance = running(folder)
        where = f" at {instance.endpoint} (process {instance.pid})" if instance else ""
        raise LocalCloudError(
            f"A local cloud is already running{where}. Use it, end it with 'defectory local down', "
            "or give this one a folder of its own with --state and another --port."
        )
    (folder / NOTE).unlink(missing_ok=True)
    return descriptor


def note(folder: Path, instance: Instance) -> None:
    """Say what is running, with its secret, to this user alone; only for the holder of the lock."""
    unfinished = folder / f"{NOTE}.tmp"
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(instance.model_dump_json(indent=2))
    unfinished.replace(folder / NOTE)


def running(folder: Path) -> Instance | None:
    """What is running there; None if nothing is, or nothing yet."""
    if not is_locked(folder):
        return None
    try:
        return Instance.model_validate_json((folder / NOTE).read_text())
    except (OSError, ValueError):
        return None


def stop(folder: Path, *, on_wait: Callable[[str], None] = lambda reason: None) -> Instance | None:
    """Stop the cloud that is running there, and wait until all of it has ended; None if none is running.

    Args:
        folder: of `registry`.
        on_wait: hears why there is only waiting to do.

    Raises:
        LocalCloudError: it is about to start or to end, or has not ended within `STOP_SECONDS`.
    """
    if not is_locked(folder):
        return None
    instance = running(folder)
    if instance is None:
        raise LocalCloudError("A local cloud is about to start or to end; try again in a moment.")
    try:
        os.kill(instance.pid, signal.SIGTERM)
    except ProcessLookupError:
        on_wait("Its process is gone; waiting for the rest to end.")
    deadline = time.monotonic() + STOP_SECONDS
    while is_locked(folder):
        if time.monotonic() > deadline:
            raise LocalCloudError(f"Process {instance.pid} has not ended within {STOP_SECONDS:.0f} s.")
        time.sleep(0.1)
    return instance


def is_locked(folder: Path) -> bool:
    """Whether a cloud is running there, or about to start or end."""
    if not (folder / LOCK).exists():
        # Whoever only asks leaves nothing in a folder that may be another's.
        return False
    descriptor = _try_lock(folder)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def _try_lock(folder: Path) -> int | None:
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
