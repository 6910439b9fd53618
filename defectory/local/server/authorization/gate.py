"""Every request that comes over the wire is authorized where MiniStack hands it to a service.

There, not at the door, because only there it is certain which service answers.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace as replace_members
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import iam

from defectory.local.server.authorization import requirements
from defectory.local.server.authorization.authority import Access, Authority, Caller, NotAuthorized, not_evaluated
from defectory.local.server.authorization.evaluation import NotUnderstood
from defectory.local.server.authorization.protocols import Unclear
from defectory.local.server.authorization.requirements import Request
from defectory.local.server.hooks import replace, require
from defectory.local.server.services import Response, Scope

Handler = Callable[..., Awaitable[Response]]

# Who made the request that is under way, until a service has it; nobody, if it is the operator or the cloud itself.
_caller: contextvars.ContextVar[Caller | None] = contextvars.ContextVar("caller", default=None)
_READS = frozenset({"s3:GetObject", "s3:GetObjectVersion"})
# What a session is given lives no longer than it does, and has no more.
_NOT_BY_SESSIONS = frozenset({"sts:GetSessionToken", "sts:GetFederationToken"})
# Beside services MiniStack answers at these, which know no permissions: its own pages, and buckets by host name.
_SIDE_DOORS = ("_handle_pre_body_request", "_handle_post_body_shortcuts", "_handle_special_data_plane_request")
# What MiniStack answers here is its own, past every service.
OWN_PATH = "/_ministack/"


@contextmanager
def calling(caller: Caller | None) -> Iterator[None]:
    """What is handed to MiniStack meanwhile is ``caller``'s request."""
    before = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(before)


class Gate:
    """Stands before every service of MiniStack, those added included."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        handlers = require(app, "SERVICE_HANDLERS")
        for service, handler in list(handlers.items()):
            handlers[service] = self._guarded(service, handler)
        for name in _SIDE_DOORS:
            self._close(name)

    def _guarded(self, service: str, handler: Handler) -> Handler:
        async def guarded(
            method: str, path: str, headers: dict[str, str], body: bytes, query_params: Mapping[str, Any]
        ) -> Response:
            caller = _caller.get()
            if caller is None:
                return await handler(method, path, headers, body, query_params)
            # What the service goes on to do, in threads as well, is its own affair.
            _caller.set(None)
            request = Request(service, method, path, headers, body, query_params)
            try:
                accesses = self._authorize(caller, request)
                response = await handler(method, path, headers, body, query_params)
                self._authorize_absence(caller, accesses, response)
            except NotAuthorized as denial:
                return _denied(request, caller, denial)
            return response

        return guarded

    def _authorize(self, caller: Caller, request: Request) -> list[Access]:
        unknown = Access(f"{request.service}:Unknown")
        refused = f"User: {caller.arn} is not authorized to perform {request.method} {request.path}: the local cloud"
        try:
            accesses = requirements.needed(request)
        except Unclear as error:
            raise NotAuthorized(unknown, f"{refused} cannot tell what it wants: {error}.") from None
        if not accesses:
            raise NotAuthorized(unknown, f"{refused} does not know which permission that needs.")
        first = accesses[0]
        if first.action in _NOT_BY_SESSIONS and caller.key.startswith("ASIA"):
            operation = first.action.partition(":")[2]
            raise NotAuthorized(first, f"Cannot call {operation} with session credentials")
        if first.action.startswith("sts:AssumeRoleWith"):
            raise NotAuthorized(first, f"{refused} knows no identity providers.")
        if first.action not in _ALWAYS:
            self._authority.require(caller, *accesses)
        if first.action == "sts:AssumeRole":
            _check_trust(caller, first, request)
        return accesses

    def _authorize_absence(self, caller: Caller, accesses: list[Access], response: Response) -> None:
        """S3 tells only those who may list a bucket that an object is not there."""
        if response[0] == 404 and accesses[0].action in _READS:
            bucket = accesses[0].resource.partition("/")[0]
            self._authority.require(caller, Access("s3:ListBucket", bucket))

    def _close(self, name: str) -> None:
        @replace(app, name)
        async def unless_a_caller(original: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            return None if _caller.get() else await original(*arguments, **named)


def _check_trust(caller: Caller, access: Access, request: Request) -> None:
    given = parse_qs(request.body.decode("utf-8", "replace")) | dict(request.query)
    names = {"ExternalId": "sts:externalid", "RoleSessionName": "sts:rolesessionname"}
    context = _EvalContext(
        principal_arn=caller.arn,
        principal_type="User" if ":user/" in caller.arn else "AssumedRole",
        principal_account=caller.arn.split(":")[4],
        action=access.action,
        resource_arn=access.resource,
        region=Scope.current().region,
        service_context={key: given[name][0] for name, key in names.items() if given.get(name)},
    )
    actions = [access.action, *(["sts:TagSession"] if any(name.startswith("Tags.") for name in given) else [])]
    role = _roles.get(access.resource.rpartition("/")[2])
    for action in actions:
        try:
            trusted = (
                role is not None
                and role["Arn"] == access.resource
                and _trusted(role["AssumeRolePolicyDocument"], caller.arn, replace_members(context, action=action))
            )
        except NotUnderstood as error:
            raise NotAuthorized(access, not_evaluated(caller.arn, access, error)) from None
        if not trusted:
            raise NotAuthorized(
                access, f"User: {caller.arn} is not authorized to perform: {action} on resource: {access.resource}"
            )


def _denied(request: Request, caller: Caller, denial: NotAuthorized) -> Response:
    response: Response = _denied_response(
        request.service,
        denial.access.action,
        caller.arn,
        str(uuid4()),
        message=str(denial),
        headers=dict(request.headers),
        resource_arn=denial.access.resource,
    )
    return response


_denied_response = require(
    iam_actions,
    "access_denied_response",
    "service",
    "action",
    "principal_arn",
    "request_id",
    "message",
    "headers",
    "resource_arn",
)
_ALWAYS = require(iam_evaluator, "_ALWAYS_ALLOWED_ACTIONS")
_trusted = require(iam_evaluator, "evaluate_trust_policy", "trust_doc", "caller_arn", "ctx")
_EvalContext = require(iam_evaluator, "EvalContext", "principal_arn", "service_context")
_roles = require(iam, "_roles")
