"""Accepting a request: list the machines, write the request down, start the pipeline; the same token does it once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from defectory.aws.alerts import Alerts
from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.pipelines import Pipeline
from defectory.errors import AuthorError, ServiceError
from defectory.sensors.authors import Author, MachineListing
from defectory.sensors.service.closing import close_unfinished
from defectory.sensors.service.requests import RequestEvent, SensorRequest
from defectory.sensors.service.requests_table import RequestsTable


@dataclass(frozen=True, slots=True)
class Submission:
    """What it takes to accept requests; requests are forgotten after ``retention``."""

    author: Author
    table: RequestsTable
    pipeline: Pipeline
    alerts: Alerts
    retention: timedelta
    metrics: DeploymentMetrics

    def submit(self, event: RequestEvent, *, token: str) -> SensorRequest:
        """Accept ``event`` and start the work on it; nothing is written unless its machines are known.

        ``token`` stands in for an event that brings no idempotency token.  A token seen before gives the request that
        it made then, and starts the pipeline for it if that had not come to pass.

        Raises:
            InputError: the author does not know the industry, or the token was used for another request.
            AuthorError, ReplyError: the author could not list the machines.
            ServiceError: a service failed; if the pipeline could not be started, the request is closed as FAILED.
        """
        token = event.idempotency_token or token
        request = self.table.find_by_token(event.user_id, token, fingerprint=event.fingerprint)
        if request is None:
            accepted = self._accept(event)
            request = self.table.create(accepted, token=token, fingerprint=event.fingerprint)
        if request.active and request.pipeline_execution_id is None:
            request = self._start(request)
        return request

    def _accept(self, event: RequestEvent) -> SensorRequest:
        listing = (
            self.author.list_machines(event.industry, event.number)
            if event.machines is None
            else MachineListing(tuple(event.machines))
        )
        if not listing.names:
            raise AuthorError(f"The author {self.author.name} knows no machine of {event.industry!r}. {listing.note}")
        return SensorRequest.new(
            event,
            machines=listing.names,
            author=self.author.name,
            note=listing.note,
            retention=self.retention,
            now=datetime.now(UTC),
        )

    def _start(self, request: SensorRequest) -> SensorRequest:
        variables = {"user_id": request.user_id, "request_id": request.request_id}
        try:
            execution_id = self.pipeline.start(variables, token=request.request_id)
        except ServiceError as error:
            reason = f"The pipeline could not be started: {error}"
            close_unfinished(request, reason, table=self.table, alerts=self.alerts, metrics=self.metrics)
            raise
        self.table.set_execution(request.user_id, request.request_id, execution_id)
        return request.model_copy(update={"pipeline_execution_id": execution_id})
