"""Sessions of roles: the temporary keys that functions, builds, jobs, endpoints and services act with."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam, sts

from defectory.local.server.authorization.authority import Caller
from defectory.local.server.authorization.evaluation import NotUnderstood
from defectory.local.server.hooks import require
from defectory.local.server.services import Scope, ServiceFault

_LETTERS = string.ascii_uppercase + string.digits


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a role, known to the cloud until it ends."""

    caller: Caller
    secret: str = field(repr=False)
    token: str = field(repr=False)

    @property
    def keys(self) -> tuple[str, str, str]:
        """Access key, secret and token, to sign requests with."""
        return self.caller.key, self.secret, self.token


class Sessions:
    """The sessions that the cloud gave out; one of each name for a role and a service."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[str, str, str], Session] = {}

    def of(self, role_arn: str, name: str, service: str) -> Session:
        """The session ``name`` of a role that ``service``, such as ``lambda.amazonaws.com``, assumes.

        Raises:
            ServiceFault: there is no such role, or it does not let the service assume it.
        """
        role = _role(role_arn)
        # Asked anew each time: the role may have gone since, or trust another.
        if role is None or not _trusts(role, service):
            raise ServiceFault(
                "ValidationException",
                f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
                f"'{service}' to assume the role.",
            )
        return self._session(role, name, service)

    def assumed_by(self, session: Session, role_arn: str) -> Session:
        """The session of a role that another session assumes, if it may; under the same name.

        Raises:
            ServiceFault: there is no such role, or it does not trust the other.
        """
        role, arn = _role(role_arn), session.caller.arn
        if role is None or not _trusts_principal(role, arn):
            raise ServiceFault(
                "AccessDenied",
                f"User: {arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}",
            )
        return self._session(role, arn.rpartition("/")[2], arn)

    def _session(self, role: Mapping[str, Any], name: str, by: str) -> Session:
        # A role that was made anew is another, whatever its name.
        key = (str(role["RoleId"]), name, by)
        session = self._sessions.get(key)
        # A reset of MiniStack forgets them.
        if session and session.caller.key in _known:
            return session
        account = Scope.current().account
        arn = f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/{name[:64]}"
        # Not derived from anything that is known: whoever has it may sign.
        caller = Caller("ASIA" + "".join(secrets.choice(_LETTERS) for _ in range(16)), arn)
        session = Session(caller, secrets.token_hex(20), secrets.token_urlsafe(48))
        _register(
            caller.key,
            {
                "Arn": arn,
                "UserId": f"{role['RoleId']}:{name[:64]}",
                "AccountId": account,
                "PrincipalType": "AssumedRole",
                "SecretAccessKey": session.secret,
                "SessionToken": session.token,
            },
        )
        self._sessions[key] = session
        return session

    def end(self, session: Session) -> None:
        """Let nobody sign with a session any more."""
        for key in [key for key, other in list(self._sessions.items()) if other is session]:
            self._sessions.pop(key, None)
        _known.pop(session.caller.key, None)


def _role(arn: str) -> Mapping[str, Any] | None:
    role: Mapping[str, Any] | None = _roles.get(arn.rpartition("/")[2])
    return role if role and role["Arn"] == arn else None


def _trusts(role: Mapping[str, Any], service: str) -> bool:
    scope = Scope.current()
    context = _EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="sts:AssumeRole",
        resource_arn=role["Arn"],
        region=scope.region,
        secure_transport=True,
        service_context={"aws:sourceaccount": scope.account},
    )
    document = role["AssumeRolePolicyDocument"]
    return bool(_evaluated(role, lambda: _evaluate(document, context, service=service).decision) == "Allow")


def _trusts_principal(role: Mapping[str, Any], arn: str) -> bool:
    return bool(_evaluated(role, lambda: _trusted(role["AssumeRolePolicyDocument"], arn)))


def _evaluated(role: Mapping[str, Any], evaluate: Callable[[], Any]) -> Any:  # noqa: ANN401
    try:
        return evaluate()
    except NotUnderstood as error:
        raise ServiceFault(
            "ValidationException", f"The local cloud cannot evaluate whom {role['Arn']} trusts: {error}"
        ) from None


_roles = require(iam, "_roles")
_known = require(sts, "_sessions")
_register = require(sts, "register_session", "access_key", "session")
_evaluate = require(iam_evaluator, "evaluate_resource_policy", "doc", "ctx", "service")
_EvalContext = require(iam_evaluator, "EvalContext", "secure_transport", "service_context")
_trusted = require(iam_evaluator, "evaluate_trust_policy", "trust_doc", "caller_arn")
