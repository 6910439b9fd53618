"""The local cloud as a thing to start, deploy into, use and stop."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from botocore.client import BaseClient

import defectory
from defectory.door import new_secret
from defectory.errors import LocalCloudError
from defectory.local import instance, keeper, outbox
from defectory.local.clients import connect
from defectory.local.deploy import deploy
from defectory.local.environment import DEFAULT_ACCOUNT, DEFAULT_REGION, SCRUBBED, inherited
from defectory.local.server.settings import Settings

START_SECONDS = 60.0
# What a server with much state needs to save it.
STOP_SECONDS = 30.0


class LocalCloud:
    """An AWS of this machine's own, in processes of its own, reachable from this machine alone.

    >>> with LocalCloud() as cloud:  # doctest: +SKIP
    ...     outputs = cloud.deploy(Path("cdk.out"))
    ...     cloud.client("s3").list_buckets()

    Requests have to be signed with a secret that each start makes anew: ``client`` and ``environment`` hold it.  Web
    pages and other users of the machine stay out.

    Every process that it starts ends with it, also when this process is killed.  Without ``state`` nothing is left
    afterwards; with it, what is in the cloud is there again at the next start with the same folder.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        state: Path | None = None,
        account: str = DEFAULT_ACCOUNT,
        region: str = DEFAULT_REGION,
        registry: Path | None = None,
    ) -> None:
        """Nothing runs before ``start``.

        Args:
            port: of the loopback interface; 0 takes a free one.
            state: folder to keep everything in; None keeps nothing.
            account: twelve digits.
            registry: folder whose lock to hold while running; ``state`` if there is one.
        """
        self._port = port
        self._state = state.absolute() if state else None
        self._account = account
        self._region = region
        self._registry = registry or self._state
        self._lock: int | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._log: BinaryIO | None = None
        self._running: Settings | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            LocalCloudError: it cannot start; the message says why: the port or the folder is in use, say.
        """
        if self._state:
            instance.claim_state(self._state)
        if self._registry:
            instance.make_private(self._registry)
            self._lock = instance.lock(self._registry)
        try:
            if self._state:
                instance.make_private(self._state)
            folder = self._state or Path(tempfile.mkdtemp(prefix="defectory-local-"))
            settings = Settings(
                folder=folder,
                persistent=self._state is not None,
                port=self._port,
                account=self._account,
                secret=new_secret(),
                region=self._region,
            )
            self._running = settings.model_copy(update={"port": self._launch(settings)})
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it and everything that it started; harmless if it is not running."""
        process, self._keeper = self._keeper, None
        self._running = None
        if process:
            process.terminate()
            process.wait()
            assert process.stdin
            process.stdin.close()
        if self._log:
            self._log.close()
            self._log = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._keeper is not None and self._keeper.poll() is None

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended by itself, which it does only by a fault; False if it runs on."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log."""
        if self._log is None:
            return ""
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-lines:])

    @property
    def settings(self) -> Settings:
        """What it runs with.

        Raises:
            LocalCloudError: it does not run.
        """
        if self._running is None:
            raise LocalCloudError("The local cloud is not running: call start(), or use it in a with statement.")
        return self._running

    @property
    def endpoint(self) -> str:
        """URL of every service."""
        return self.settings.endpoint

    @property
    def outbox_folder(self) -> Path:
        """Folder of the e-mails that were sent, as .eml files."""
        return self.settings.outbox

    def describe(self) -> instance.Instance:
        """What other processes need to know to reach it, and to end it by ending this one."""
        return instance.Instance(
            pid=os.getpid(),
            endpoint=self.endpoint,
            account=self.settings.account,
            secret=self.settings.secret,
            region=self.settings.region,
            folder=self.settings.folder,
            outbox=self.outbox_folder,
            persistent=self._state is not None,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def mails(self) -> Iterator[outbox.Mail]:
        """The e-mails that were sent, oldest first."""
        return outbox.mails(self.outbox_folder)

    def environment(self) -> dict[str, str]:
        """The variables with which any AWS client reaches this cloud."""
        return self.settings.client_environment()

    def process_environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """``base`` with these variables, without those that would lead a client elsewhere."""
        variables = {name: value for name, value in base.items() if name not in SCRUBBED}
        return {**variables, **self.environment()}

    def client(self, service: str) -> BaseClient:
        """A boto3 client of this cloud, whatever the environment of this process says."""
        return connect(service, self.endpoint, self._account, self.settings.secret, self._region)

    def deploy(self, assembly: Path) -> dict[str, dict[str, str]]:
        """Deploy every stack of a cloud assembly (``cdk.out``); return the outputs by stack.

        Raises:
            LocalCloudError: a stack failed; the message holds its events.
        """
        return deploy(assembly, self.client, self._account, self._region)

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        if self._keeper is None:
            raise LocalCloudError("The local cloud is not running.")
        return self._keeper

    def _launch(self, settings: Settings) -> int:
        for folder in (settings.state, settings.objects, settings.outbox, settings.work / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        keeping = [sys.executable, "-I", "-S", str(keeper.__file__), "--grace", str(STOP_SECONDS)]
        # Of a kept state, only what is at work goes.
        keeping += ["--remove", str(settings.work if settings.persistent else settings.folder)]
        # The folder is for those who look at a list of processes; the secret shall not be in it.
        serving = [sys.executable, "-m", "defectory.local.server", str(settings.folder)]
        read_end, write_end = os.pipe()
        keeping += ["--input", str(read_end)]
        with os.fdopen(write_end, "w") as pipe:
            # Fits into the pipe: nobody has to read it yet.
            pipe.write(settings.model_dump_json())
        # Kept open: it can be read also when the folder is gone.
        self._log = settings.log.open("a+b")
        try:
            self._keeper = subprocess.Popen(
                [*keeping, "--", *serving],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=inherited(os.environ) | {"PYTHONPATH": str(Path(str(defectory.__file__)).parents[1])},
                pass_fds=[read_end] if self._lock is None else [read_end, self._lock],
                # Ctrl-C is for the process that started it.
                start_new_session=True,
            )
        finally:
            os.close(read_end)
        assert self._keeper.stdout
        with self._keeper.stdout as output:
            ready = select.select([output], [], [], START_SECONDS)[0]
            line = output.readline() if ready else b""
        if not line:
            ended = "ended" if ready else f"did not answer within {START_SECONDS:.0f} s"
            raise LocalCloudError(f"The local cloud {ended} at its start. Its log ends with:\n{self.log_tail()}")
        message = json.loads(line)
        if "error" in message:
            raise LocalCloudError(message["error"])
        return int(message["port"])
