"""The requests table in DynamoDB: every write is conditional, and doing it again changes nothing.

```
user_id   request_id                      what
ann       20261121T104500123Z-3f9a1c2b    a request (with `active` = "yes" only while work is owed)
ann       token#nightly-2026-11-21        the idempotency token that made it
```

The sparse index ``active-index`` (``active``, ``request_id``) holds the requests that are owed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.aws.clients import code_behind, service_errors
from defectory.aws.dynamodb import Table, to_dynamodb
from defectory.errors import FailureKind, InputError, ServiceError, shorten
from defectory.sensors.service.requests import (
    FinalStatus,
    MachineStatus,
    OpenStatus,
    SensorRequest,
    request_id_prefix,
    timestamp,
)

ACTIVE_INDEX = "active-index"
ACTIVE = "yes"
ERROR_LIMIT = 1000
CREATE_ATTEMPTS = 5


class RequestNotFoundError(ServiceError):
    """The table has no such request."""

    code = "RequestNotFound"
    kind = FailureKind.PERMANENT


class RequestClosedError(ServiceError):
    """The request is closed: nothing more is owed, and nothing more may change."""

    code = "RequestClosed"
    kind = FailureKind.PERMANENT


class RequestsTable:
    """Requests by user and request id.  Every method may raise ``ServiceError``."""

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self._table = Table(name, client)

    def create(self, request: SensorRequest, *, token: str, fingerprint: str) -> SensorRequest:
        """Write a new request together with the token that made it.

        Returns:
            ``request``, or the earlier request if the user's ``token`` has made one already.

        Raises:
            InputError: the token has made a request with other parameters.
        """
        owner = {
            "user_id": request.user_id,
            "request_id": _token_key(token),
            "made": request.request_id,
            "fingerprint": fingerprint,
            "expires_at": request.expires_at,
        }
        puts = [
            {
                "Put": {
                    "TableName": self._table.name,
                    "Item": to_dynamodb(item),
                    "ConditionExpression": "attribute_not_exists(user_id)",
                }
            }
            for item in (owner, _to_item(request))
        ]
        for attempt in range(CREATE_ATTEMPTS):
            try:
                with service_errors(f"write request {request.request_id}"):
                    self._table.client.transact_write_items(TransactItems=puts)
                return request
            except ServiceError as error:
                if not _is_cancelled(error):
                    raise
            # Another invocation with the same token was first, or is at it at this moment.
            if earlier := self.find_by_token(request.user_id, token, fingerprint=fingerprint):
                return earlier
            time.sleep(0.05 * 2**attempt)
        raise ServiceError(f"Cannot write request {request.request_id}: the same token is in use all the time.")

    def find_by_token(self, user_id: str, token: str, *, fingerprint: str) -> SensorRequest | None:
        """The request that the user's ``token`` made earlier, if any.

        Raises:
            InputError: it was made with other parameters.
        """
        owner = self._read(user_id, _token_key(token))
        if owner is None:
            return None
        if owner["fingerprint"] != fingerprint:
            fix = f"It made request {owner['made']} with other parameters; use a new token for a new request."
            raise InputError("idempotency_token", "used for one request only", token, fix)
        return self.get(user_id, owner["made"])

    def get(self, user_id: str, request_id: str) -> SensorRequest:
        """The request as it is now.

        Raises:
            RequestNotFoundError: there is none.
        """
        item = self._read(user_id, request_id)
        if item is None:
            raise RequestNotFoundError(f"Table {self._table.name} has no request {request_id!r} of user {user_id!r}.")
        return SensorRequest.model_validate({**item, "active": item.get("active") == ACTIVE})

    def active_before(self, moment: datetime) -> Iterator[tuple[str, str]]:
        """User id and request id of the requests made before ``moment`` that are still owed, oldest first."""
        items = self._table.query(
            f"list the active requests of table {self._table.name}",
            ACTIVE_INDEX,
            "active = :yes AND request_id < :before",
            {":yes": ACTIVE, ":before": request_id_prefix(moment)},
        )
        for item in items:
            yield item["user_id"], item["request_id"]

    def set_execution(self, user_id: str, request_id: str, execution_id: str) -> None:
        """Remember the pipeline execution that works on the request; the first one stays."""
        self._update(
            user_id,
            request_id,
            "SET pipeline_execution_id = if_not_exists(pipeline_execution_id, :execution), updated_at = :now",
            "attribute_exists(user_id)",
            {":execution": execution_id},
        )

    def set_status(self, user_id: str, request_id: str, status: OpenStatus) -> None:
        """Move an open request on.

        Raises:
            RequestClosedError: the request is closed.
        """
        if not self._update(
            user_id,
            request_id,
            "SET #status = :status, updated_at = :now",
            "attribute_exists(active)",
            {":status": status},
            {"#status": "status"},
        ):
            self._explain_closed(self.get(user_id, request_id))

    def set_machine_status(
        self,
        user_id: str,
        request_id: str,
        slug: str,
        status: MachineStatus,
        *,
        error: str = "",
        attempts: int | None = None,
    ) -> bool:
        """Move one machine of an open request on; ``error`` replaces its last error, ``attempts`` its count if given.

        Returns:
            False if the machine is published already and stays so.

        Raises:
            RequestClosedError: the request is closed.
        """
        request = self.get(user_id, request_id)
        slugs = [machine.slug for machine in request.machines]
        if slug not in slugs:
            raise ServiceError(f"Request {request_id} has no machine {slug!r}, only {', '.join(slugs)}.")
        machine = f"machines[{slugs.index(slug)}]"
        values: dict[str, Any] = {":slug": slug, ":status": status, ":error": shorten(error, ERROR_LIMIT)}
        change = f"SET {machine}.#status = :status, {machine}.#error = :error, updated_at = :now"
        condition = f"attribute_exists(active) AND {machine}.#slug = :slug"
        if attempts is not None:
            change += f", {machine}.#attempts = :attempts"
            values[":attempts"] = attempts
        if status != "PUBLISHED":
            condition += f" AND {machine}.#status <> :published"
            values[":published"] = "PUBLISHED"
        names = {"#status": "status", "#error": "error", "#slug": "slug"}
        if attempts is not None:
            names["#attempts"] = "attempts"
        if self._update(user_id, request_id, change, condition, values, names):
            return True
        self._explain_closed(self.get(user_id, request_id))
        return False

    def close(self, user_id: str, request_id: str, status: FinalStatus, reason: str = "") -> bool:
        """End the request: nothing is owed any more.  This alone removes ``active``.

        Returns:
            False if the request was closed before; its status and reason then stay as they are.
        """
        closed = self._update(
            user_id,
            request_id,
            "SET #status = :status, reason = :reason, updated_at = :now REMOVE active",
            "attribute_exists(active)",
            {":status": status, ":reason": shorten(reason, ERROR_LIMIT)},
            {"#status": "status"},
        )
        if not closed:
            self.get(user_id, request_id)
        return closed

    def _read(self, user_id: str, sort_key: str) -> dict[str, Any] | None:
        doing = f"read {sort_key!r} of user {user_id!r} from table {self._table.name}"
        return self._table.read(doing, {"user_id": user_id, "request_id": sort_key})

    def _update(
        self,
        user_id: str,
        request_id: str,
        change: str,
        condition: str,
        values: Mapping[str, Any],
        names: Mapping[str, str] | None = None,
    ) -> bool:
        """Apply ``change``; False if ``condition`` does not hold."""
        return self._table.update(
            f"update request {request_id} of user {user_id!r}",
            {"user_id": user_id, "request_id": request_id},
            change,
            condition,
            {**values, ":now": timestamp(datetime.now(UTC))},
            names,
        )

    @staticmethod
    def _explain_closed(request: SensorRequest) -> None:
        if not request.active:
            why = f" ({request.reason})" if request.reason else ""
            raise RequestClosedError(f"Request {request.request_id} is closed as {request.status}{why}.")


def _token_key(token: str) -> str:
    return f"token#{token}"


def _is_cancelled(error: ServiceError) -> bool:
    """Whether a transaction was cancelled because its condition failed or another one was at the same items."""
    cause = error.__cause__
    if not isinstance(cause, ClientError) or code_behind(error) != "TransactionCanceledException":
        return False
    reasons = {reason.get("Code") for reason in cause.response.get("CancellationReasons", [])}
    return bool(reasons & {"ConditionalCheckFailed", "TransactionConflict"})


def _to_item(request: SensorRequest) -> dict[str, Any]:
    item = request.model_dump(exclude={"active"}, exclude_none=True)
    item["machines"] = list(item["machines"])
    return item | ({"active": ACTIVE} if request.active else {})
