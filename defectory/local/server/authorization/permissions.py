"""What the rest of the cloud asks: sessions of roles, and whether they may do something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ministack.services import cloudwatch_logs

from defectory.local.server.authorization.authority import Access, Authority, NotAuthorized
from defectory.local.server.authorization.sessions import Session, Sessions
from defectory.local.server.hooks import require
from defectory.local.server.services import Scope

# Lets an access pass, or raises ``NotAuthorized``.
Permit = Callable[[Access], None]


@dataclass(frozen=True, slots=True)
class Permissions:
    """The authority, and the sessions that it decides about."""

    authority: Authority
    sessions: Sessions

    def session(self, role_arn: str, name: str, service: str) -> Session:
        """As ``Sessions.of``."""
        return self.sessions.of(role_arn, name, service)

    def require(self, session: Session, *accesses: Access) -> None:
        """As ``Authority.require``."""
        self.authority.require(session.caller, *accesses)

    def permit(self, session: Session) -> Permit:
        """What lets pass what the session may do."""
        return lambda access: self.authority.require(session.caller, access)

    def may_log(self, session: Session, group: str, stream: str) -> bool:
        """Whether the session may write a stream; the services go on without where it may not."""
        of_group = Scope.current().arn("logs", f"log-group:{group}:log-stream:")
        making = () if group in _log_groups else (Access("logs:CreateLogGroup", of_group),)
        writing = (Access(f"logs:{verb}", of_group + stream) for verb in ("CreateLogStream", "PutLogEvents"))
        return self.authority.may(session.caller, *making, *writing)


_log_groups = require(cloudwatch_logs, "_log_groups")

__all__ = ["Access", "NotAuthorized", "Permissions", "Permit", "Session"]
