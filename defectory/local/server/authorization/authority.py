"""The decision whether somebody may do something, AWS's words where not, and the record of what was used.

MiniStack's evaluator decides: identity policies, resource policies, conditions, permissions boundaries and session
policies, as "Policy evaluation logic" in the IAM User Guide has it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam, sts

from defectory.local.server.authorization.evaluation import NotUnderstood
from defectory.local.server.hooks import require
from defectory.local.server.services import Scope

# Parts of names that differ from one use of a permission to the next: ids, digests, times.
_CHANGING = re.compile(r"[0-9a-f]{8,}|\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is: a session of a role, or a user; the operator has no such thing, and may do everything."""

    key: str
    arn: str


@dataclass(frozen=True, slots=True)
class Access:
    """One action on one resource, with the condition keys of the request."""

    action: str
    resource: str = "*"
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def service(self) -> str:
        return self.action.partition(":")[0]


class NotAuthorized(Exception):
    """A denial, in AWS's words."""

    def __init__(self, access: Access, message: str) -> None:
        super().__init__(message)
        self.access = access


class Authority:
    """Decides, and writes down each kind of permission that was used, once, as a line of JSON."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._seen: set[tuple[str, str, str]] = set()
        self._lock = threading.Lock()

    def require(self, caller: Caller, *accesses: Access) -> None:
        """Let pass what ``caller`` may do.

        Raises:
            NotAuthorized: one of ``accesses`` is denied.
        """
        # Nothing leaves this machine, so there is no TLS here; policies that ask for it mean the network.
        _pin_origin("127.0.0.1", secure_transport=True)
        if _is_of_another_role(caller):
            unknown = f"{caller.arn} is a session of a role that is there no more"
            raise NotAuthorized(accesses[0], f"The security token included in the request is invalid: {unknown}")
        for access in accesses:
            region, context = Scope.current().region, complete(access)
            try:
                denied = _enforce(caller.key, access.action, access.service, region, access.resource, context)
            except NotUnderstood as error:
                raise NotAuthorized(access, not_evaluated(caller.arn, access, error)) from None
            if isinstance(denied, _AuthError):
                raise NotAuthorized(access, denied.message)
            if denied:
                raise NotAuthorized(access, _denial(caller, access, denied))
            self._note(caller, access)

    def may(self, caller: Caller, *accesses: Access) -> bool:
        """Whether ``require`` would let pass."""
        try:
            self.require(caller, *accesses)
        except NotAuthorized:
            return False
        return True

    def _note(self, caller: Caller, access: Access) -> None:
        role = caller.arn.split("/")[1]
        kind = (role, access.action, _CHANGING.sub("0", access.resource))
        if kind in self._seen:
            return
        line = json.dumps(
            {"role": role, "action": access.action, "resource": access.resource, "context": dict(access.context)},
            default=str,
        )
        with self._lock:
            if kind not in self._seen:
                self._seen.add(kind)
                with self._record.open("a", encoding="utf-8") as file:
                    file.write(f"{line}\n")


def _is_of_another_role(caller: Caller) -> bool:
    """Whether a role was deleted since, and another made of the same name."""
    session, role = _sessions.get(caller.key), _roles.get(caller.arn.split("/")[1])
    if session is None or role is None or ":assumed-role/" not in caller.arn:
        return False
    return bool(str(session.get("UserId", "")).partition(":")[0] != role["RoleId"])


def complete(access: Access) -> dict[str, Any]:
    """The condition keys of an access, with those that every request of its kind has."""
    via = access.context.get("kms:ViaService")
    return {
        "aws:PrincipalIsAWSService": "false",
        "aws:ViaAWSService": "true" if via else "false",
        **({"aws:CalledVia": [via], "aws:CalledViaLast": via} if via else {}),
        # As for aws:SecureTransport: there is no TLS on this machine, and who asks for it means the network.
        **({"s3:TlsVersion": "1.3"} if access.service == "s3" else {}),
        **({"kms:GrantIsForAWSResource": "false"} if access.action == "kms:CreateGrant" else {}),
        **access.context,
    }


def not_evaluated(who: str, access: Access, error: NotUnderstood) -> str:
    """Why an access is denied about which a policy says what cannot be evaluated here."""
    return (
        f"User: {who} is not authorized to perform: {access.action} on resource: {access.resource} because the local "
        f"cloud cannot evaluate {error}"
    )


def _denial(caller: Caller, access: Access, denied: Any) -> str:  # noqa: ANN401 - MiniStack has no types
    resource = f'"{access.resource}"' if access.service == "s3" else access.resource
    text = f"User: {caller.arn} is not authorized to perform: {access.action} on resource: {resource}"
    if denied.decision == "Deny":
        kind = "a resource-based" if denied.resource_policy_arn else "an identity-based"
        return f"{text} with an explicit deny in {kind} policy"
    return f"{text} because no {_silent_policy(caller, access)} allows the {access.action} action"


def _silent_policy(caller: Caller, access: Access) -> str:
    """Which kind of policy has no word for it, as AWS says: the boundary, or the role's own."""
    principal = _resolve_principal(caller.key, Scope.current().account)
    context = _EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=access.action,
        resource_arn=access.resource,
        region=Scope.current().region,
        service_context={name.lower(): value for name, value in complete(access).items()},
        principal_keys=principal.keys,
    )
    own = _evaluate(context, principal.policies)
    return "permissions boundary" if own.decision == "Allow" and principal.limits else "identity-based policy"


_enforce = require(
    iam_evaluator, "enforce", "access_key_id", "iam_action", "service", "region", "resource_arn", "service_context"
)
_pin_origin = require(iam_evaluator, "pin_request_origin", "source_ip", "secure_transport")
_resolve_principal = require(iam_evaluator, "resolve_principal", "access_key_id", "account_id")
_evaluate = require(iam_evaluator, "evaluate", "ctx", "policies")
_EvalContext = require(iam_evaluator, "EvalContext", "principal_arn", "secure_transport")
_AuthError = require(iam_evaluator, "AuthError", "code", "message")
_sessions = require(sts, "_sessions")
_roles = require(iam, "_roles")
