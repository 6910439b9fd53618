"""Write and Repair: each machine's script is written, checked, corrected once, and its status is told as it changes."""

import pytest

from defectory.errors import AuthorError, ReplyError, ServiceError
from defectory.sensors.dataset import GENERATOR
from defectory.sensors.pipeline import scripting
from defectory.sensors.pipeline.artifacts import (
    FAILURES_FILE,
    REQUEST_FILE,
    RunLog,
    RunRecord,
    WorkOrder,
    read_artifact,
    read_script,
    seed_of,
    write_artifact,
)
from defectory.sensors.pipeline.writing import repair, write
from defectory.sensors.service.requests_table import RequestClosedError

GOOD = "def main():\n    print('good')\n\n\nmain()\n"
BETTER = GOOD.replace("good", "better")
FORBIDDEN = f"import socket\n{GOOD}"
BROKEN = "def main(:\n"


def states(table, request):
    return {machine.slug: machine for machine in table.get(request.user_id, request.request_id).machines}


def order_in(folder):
    return {machine.slug: machine for machine in read_artifact(folder, REQUEST_FILE, WorkOrder).machines}


@pytest.fixture
def run_write(table, tmp_path):
    def run(request, author):
        write(table, author, request.user_id, request.request_id, tmp_path / "Scripts")
        return tmp_path / "Scripts"

    return run


@pytest.fixture
def run_repair(table, tmp_path):
    def run(request, author, *failed):
        failures = tmp_path / "Failures"
        failures.mkdir(exist_ok=True)
        write_artifact(failures, FAILURES_FILE, RunLog(machines=failed))
        out = tmp_path / "RepairedScripts"
        repair(
            table,
            author,
            request.user_id,
            request.request_id,
            scripts=tmp_path / "Scripts",
            failures=failures,
            out=out,
        )
        return out

    return run


def test_every_machine_gets_its_script_and_all_that_run_needs_to_know(accept, fake_author, run_write, table):
    request = accept("Plasma Etcher", "Wafer Prober")

    scripts = run_write(request, fake_author({"Plasma Etcher": [GOOD], "Wafer Prober": [BETTER]}))

    order = read_artifact(scripts, REQUEST_FILE, WorkOrder)
    assert (order.user_id, order.request_id) == (request.user_id, request.request_id)
    assert (order.industry, order.year) == ("semiconductor", 2024)
    assert read_script(scripts, "plasma-etcher").source == GOOD
    assert read_script(scripts, "wafer-prober").source == BETTER
    assert [machine.seed for machine in order.machines] == [seed_of(7, "plasma-etcher"), seed_of(7, "wafer-prober")]
    assert table.get(request.user_id, request.request_id).status == "RUNNING"
    assert {(state.status, state.attempts) for state in states(table, request).values()} == {("RUNNING", 1)}


@pytest.mark.parametrize("first", [FORBIDDEN, BROKEN])
def test_a_script_that_breaks_the_policy_or_does_not_compile_is_corrected_once(accept, fake_author, run_write, first):
    request = accept("Plasma Etcher")
    author = fake_author({"Plasma Etcher": [first, GOOD]})

    scripts = run_write(request, author)

    assert read_script(scripts, "plasma-etcher").source == GOOD
    machine, shown, violations = author.asked[1]
    assert (machine, shown) == ("Plasma Etcher", first)
    assert violations[0].startswith("line 1: ")


def test_a_correction_that_is_refused_is_told_with_the_fault(accept, fake_author, run_write):
    author = fake_author({"Plasma Etcher": [FORBIDDEN, AuthorError("throttled")]})

    reasons = order_in(run_write(accept("Plasma Etcher"), author))["plasma-etcher"].reasons

    assert reasons[0] == "throttled"
    assert "socket" in reasons[1]


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([FORBIDDEN, FORBIDDEN], "socket"),
        ([BROKEN, BROKEN], "line 1: "),
        ([AuthorError("the model refused")], "the model refused"),
        ([ReplyError("no script")], "no script"),
        ([KeyError("output")], "Unexpected KeyError while writing the script: 'output'"),
    ],
)
def test_a_machine_without_a_usable_script_fails_alone(accept, fake_author, run_write, table, replies, reason):
    request = accept("Plasma Etcher", "Wafer Prober")

    scripts = run_write(request, fake_author({"Plasma Etcher": replies, "Wafer Prober": [GOOD]}))

    order = order_in(scripts)
    assert reason in order["plasma-etcher"].reasons[0]
    assert not (scripts / "plasma-etcher").exists()
    assert order["wafer-prober"].reasons == ()
    after = states(table, request)
    assert reason in after["plasma-etcher"].error
    assert (after["plasma-etcher"].status, after["plasma-etcher"].attempts) == ("WRITING", 0)
    assert (after["wafer-prober"].status, after["wafer-prober"].error) == ("RUNNING", "")


def test_writing_again_replaces_what_was_written(accept, fake_author, run_write, table):
    request = accept("Plasma Etcher")
    scripts = run_write(request, fake_author({"Plasma Etcher": [GOOD]}))
    (scripts / "left-over").mkdir()

    run_write(request, fake_author({"Plasma Etcher": [BETTER]}))

    assert read_script(scripts, "plasma-etcher").source == BETTER
    assert not (scripts / "left-over").exists()
    assert states(table, request)["plasma-etcher"].attempts == 1


def test_nothing_is_written_for_a_closed_request(accept, fake_author, run_write, table):
    request = accept("Plasma Etcher")
    table.close(request.user_id, request.request_id, "FAILED", "stopped by hand")
    author = fake_author({"Plasma Etcher": [GOOD]})

    with pytest.raises(RequestClosedError):
        run_write(request, author)
    assert author.asked == []


def test_the_action_fails_when_the_table_does(accept, fake_author, run_write, table, monkeypatch):
    request = accept("Plasma Etcher")

    def refuse(*arguments, **options):
        raise ServiceError("DynamoDB refused")

    monkeypatch.setattr(table, "set_machine_status", refuse)

    with pytest.raises(ServiceError, match="DynamoDB refused"):
        run_write(request, fake_author({"Plasma Etcher": [GOOD]}))


def test_repair_shows_the_author_the_script_and_its_failures(accept, fake_author, run_write, run_repair, table):
    request = accept("Plasma Etcher", "Wafer Prober")
    run_write(request, fake_author({"Plasma Etcher": [GOOD], "Wafer Prober": [GOOD]}))
    author = fake_author({"Plasma Etcher": [BETTER]})

    repaired = run_repair(request, author, RunRecord(slug="plasma-etcher", reasons=("half a year",)))

    assert author.asked == [("Plasma Etcher", GOOD, ("half a year",))]
    assert read_script(repaired, "plasma-etcher").source == BETTER
    assert list(order_in(repaired)) == ["plasma-etcher"]
    assert order_in(repaired)["plasma-etcher"].attempts == 2
    after = states(table, request)
    assert (after["plasma-etcher"].status, after["plasma-etcher"].attempts) == ("RUNNING", 2)
    assert after["wafer-prober"].attempts == 1


def test_repair_tries_again_what_write_did_not_get_written(accept, fake_author, run_write, run_repair, table):
    request = accept("Plasma Etcher")
    run_write(request, fake_author({"Plasma Etcher": [AuthorError("throttled")]}))
    author = fake_author({"Plasma Etcher": [GOOD]})

    repaired = run_repair(request, author)

    assert author.asked == [("Plasma Etcher", None, ())]
    assert order_in(repaired)["plasma-etcher"].reasons == ()
    assert (repaired / "plasma-etcher" / GENERATOR).read_text() == GOOD
    assert states(table, request)["plasma-etcher"].attempts == 1


def test_a_failed_repair_keeps_both_reasons(accept, fake_author, run_write, run_repair, table):
    request = accept("Plasma Etcher")
    run_write(request, fake_author({"Plasma Etcher": [GOOD]}))

    repaired = run_repair(
        request,
        fake_author({"Plasma Etcher": [AuthorError("throttled")]}),
        RunRecord(slug="plasma-etcher", reasons=("half a year",)),
    )

    reasons = ("throttled", "half a year")
    assert order_in(repaired)["plasma-etcher"].reasons == reasons
    assert states(table, request)["plasma-etcher"].error == "; ".join(reasons)


def test_repair_leaves_alone_what_no_script_could_mend(accept, fake_author, run_write, run_repair, table):
    request = accept("Plasma Etcher")
    run_write(request, fake_author({"Plasma Etcher": [GOOD]}))
    author = fake_author({})

    repaired = run_repair(
        request, author, RunRecord(slug="plasma-etcher", reasons=("no sandbox here",), repairable=False)
    )

    assert author.asked == []
    assert order_in(repaired) == {}
    assert table.get(request.user_id, request.request_id).status == "RUNNING"


def test_a_policy_check_that_breaks_is_that_machine_s_failure(accept, fake_author, run_write, monkeypatch):
    def explode(source):
        raise RecursionError("too deep")

    monkeypatch.setattr(scripting, "check_script", explode)

    scripts = run_write(accept("Plasma Etcher"), fake_author({"Plasma Etcher": [GOOD]}))

    assert "Unexpected RecursionError" in order_in(scripts)["plasma-etcher"].reasons[0]
