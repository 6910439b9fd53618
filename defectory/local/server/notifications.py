"""SNS e-mail: a message to a subscriber's address becomes a file in the outbox.

MiniStack only logs them.  A subscription of protocol ``email`` counts as confirmed: nobody gets the mail that asks.
"""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

from ministack.services import sns

from defectory.local import outbox
from defectory.local.server.hooks import replace, require
from defectory.local.server.services import Extension

log = logging.getLogger(__name__)
PROTOCOLS = ("email", "email-json")


class Notifications(Extension):
    """Delivers to e-mail subscriptions."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        topic_of = require(sns, "_topic_by_arn_any_scope")
        text_for = require(sns, "_resolve_message_for_protocol", "message", "message_structure", "protocol")
        matches_filter = require(sns, "_matches_filter_policy")
        envelope = require(sns, "_build_envelope")
        signature = inspect.signature(require(sns, "_fanout", "topic_arn", "msg_id", "message", "subject"))

        @replace(sns, "_fanout", "message_structure", "message_attributes")
        def fan_out(original: Any, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
            original(*arguments, **named)
            sent = signature.bind(*arguments, **named)
            sent.apply_defaults()
            publication = sent.arguments
            topic = topic_of(publication["topic_arn"]) or {"subscriptions": []}
            attributes = publication["message_attributes"] or {}
            for subscription in topic["subscriptions"]:
                protocol = subscription["protocol"]
                if protocol not in PROTOCOLS or not subscription.get("confirmed"):
                    continue
                text = text_for(publication["message"], publication["message_structure"], protocol)
                if not matches_filter(subscription, attributes, text):
                    continue
                if protocol == "email-json":
                    text = envelope(
                        publication["topic_arn"], publication["msg_id"], text, publication["subject"], attributes, False
                    )
                outbox.send(
                    folder,
                    to=subscription["endpoint"],
                    subject=publication["subject"],
                    body=text,
                    topic_arn=publication["topic_arn"],
                    message_id=publication["msg_id"],
                )
