"""E-mails that the cloud sent: one .eml file each in a folder, as any mail program opens them."""

from __future__ import annotations

import email
import email.policy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

SENDER = Address("AWS Notifications", "no-reply", "sns.amazonaws.com")
DEFAULT_SUBJECT = "AWS Notification Message"


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail in the outbox."""

    path: Path
    sent_at: str
    to: str
    subject: str
    body: str


def send(folder: Path, *, to: str, subject: str, body: str, topic_arn: str, message_id: str) -> Path:
    """Write an e-mail as SNS sends it, and return its file; file names sort by time."""
    now = datetime.now(UTC)
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["From"] = str(SENDER)
    mail["To"] = to
    # A subject is one line; SNS itself allows no other.
    mail["Subject"] = " ".join((subject or DEFAULT_SUBJECT).split())
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{message_id}@sns.amazonaws.com>"
    mail["X-Amz-Sns-Topic-Arn"] = topic_arn
    mail.set_content(body, charset="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{now:%Y%m%dT%H%M%S%f}-{message_id[:8]}-{hashlib.sha256(to.encode()).hexdigest()[:6]}"
    unfinished = folder / f".{name}"
    unfinished.write_bytes(mail.as_bytes())
    target = folder / f"{name}.eml"
    return unfinished.replace(target)


def mails(folder: Path) -> Iterator[Mail]:
    """The e-mails in the folder, oldest first."""
    for path in sorted(folder.glob("*.eml")):
        with path.open("rb") as file:
            mail = email.message_from_binary_file(file, policy=email.policy.default)
        part = mail.get_body(("plain",))
        yield Mail(
            path=path,
            sent_at=mail["Date"].datetime.isoformat(timespec="seconds"),
            to=str(mail["To"]),
            subject=str(mail["Subject"]),
            body=part.get_content().rstrip("\n") if part else "",
        )
