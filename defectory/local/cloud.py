"""The local cloud as a thing to start, deploy into, use and stop."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from botocore.client import BaseClient

import defectory
from defectory.door import new_secret
from defectory.errors import LocalCloudError
from defectory.local import endings, instance, keeper, outbox
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
    afterwards; with it, what the cloud has acknowledged is there again at the next start with the same folder, however
    it ended.
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
        self._clients: dict[str, BaseClient] = {}
        self._connecting = threading.Lock()
        self._log_start = 0
        self._memory_kills = 0
        self._report = ""

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
        self._clients.clear()
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

    @property
    def report(self) -> str:
        """What the start found in a state that the last run did not leave in order; empty if there is nothing."""
        return self._report

    def ending(self) -> str:
        """Why it has ended by itself, with the last lines of its log.

        Raises:
            LocalCloudError: it does not run.
        """
        reason = endings.describe(self._process.wait(), endings.out_of_memory_kills() > self._memory_kills)
        return f"It {reason}. Its log ends with:\n{self.log_tail() or '(nothing)'}"

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log."""
        if self._log is None:
            return ""
        self._log.seek(self._log_start)
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
        """The boto3 client of this cloud for a service, whatever the environment of this process says.

        Any thread may use it; it is made once, since reading a service's model takes a while.
        """
        with self._connecting:
            if service not in self._clients:
                secret = self.settings.secret
                self._clients[service] = connect(service, self.endpoint, self._account, secret, self._region)
            return self._clients[service]

    def deploy(self, assembly: Path) -> dict[str, dict[str, str]]:
        """Deploy every stack of a cloud assembly (``cdk.out``); return the outputs by stack.

        Raises:
            LocalCloudError: a stack failed; the message holds its events.
        """
        try:
            return deploy(assembly, self.client, self._account, self._region)
        except LocalCloudError as error:
            if self.alive:
                raise
            raise LocalCloudError(
                f"The local cloud has ended while {assembly} was deployed. {self.ending()}"
            ) from error

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
        # What an earlier run with the same state wrote says nothing of this one.
        self._log_start = self._log.seek(0, os.SEEK_END)
        self._memory_kills = endings.out_of_memory_kills()
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
        if not line and ready:
            raise LocalCloudError(f"The local cloud ended at its start. {self.ending()}")
        if not line:
            raise LocalCloudError(
                f"The local cloud did not answer within {START_SECONDS:.0f} s at its start. "
                f"Its log ends with:\n{self.log_tail()}"
            )
        message = json.loads(line)
        if "error" in message:
            raise LocalCloudError(message["error"])
        self._report = message["report"]
        return int(message["port"])
