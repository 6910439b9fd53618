"""Rows and mails: one row an upload whatever became of it, and people told once of what they have to know."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from defectory.errors import ServiceError
from defectory.inspection.line.alerts import InspectionMails, InspectionNotifier
from defectory.inspection.line.records import InspectionRecord
from defectory.inspection.line.results_table import ResultsTable
from defectory.line.alerts import GRACE, Pages, digest_text
from defectory.line.records import read_cause
from defectory.line.results_table import CLAIM
from defectory.line.uploads import Upload
from lambdas.record_inspection import handler as record_module
from lambdas.send_alert import handler as alert_module
from lambdas.send_digest import handler as digest_module
from tests.unit.lambdas.inspection.conftest import NOW

MAILS = InspectionMails(Pages("us-east-1", "results"))


def upload_of(key: str = "lot 7/part.png", version: str = "1", attempt: int = 1) -> Upload:
    return Upload(
        bucket="uploads",
        key=key,
        version_id=version,
        size=10,
        uploaded_at="2026-11-21T11:59:00.000Z",
        attempt=attempt,
    )


def made(verdict: str | None = "FAIL", upload: Upload | None = None, **found) -> dict:
    """What the state machine knows after an inspection."""
    upload = upload or upload_of()
    found = {"status": "INSPECTED", "score": 0.8, "confidence": 0.93, "review_threshold": 0.5} | found
    found |= {"fail_threshold": 0.6, "model_version": "3f9a1c2b", "overlay_key": "2026-11-21/x/overlay.jpg"}
    record = InspectionRecord.of(upload, now=NOW, retention=timedelta(days=30), verdict=verdict, **found)
    return {"upload": upload.model_dump(), "record": record.model_dump(mode="json", exclude_none=True)}


@pytest.fixture
def recorded(recorder):
    """Records an inspection and returns its id."""

    def record(verdict: str | None = "FAIL", key: str = "lot 7/part.png", **found) -> str:
        return recorder.record(made(verdict, upload_of(key), **found), NOW)["inspection_id"]

    return record


def sent(topics) -> dict[str, int]:
    return {channel: len(topic.sent) for channel, topic in topics.items()}


@pytest.mark.parametrize(
    ("verdict", "status", "owed", "tell"),
    [
        ("PASS", "INSPECTED", None, False),
        ("REVIEW", "INSPECTED", "review", True),
        ("FAIL", "INSPECTED", "defect", True),
        (None, "UNREADABLE", "review", True),
        (None, "UNSUPPORTED", "review", False),
    ],
)
def test_every_outcome_is_a_row_that_says_who_has_to_know(calling, recorder, results, verdict, status, owed, tell):
    answer = calling(record_module, "recorder", recorder, made(verdict, status=status))

    row = results.get(answer["inspection_id"])
    assert (row.outcome, row.pending_alert) == (verdict or status, owed)
    assert answer == {"inspection_id": row.inspection_id, "outcome": verdict or status, "tell": tell}
    assert (row.key, row.score, row.model_version) == ("lot 7/part.png", 0.8, "3f9a1c2b")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ('{"errorMessage": "The endpoint line does not exist.", "errorType": "EndpointMissingError"}', "not exist"),
        ("", "EndpointMissingError"),
        ("no json", "no json"),
        ("null", "EndpointMissingError"),
        ("x" * 10_000, "xxx"),
    ],
)
def test_an_inspection_that_failed_is_a_row_with_the_reason(recorder, results, cause, words):
    problem = {"error": "EndpointMissingError", "cause": cause}

    answer = recorder.record({"upload": upload_of().model_dump(), "problem": problem}, NOW)

    row = results.get(answer["inspection_id"])
    assert (row.status, row.verdict, row.pending_alert, answer["tell"]) == ("ERROR", None, "review", True)
    assert row.reason.startswith("EndpointMissingError")
    assert words in row.reason
    assert len(row.reason) <= 500


def test_a_state_that_tells_nothing_is_an_error_not_a_silent_pass(recorder):
    with pytest.raises(ValueError, match="neither"):
        recorder.record({"upload": upload_of().model_dump()}, NOW)


def test_recording_again_changes_nothing_also_after_people_were_told(recorder, results, notifier, recorded):
    inspection_id = recorded()
    notifier.notify(inspection_id, NOW)
    before = results.get(inspection_id)

    recorder.record(made("PASS"), NOW)

    assert results.get(inspection_id) == before


def test_a_new_attempt_replaces_the_row_of_the_last(recorder, results):
    problem = {"upload": upload_of().model_dump(), "problem": {"error": "E", "cause": ""}}
    recorder.record(problem, NOW)

    answer = recorder.record(made("PASS", upload_of(attempt=2)), NOW)

    assert results.get(answer["inspection_id"]).outcome == "PASS"
    assert not list(results.pending("review", NOW + timedelta(days=1)))


def test_rows_are_found_by_day_and_by_outcome(recorder, results, recorded):
    for number, verdict in enumerate(["PASS", "FAIL", "PASS", "REVIEW"]):
        recorded(verdict, f"{number}.png")

    assert {row.key for row in results.of_day("2026-11-21")} == {f"{n}.png" for n in range(4)}
    assert {row.key for row in results.of_day("2026-11-21", "PASS")} == {"0.png", "2.png"}
    assert not list(results.of_day("2026-11-20"))


def test_a_table_that_refuses_is_an_error(recorder, dynamodb_client, results):
    dynamodb_client.delete_table(TableName="results")

    with pytest.raises(ServiceError, match="write inspection"):
        recorder.record(made(), NOW)


def test_a_defect_is_told_once_with_file_link_confidence_and_model(calling, notifier, topics, recorded):
    event = {"inspection_id": recorded()}

    assert calling(alert_module, "notifier", notifier, event) == {"told": "SENT"}
    assert calling(alert_module, "notifier", notifier, event) == {"told": "NOTHING OWED"}

    [(subject, text)] = topics["defect"].sent
    assert subject == "FAIL: lot 7/part.png"
    for words in (
        "lot 7/part.png",
        "93.0%",
        "3f9a1c2b",
        "0.8 (REVIEW from 0.5, FAIL from 0.6)",
        event["inspection_id"],
    ):
        assert words in text
    assert "/s3/object/uploads?region=us-east-1&prefix=lot%207%2Fpart.png&versionId=1" in text
    assert "/s3/object/results?region=us-east-1&prefix=2026-11-21%2Fx%2Foverlay.jpg" in text
    assert not topics["review"].sent


@pytest.mark.parametrize(("verdict", "status"), [("REVIEW", "INSPECTED"), (None, "UNREADABLE"), (None, "ERROR")])
def test_what_a_person_has_to_look_at_goes_to_its_own_topic(notifier, topics, recorded, verdict, status):
    notifier.notify(recorded(verdict, status=status), NOW)

    assert sent(topics) == {"defect": 0, "review": 1}


def test_a_good_part_is_not_told_of(notifier, topics, recorded):
    assert notifier.notify(recorded("PASS"), NOW) == "NOTHING OWED"
    assert sent(topics) == {"defect": 0, "review": 0}


def test_a_bad_batch_sends_a_few_mails_and_one_digest(calling, notifier, topics, recorded, monkeypatch):
    ids = [recorded("FAIL", f"{number}.png") for number in range(10)]

    told = [notifier.notify(each, NOW) for each in ids]

    assert told == ["SENT"] * 3 + ["LEFT FOR THE DIGEST"] * 7
    assert notifier.send_digest(NOW + timedelta(hours=1)) == {"defect": 7, "review": 0}
    assert notifier.send_digest(NOW + timedelta(hours=2)) == {"defect": 0, "review": 0}
    subject, text = topics["defect"].sent[-1]
    assert len(topics["defect"].sent) == 4
    assert subject == "7 inspections: 7 FAIL"
    assert all(f"{number}.png" in text for number in range(3, 10))


def test_the_limit_is_for_each_hour_and_each_topic(notifier, topics, recorded):
    for number in range(5):
        notifier.notify(recorded("FAIL", f"{number}.png"), NOW)

    assert notifier.notify(recorded("REVIEW", "r.png"), NOW) == "SENT"
    assert notifier.notify(recorded("FAIL", "later.png"), NOW + timedelta(hours=1)) == "SENT"


def test_stray_files_are_told_of_in_the_digest(calling, notifier, topics, recorded):
    recorded(None, "notes.txt", status="UNSUPPORTED")

    # The handler's clock is the real one, long after the row was made.
    assert calling(digest_module, "notifier", notifier, {}) == {"defect": 0, "review": 1}

    assert "notes.txt" in topics["review"].sent[0][1]


def test_the_digest_leaves_alone_what_the_line_may_still_tell_itself(notifier, topics, recorded):
    recorded()

    assert notifier.send_digest(NOW + GRACE - timedelta(minutes=1)) == {"defect": 0, "review": 0}


def test_a_large_digest_names_some_and_counts_all(notifier, topics, recorded):
    for number in range(60):
        recorded("FAIL", f"{number}.png")

    assert notifier.send_digest(NOW + timedelta(hours=1))["defect"] == 60

    [(subject, text)] = topics["defect"].sent
    assert "60 FAIL" in subject
    assert "and 10 more" in text


def test_a_topic_that_refuses_leaves_people_owed_until_it_takes_the_mail(notifier, topics, recorded, results):
    inspection_id = recorded()
    topics["defect"].error = ServiceError("SNS is down")
    with pytest.raises(ServiceError):
        notifier.notify(inspection_id, NOW)
    assert results.get(inspection_id).pending_alert == "defect"

    with pytest.raises(ServiceError, match="defect"):
        notifier.send_digest(NOW + timedelta(hours=1))
    topics["defect"].error = None

    assert notifier.send_digest(NOW + timedelta(hours=1)) == {"defect": 1, "review": 0}
    assert sent(topics)["defect"] == 1


def test_what_could_not_be_sent_is_told_by_a_retry_at_once(notifier, topics, recorded):
    inspection_id = recorded()
    topics["defect"].error = ServiceError("SNS is down")
    with pytest.raises(ServiceError, match="SNS is down"):
        notifier.notify(inspection_id, NOW)
    topics["defect"].error = None

    assert notifier.notify(inspection_id, NOW + timedelta(seconds=1)) == "SENT"
    assert sent(topics)["defect"] == 1


def test_what_could_not_be_sent_is_told_by_the_next_digest_before_a_claim_runs_out(notifier, topics, recorded):
    moment = NOW + GRACE + timedelta(minutes=1)
    assert moment < NOW + CLAIM
    inspection_id = recorded()
    topics["defect"].error = ServiceError("SNS is down")
    with pytest.raises(ServiceError, match="SNS is down"):
        notifier.notify(inspection_id, NOW)
    topics["defect"].error = None

    assert notifier.send_digest(moment) == {"defect": 1, "review": 0}


def test_what_is_left_for_the_digest_is_told_by_the_next(notifier, topics, recorded):
    told = [notifier.notify(recorded("FAIL", f"{number}.png"), NOW) for number in range(4)]
    assert told[-1] == "LEFT FOR THE DIGEST"

    assert notifier.send_digest(NOW + GRACE + timedelta(minutes=1)) == {"defect": 1, "review": 0}


def test_a_digest_that_could_not_be_sent_is_sent_a_moment_later(notifier, topics, recorded):
    recorded("FAIL", "a.png")
    recorded("FAIL", "b.png")
    moment = NOW + timedelta(hours=1)
    topics["defect"].error = ServiceError("SNS is down")
    with pytest.raises(ServiceError, match="SNS is down"):
        notifier.send_digest(moment)
    topics["defect"].error = None

    assert notifier.send_digest(moment + timedelta(seconds=1)) == {"defect": 2, "review": 0}


def test_while_alerts_cannot_be_counted_nobody_is_told_and_a_retry_tells(notifier, topics, recorded, monkeypatch):
    inspection_id = recorded()
    with monkeypatch.context() as patch:
        patch.setattr(ResultsTable, "take_slot", refusing)
        with pytest.raises(ServiceError, match="throttled"):
            notifier.notify(inspection_id, NOW)
    assert not sent(topics)["defect"]

    assert notifier.notify(inspection_id, NOW + timedelta(seconds=1)) == "SENT"


def refusing(*_: object) -> bool:
    raise ServiceError("DynamoDB throttled")


def test_one_topic_that_refuses_does_not_keep_the_other(notifier, topics, recorded):
    recorded("FAIL", "a.png")
    recorded("REVIEW", "b.png")
    topics["defect"].error = ServiceError("SNS is down")

    with pytest.raises(ServiceError):
        notifier.send_digest(NOW + timedelta(hours=1))

    assert sent(topics)["review"] == 1


def test_two_that_tell_at_once_tell_once(notifier, topics, recorded, results):
    inspection_id = recorded()
    assert results.claim(inspection_id, NOW)

    assert notifier.notify(inspection_id, NOW) == "NOTHING OWED"
    assert not topics["defect"].sent


def test_who_died_while_telling_is_followed_by_the_digest(notifier, topics, recorded, results):
    inspection_id = recorded()
    results.claim(inspection_id, NOW)

    assert notifier.send_digest(NOW + CLAIM - timedelta(minutes=1))["defect"] == 0
    assert notifier.send_digest(NOW + CLAIM + timedelta(minutes=1))["defect"] == 1


def test_a_name_cannot_write_lines_into_a_mail(results, recorded):
    record = results.get(recorded("FAIL", "a.png\nVerdict PASS\u202e.png"))

    subject, text = MAILS.alert(record)

    assert "\n" not in subject
    assert not any(line.startswith("Verdict PASS") for line in text.splitlines())
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("region", "start"),
    [
        ("eu-west-1", "https://eu-west-1.console.aws.amazon.com/"),
        ("cn-north-1", "https://console.amazonaws.cn/"),
        ("us-gov-west-1", "https://console.amazonaws-us-gov.com/"),
    ],
)
def test_links_lead_to_the_console_of_the_partition(region, start):
    assert Pages(region, "results").of("uploads", "a b.png").startswith(start)


def test_rows_and_answers_keep_the_names_that_they_were_written_with(recorder, results, dynamodb_client, notifier):
    # A row as it is in the table of an installation that is updated.
    inspection_id = recorder.record(made("FAIL"), NOW)["inspection_id"]
    key = {"inspection_id": {"S": inspection_id}}

    pending = dynamodb_client.get_item(TableName="results", Key=key)["Item"]
    notifier.notify(inspection_id, NOW)
    notified = dynamodb_client.get_item(TableName="results", Key=key)["Item"]

    assert pending["owed"] == {"S": "defect"}
    assert "owed" not in notified
    assert notified["told_at"] == {"S": results.get(inspection_id).notified_at}
    assert not {"pending_alert", "notified_at"} & {*pending, *notified}
    assert results.get(inspection_id).model_dump(exclude_none=True)["told_at"] == NOW.isoformat(
        timespec="milliseconds"
    ).replace("+00:00", "Z")


# ------------------------------------------------------------------ by figures


@pytest.mark.parametrize(
    ("waited", "notified"), [(timedelta(minutes=10), 0), (timedelta(minutes=10, milliseconds=1), 1)]
)
def test_the_digest_waits_for_ten_minutes(notifier, recorded, waited, notified):
    recorded()

    assert notifier.send_digest(NOW + waited)["defect"] == notified


class ManyRows:
    """A table of so many rows whose alerts are pending, in the order of their numbers; some are claimed by others."""

    def __init__(self, count: int, claimed: int = 0) -> None:
        upload = upload_of()
        record = InspectionRecord.of(upload, now=NOW, retention=timedelta(days=30), status="ERROR")
        self.rows = [record.model_copy(update={"inspection_id": f"{number:04}"}) for number in range(count)]
        self.claimed, self.settled, self.released = claimed, [], []

    def pending(self, channel, before):
        return iter(self.rows if channel == "review" else [])

    def claim(self, inspection_id, now):
        return int(inspection_id) >= self.claimed

    def release(self, inspection_id):
        self.released.append(inspection_id)

    def settle(self, inspection_id, now):
        self.settled.append(inspection_id)


def test_a_mail_of_the_digest_stands_for_a_thousand_inspections(topics):
    table = ManyRows(2001)

    assert InspectionNotifier(table, topics, MAILS, limit=3).send_digest(NOW) == {
        "defect": 0,
        "review": 2001,
    }
    assert [subject.split(" ")[0] for subject, _ in topics["review"].sent] == ["1000", "1000", "1"]
    assert table.settled == [row.inspection_id for row in table.rows]


def test_a_thousand_that_others_are_at_do_not_keep_the_rest_from_being_told(topics):
    table = ManyRows(1002, claimed=1000)

    assert InspectionNotifier(table, topics, MAILS, limit=3).send_digest(NOW)["review"] == 2
    assert table.settled == ["1000", "1001"]


def test_a_digest_names_fifty_and_counts_the_rest():
    def text(count: int) -> str:
        return digest_text(ManyRows(count).rows, MAILS.link)[1]

    assert text(50).count("lot 7/part.png\n") == 50
    assert "more: see" not in text(50)
    assert text(51).count("lot 7/part.png\n") == 50
    assert "... and 1 more: see the table of results." in text(51)


def test_the_limit_itself_is_sent(notifier, topics, recorded):
    told = [notifier.notify(recorded("FAIL", f"{number}.png"), NOW) for number in range(4)]

    assert told == ["SENT", "SENT", "SENT", "LEFT FOR THE DIGEST"]
    assert sent(topics) == {"defect": 3, "review": 0}


def test_a_row_is_kept_for_its_retention_and_names_the_first_attempt():
    event = {key: value for key, value in upload_of().model_dump().items() if key != "attempt"}
    record = InspectionRecord.of(Upload(**event), now=NOW, retention=timedelta(days=30), status="ERROR")

    assert record.expires_at == int(NOW.timestamp()) + 30 * 86_400
    assert record.attempt == 1
    assert InspectionRecord.model_validate(record.model_dump(exclude={"attempt", "shrunk"})) == record
    assert not record.shrunk
    assert record.day == "2026-11-21"
    assert (
        InspectionRecord(**{**record.model_dump(by_alias=False), "pending_alert": "review"}).pending_alert == "review"
    )


@pytest.mark.parametrize(
    ("status", "verdict", "outcome", "channel", "urgent"),
    [
        ("INSPECTED", "PASS", "PASS", None, False),
        ("INSPECTED", "REVIEW", "REVIEW", "review", True),
        ("INSPECTED", "FAIL", "FAIL", "defect", True),
        ("INSPECTED", None, "ERROR", "review", True),
        ("UNREADABLE", None, "UNREADABLE", "review", True),
        ("UNSUPPORTED", None, "UNSUPPORTED", "review", False),
        ("ERROR", None, "ERROR", "review", True),
        # A verdict counts only of what was inspected.
        ("ERROR", "PASS", "ERROR", "review", True),
    ],
)
def test_who_has_to_know_of_what(status, verdict, outcome, channel, urgent):
    record = InspectionRecord.of(upload_of(), now=NOW, retention=timedelta(days=30), status=status, verdict=verdict)

    assert (record.outcome, record.channel, record.is_urgent) == (outcome, channel, urgent)


def test_a_failure_is_told_in_five_hundred_letters():
    assert len(read_cause("E", "x" * 600)) == 500
    assert read_cause("E", "x" * 497) == "E: " + "x" * 497
    assert read_cause("E", '{"errorMessage": ""}') == "E"


@pytest.mark.parametrize(("length", "shown"), [(300, 300), (301, 300)])
def test_a_mail_shows_three_hundred_letters_of_a_name(results, recorded, length, shown):
    record = results.get(recorded("FAIL", "a" * length))

    subject, _ = MAILS.alert(record)

    assert len(subject) == len("FAIL: ") + shown
    assert subject.endswith("a") is (length <= 300)


def test_a_new_row_is_measured_and_the_same_row_again_is_not(recorder, measured):
    # Uploaded at 11:59, recorded at 12:00.
    for _ in range(2):
        recorder.record(made("FAIL"), NOW)

    assert measured("Inspections") == {("FAIL",): [1.0]}
    assert measured("InspectionTime") == {(): [60_000.0]}
    assert measured("InspectionScore") == {(): [0.8]}


def test_what_has_no_score_is_measured_without_one(recorder, measured):
    recorder.record(made(None, status="UNREADABLE", score=None), NOW)

    assert measured("Inspections") == {("UNREADABLE",): [1.0]}
    assert not measured("InspectionScore")


def test_mails_sent_and_mails_over_the_limit_are_measured(calling, notifier, recorded, measured):
    one_an_hour = replace(notifier, limit=1)
    for number in range(3):
        event = {"inspection_id": recorded(key=f"{number}.png")}
        calling(alert_module, "notifier", one_an_hour, event)

    assert measured("AlertsSent") == {(): [1.0]}
    assert measured("AlertsSuppressed") == {(): [1.0, 1.0]}


def test_parts_that_wait_for_a_persons_word_are_counted_every_hour(calling, notifier, results, recorded, measured):
    today = [recorded("REVIEW", key=f"{number}.png") for number in range(3)]
    recorded("FAIL", key="bad.png")
    results.confirm(today[0], label="normal", classes=(), by="ann", note="", now=NOW)

    assert notifier.reviews_waiting(NOW) == 2
    assert notifier.reviews_waiting(NOW + timedelta(days=6)) == 2
    assert notifier.reviews_waiting(NOW + timedelta(days=7)) == 0
    calling(digest_module, "notifier", notifier, {})
    assert set(measured("ReviewsWaiting")) == {()}
