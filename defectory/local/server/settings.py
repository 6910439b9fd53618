"""What a local cloud is told at its start, and where it keeps its files."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from defectory.local.environment import client_environment, inherited
from defectory.validation import FrozenModel

SERVER_LOG = "server.log"
PERMISSIONS = "permissions.jsonl"


class Settings(FrozenModel):
    """Given by ``LocalCloud`` to the server's process.

    ``folder`` holds everything::

        state/       what is kept of the services, if it is persistent
        objects/     what is in S3, one file an object
        outbox/      e-mails that were sent
        work/        code of functions, builds under way, temporary files
        server.log
        permissions.jsonl   each kind of permission that roles have used since the start
    """

    folder: Path
    persistent: bool
    port: int
    account: str
    # What requests are signed with; made anew for each start, and in no log.
    secret: str = Field(repr=False)
    region: str

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @property
    def outbox(self) -> Path:
        return self.folder / "outbox"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def permissions(self) -> Path:
        return self.folder / PERMISSIONS

    @property
    def log(self) -> Path:
        return self.folder / SERVER_LOG

    @property
    def endpoint(self) -> str:
        # By name: Node's clients put a bucket's name in front of a host, which an address does not allow.
        return f"http://localhost:{self.port}"

    def client_environment(self) -> dict[str, str]:
        """What a process needs to reach this cloud."""
        return client_environment(self.endpoint, self.account, self.secret, self.region)

    def process_environment(self, key: str, secret: str, token: str) -> dict[str, str]:
        """The whole environment of a process that the cloud starts: what may be inherited, and the way here.

        Never the operator's keys: those given are temporary ones, of a session of the process's own role.
        """
        reaching = client_environment(self.endpoint, key, secret, self.region)
        return {**inherited(os.environ), **reaching, "AWS_SESSION_TOKEN": token}

    def ministack_environment(self) -> dict[str, str]:
        """MiniStack's own settings; it reads them when it is imported."""
        return {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "localhost",
            "MINISTACK_ACCOUNT_ID": self.account,
            "MINISTACK_REGION": self.region,
            # What is kept is kept by ``state``, before it is acknowledged; MiniStack would write it when it ends.
            "PERSIST_STATE": "0",
            "STATE_DIR": str(self.state),
            # Objects live in files, not in memory, also where nothing is to persist.
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.objects),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            # Never touch the user's containers.
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(self.work / "tmp"),
        }
