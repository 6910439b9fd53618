"""Where requests meet the limits: behind the gate, since AWS says first what somebody may not do at all.

Requests that the cloud makes itself pass here as well: tasks of state machines, functions that events call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ministack import app
from ministack.core import responses
from ministack.services import cloudwatch, s3, sns, sqs

from defectory.local.server.authorization.requirements import Request, action_of
from defectory.local.server.hooks import require
from defectory.local.server.limits import call, constraints
from defectory.local.server.limits.fault import LimitExceeded
from defectory.local.server.limits.regions import check_region
from defectory.local.server.limits.requests import check_s3, check_size
from defectory.local.server.limits.rules import RULES
from defectory.local.server.limits.templates import limit_templates
from defectory.local.server.services import Response

Handler = Callable[..., Awaitable[Response]]

# Others than Step Functions', which its engine holds.
_UNLIMITED = frozenset({"states"})


def hold_limits() -> None:
    """Stand before every service of MiniStack, those added included, and before the resources of templates."""
    handlers = require(app, "SERVICE_HANDLERS")
    for service, handler in list(handlers.items()):
        if service not in _UNLIMITED:
            handlers[service] = _limited(service, handler)
    limit_templates()


def _limited(service: str, handler: Handler) -> Handler:
    async def limited(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: Mapping[str, Any]
    ) -> Response:
        request = Request(service, method, path, headers, body, query_params)
        try:
            check(request)
        except LimitExceeded as fault:
            return _refusal(request, fault)
        return await handler(method, path, headers, body, query_params)

    return limited


def check(request: Request) -> None:
    """Check a request as it came.

    Raises:
        LimitExceeded: AWS would refuse it.
    """
    if request.service == "s3":
        check_s3(request)
        return
    wanted = call.read(request)
    action = action_of(wanted) or ""
    check_size(action, request)
    members = call.members(wanted) if action in RULES or constraints.known(action) else {}
    check_region(request.service, action, members)
    constraints.check(action, members)
    if action in RULES:
        try:
            RULES[action](members)
        except (AttributeError, TypeError, ValueError):
            raise LimitExceeded("SerializationException", "A parameter is of another type than its model's.") from None


def _refusal(request: Request, fault: LimitExceeded) -> Response:
    code, message, kind = fault.code, str(fault), request.headers.get("content-type", "")
    response: Response
    if request.service == "s3":
        response = _s3_error(code, message, fault.status, resource=request.path, extra=fault.details)
    elif request.service == "sns":
        response = _sns_error(code, message, fault.status)
    elif request.service == "sqs":
        response = (_sqs_json if "json" in kind else _sqs_xml)(code, message, fault.status)
    elif request.service == "monitoring":
        response = _cloudwatch_error(code, message, fault.status, use_json="json" in kind, use_cbor="cbor" in kind)
    else:
        response = _json_error(code, message, fault.status)
    return response


_s3_error = require(s3, "_error", "code", "message", "status", "resource", "extra")
_sns_error = require(sns, "_error", "code", "message", "status")
_sqs_json = require(sqs, "_json_err_resp", "code", "msg", "status")
_sqs_xml = require(sqs, "_xml_err_resp", "code", "msg", "status")
_cloudwatch_error = require(cloudwatch, "_error", "code", "message", "status", "use_json", "use_cbor")
_json_error = require(responses, "error_response_json", "code", "message", "status")
