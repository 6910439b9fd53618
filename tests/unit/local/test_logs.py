"""What processes write comes to CloudWatch Logs in requests that it takes."""

from defectory.local.server.limits.rules import RULES
from defectory.local.server.logs import EVENT_LIMIT, batches


def test_requests_are_in_order_and_not_too_large() -> None:
    lines = [(number % 7, "x" * EVENT_LIMIT) for number in range(12)] + [(3, "é"), (1, " ")]

    made = list(batches(lines))

    assert len(made) == 3
    for events in made:
        RULES["logs:PutLogEvents"]({"logEvents": events})
    sent = [(event["timestamp"], event["message"]) for events in made for event in events]
    assert sent == sorted(lines, key=lambda line: line[0])
    assert list(batches([])) == []
