"""What training jobs and transform jobs have in common: they begin, wait for room, are stopped, and end."""

from __future__ import annotations

import contextlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from defectory.local.server.authorization.permissions import Permissions, Session
from defectory.local.server.events import Events
from defectory.local.server.objects import Objects
from defectory.local.server.sagemaker.registry import INVALID, Record, Registry, ResourceKind, public
from defectory.local.server.sagemaker.volume import ContentError
from defectory.local.server.services import Scope, ServiceFault, in_thread
from defectory.local.server.settings import Settings

# A job uses the processors that there are; more at once only make each other slow.
JOBS = max(2, os.cpu_count() or 1)
REASON_LIMIT = 1024
INTERRUPTED = "InternalServerError: The local cloud was stopped while the job was under way."
OVER = ("Completed", "Failed", "Stopped")


@dataclass(slots=True)
class Job:
    """A job under way."""

    name: str
    request: Mapping[str, Any]
    session: Session
    stopping: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def end(self) -> None:
        """Ask what runs to stop, and see to it that it does."""
        self.stopping.set()
        self.kill()

    def kill(self) -> None:
        """End what runs, with all that it started."""


class JobFailed(Exception):
    """The job failed; the message is the reason that it tells."""


AnyJob = TypeVar("AnyJob", bound=Job)


class Jobs(ABC, Generic[AnyJob]):
    """Runs jobs of one kind; the registry has what is known of them."""

    kind: ClassVar[ResourceKind]
    folder: ClassVar[str]

    def __init__(
        self, settings: Settings, objects: Objects, registry: Registry, events: Events, permissions: Permissions
    ) -> None:
        self._settings = settings
        self._permissions = permissions
        self._objects = objects
        self._registry = registry
        self._events = events
        self._folder = settings.work / self.folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._jobs: dict[tuple[Scope, str], AnyJob] = {}
        self._room = threading.BoundedSemaphore(JOBS)
        self._closed = False

    # ---- the life of the service

    def start(self) -> None:
        """End what was under way when the cloud was stopped."""
        for scope, record in self._registry.everything(self.kind):
            if record[self.kind.status] not in OVER:
                with scope.entered():
                    self._turn(record[self.kind.name], "Failed", FailureReason=INTERRUPTED)

    def stop(self) -> None:
        self._closed = True
        jobs = list(self._jobs.values())
        for job in jobs:
            job.stopping.set()
            job.kill()
        for job in jobs:
            job.done.wait(5)

    def reset(self) -> None:
        """End every job."""
        for job in self._jobs.values():
            job.stopping.set()
            job.kill()

    # ---- operations

    def stop_job(self, name: str) -> None:
        """Raises ``ServiceFault``: there is no such job, or it is over."""
        record = self._registry.find(self.kind, name)
        if record[self.kind.status] in OVER:
            raise ServiceFault(
                INVALID,
                f"The request was rejected because the {self.kind.noun} is in status {record[self.kind.status]}.",
            )
        self._turn(record[self.kind.name], "Stopping")
        self._jobs[Scope.current(), record[self.kind.name]].end()

    def wait(self, name: str, unwanted: Callable[[], bool]) -> Record:
        """Wait until a job is over, stopped if it becomes ``unwanted``, and return its record; only from a thread."""
        job = self._jobs[Scope.current(), name]
        while not job.done.wait(0.1):
            if unwanted() and not job.stopping.is_set():
                # It may be over by now.
                with contextlib.suppress(ServiceFault):
                    self.stop_job(name)
        return self._registry.find(self.kind, name)

    # ---- a job

    def _begin(self, job: AnyJob, status: str, members: Mapping[str, Any]) -> Record:
        """Keep a job's record, and let it run; raises ``ServiceFault`` if there is one of its name."""
        record = self._registry.add(self.kind, job.name, members)
        self._jobs[Scope.current(), job.name] = job
        self._turn(job.name, status)
        in_thread(self._run, job, name=f"{self.kind.noun} {job.name}")
        return record

    def _run(self, job: AnyJob) -> None:
        try:
            while not self._room.acquire(timeout=0.2):
                if job.stopping.is_set():
                    self._turn(job.name, "Stopped", **({"FailureReason": INTERRUPTED} if self._closed else {}))
                    return
            try:
                self._work(job)
            finally:
                self._room.release()
        except JobFailed as failure:
            self._turn(job.name, "Failed", FailureReason=str(failure)[:REASON_LIMIT])
        except ContentError as error:
            self._turn(job.name, "Failed", FailureReason=f"ClientError: {error}"[:REASON_LIMIT])
        except Exception as error:
            # A job that nobody hears of any more would hold up whoever waits for it.
            self._turn(job.name, "Failed", FailureReason=f"InternalServerError: {error}"[:REASON_LIMIT])
        finally:
            self._permissions.sessions.end(job.session)
            job.done.set()

    @abstractmethod
    def _work(self, job: AnyJob) -> None:
        """Do the job to its end, which is the last thing that it turns to; raises ``JobFailed`` or ``ContentError``."""

    @abstractmethod
    def _turn(self, name: str, status: str, **changes: object) -> None:
        """Come to a status, and tell of it."""

    def _emit(self, record: Record) -> None:
        """Tell who listens what is known of a job now."""
        title = self.kind.noun.title()
        detail = in_milliseconds(public(record))
        self._events.emit("aws.sagemaker", f"SageMaker {title} State Change", record[self.kind.arn], detail)


def in_milliseconds(value: Any, member: str = "") -> Any:  # noqa: ANN401
    """A record as events and Step Functions tell it: times in whole milliseconds."""
    if isinstance(value, dict):
        return {name: in_milliseconds(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [in_milliseconds(item) for item in value]
    return int(value * 1000) if isinstance(value, float) and member.endswith("Time") else value
