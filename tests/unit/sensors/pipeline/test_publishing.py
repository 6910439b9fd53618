"""Publish: what does not hold is told and never published; cut short and done again, it completes."""

import hashlib
import os

import pytest
from boto3.exceptions import S3UploadFailedError

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.tokens import TokenUsage
from defectory.errors import ServiceError
from defectory.sensors.authors import Script, ScriptTask
from defectory.sensors.contract import check_dataset
from defectory.sensors.dataset import read_manifest
from defectory.sensors.pipeline import publishing
from defectory.sensors.pipeline.artifacts import (
    REQUEST_FILE,
    RUN_FILE,
    MachineOrder,
    RunLog,
    RunRecord,
    WorkOrder,
    write_artifact,
    write_script,
)
from defectory.sensors.pipeline.finishing import DELIVERED_FILES, Origin
from defectory.sensors.pipeline.publishing import Delivery, Round, prepare, publish

ETCHER, PROBER = "plasma-etcher", "wafer-prober"
SCRIPT = Script(
    "def main(): ...\n",
    author="bedrock",
    trusted=False,
    prompt="Simulate",
    model_id="some-model",
    tokens=TokenUsage(input=4, output=3),
    tier="flex",
)


class Killed(BaseException):
    """The machine went away."""


@pytest.fixture
def quick(monkeypatch):
    """Prepare datasets at once and without looking: files of a few bytes that name the attempt they are of."""

    def prepare_at_once(function, jobs, *, seconds):
        for delivery in jobs:
            delivery.folder.mkdir()
            for name in DELIVERED_FILES:
                (delivery.folder / name).write_text(f"{name} of attempt {delivery.origin.attempts}")
            yield delivery, ()

    def index(folder, failures):
        shown = [path.parent.name for path in sorted(folder.glob("*/dataset.json"))]
        (folder / "index.html").write_text(f"{shown} but not {failures}")
        return folder / "index.html"

    monkeypatch.setattr(publishing, "run_isolated", prepare_at_once)
    monkeypatch.setattr(publishing, "write_index", index)


@pytest.fixture
def hand_over(tmp_path):
    """Makes the artifacts of a round: machines to their reasons, () for those whose dataset is in order."""

    def make(request, machines, *, attempt=1):
        scripts, datasets = tmp_path / f"Scripts{attempt}", tmp_path / f"Datasets{attempt}"
        for folder in (scripts, datasets):
            folder.mkdir()
        orders = {m.slug: MachineOrder(name=m.name, slug=m.slug, seed=1, attempts=attempt) for m in request.machines}
        for slug, reasons in machines.items():
            write_script(scripts, slug, SCRIPT)
            if not reasons:
                (datasets / slug).mkdir()
        order = WorkOrder(
            user_id=request.user_id,
            request_id=request.request_id,
            industry=request.industry,
            year=request.year,
            created_at=request.created_at,
            machines=tuple(orders[slug] for slug in machines),
        )
        write_artifact(scripts, REQUEST_FILE, order)
        runs = tuple(RunRecord(slug=slug, reasons=reasons, layers=("seccomp",)) for slug, reasons in machines.items())
        write_artifact(datasets, RUN_FILE, RunLog(machines=runs))
        return Round(scripts, datasets)

    return make


@pytest.fixture
def run_publish(table, bucket, alerts, tmp_path):
    def run(request, *rounds):
        return publish(
            *(table, bucket, alerts, request.user_id, request.request_id),
            rounds=rounds,
            work=tmp_path / "published",
            metrics=DeploymentMetrics("plant"),
        )

    return run


def keys(request, *slugs, index=True):
    prefix = f"{request.user_id}/{request.request_id}"
    found = {f"{prefix}/{slug}/{name}" for slug in slugs for name in DELIVERED_FILES}
    return found | ({f"{prefix}/index.html"} if index else set())


def test_all_machines_published(quick, accept, hand_over, run_publish, objects, sent):
    request = accept("Plasma Etcher", "Wafer Prober")

    closed = run_publish(request, hand_over(request, {ETCHER: (), PROBER: ()}))

    assert (closed.status, closed.active, closed.reason) == ("PUBLISHED", False, "")
    assert {machine.status for machine in closed.machines} == {"PUBLISHED"}
    assert set(objects()) == keys(request, ETCHER, PROBER)
    assert sent() == []


def test_one_machine_failed_leaves_the_request_partial_with_machine_and_reason(
    quick, accept, hand_over, run_publish, objects, sent
):
    request = accept("Plasma Etcher", "Wafer Prober")

    closed = run_publish(request, hand_over(request, {ETCHER: (), PROBER: ("half a year",)}))

    assert (closed.status, closed.active) == ("PARTIAL", False)
    assert closed.reason == "1 of 2 machines failed.\nWafer Prober: half a year"
    assert [(machine.status, machine.error) for machine in closed.machines] == [
        ("PUBLISHED", ""),
        ("FAILED", "half a year"),
    ]
    uploaded = objects()
    assert set(uploaded) == keys(request, ETCHER)
    index = f"['{ETCHER}'] but not {{'Wafer Prober': 'half a year'}}"
    assert uploaded[f"ann/{request.request_id}/index.html"].decode() == index
    ((subject, message),) = sent()
    assert "PARTIAL" in subject
    assert "Wafer Prober" in message
    assert "half a year" in message


def test_all_machines_failed(quick, accept, hand_over, run_publish, objects, sent):
    request = accept("Plasma Etcher", "Wafer Prober")

    closed = run_publish(request, hand_over(request, {ETCHER: ("NaN in row 7",), PROBER: ("half a year",)}))

    assert (closed.status, closed.active) == ("FAILED", False)
    assert "NaN in row 7" in closed.reason
    assert "half a year" in closed.reason
    assert objects() == {}
    assert "FAILED" in sent()[0][0]


def test_a_machine_that_nobody_handed_over_fails(quick, accept, hand_over, run_publish):
    request = accept("Plasma Etcher", "Wafer Prober")

    closed = run_publish(request, hand_over(request, {ETCHER: ()}))

    assert closed.machines[1].error == "No script was handed over."


def test_the_repaired_dataset_counts(quick, accept, hand_over, run_publish, objects):
    request = accept("Plasma Etcher", "Wafer Prober")
    first = hand_over(request, {ETCHER: (), PROBER: ("half a year",)})

    closed = run_publish(request, first, hand_over(request, {PROBER: ()}, attempt=2))

    assert closed.status == "PUBLISHED"
    uploaded = objects()
    prefix = f"ann/{request.request_id}"
    assert uploaded[f"{prefix}/{ETCHER}/data.csv"] == b"data.csv of attempt 1"
    assert uploaded[f"{prefix}/{PROBER}/data.csv"] == b"data.csv of attempt 2"


def test_the_last_reason_counts(quick, accept, hand_over, run_publish):
    request = accept("Plasma Etcher")

    closed = run_publish(
        request,
        hand_over(request, {ETCHER: ("half a year",)}),
        hand_over(request, {ETCHER: ("still half a year",)}, attempt=2),
    )

    assert closed.machines[0].error == "still half a year"


def test_machines_that_the_request_does_not_have_are_not_published(quick, accept, hand_over, run_publish, objects):
    request = accept("Plasma Etcher", "Wafer Prober")
    smuggled = hand_over(request, {ETCHER: (), PROBER: ()})
    other = accept("Plasma Etcher")

    run_publish(other, smuggled)

    assert set(objects()) == keys(other, ETCHER)


def test_manifests_are_uploaded_last_and_the_request_is_closed_last(
    quick, accept, hand_over, run_publish, table, bucket, alerts, monkeypatch
):
    done = []

    def record(target, name, label):
        real = getattr(target, name)

        def recorded(*arguments, **options):
            done.append(label(arguments))
            return real(*arguments, **options)

        monkeypatch.setattr(target, name, recorded)

    record(bucket._client, "upload_file", lambda arguments: arguments[2].split("/", 2)[2])
    record(alerts, "send", lambda _: "alert")
    record(table, "set_machine_status", lambda arguments: " ".join(arguments[2:4]))
    record(table, "close", lambda _: "close")
    request = accept("Plasma Etcher", "Wafer Prober")

    run_publish(request, hand_over(request, {ETCHER: (), PROBER: ("half a year",)}))

    assert done[len(DELIVERED_FILES) - 1 :] == [
        f"{ETCHER}/dataset.json",
        f"{ETCHER} PUBLISHED",
        f"{PROBER} FAILED",
        "index.html",
        "alert",
        "close",
    ]


def break_upload(monkeypatch, bucket, at, error):
    """Make the bucket fail at the upload whose key ends so."""
    real = bucket._client.upload_file

    def upload(path, name, key, **options):
        if key.endswith(at):
            raise error
        return real(path, name, key, **options)

    monkeypatch.setattr(bucket._client, "upload_file", upload)


def test_an_upload_refused_half_way_fails_that_machine_only(
    quick, accept, hand_over, run_publish, bucket, objects, monkeypatch
):
    request = accept("Plasma Etcher", "Wafer Prober")
    break_upload(monkeypatch, bucket, f"{ETCHER}/labels.csv", S3UploadFailedError("SlowDown"))

    closed = run_publish(request, hand_over(request, {ETCHER: (), PROBER: ()}))

    assert closed.status == "PARTIAL"
    assert "SlowDown" in closed.machines[0].error
    assert f"ann/{request.request_id}/{ETCHER}/dataset.json" not in objects()
    assert keys(request, PROBER) <= set(objects())
    assert objects()[f"ann/{request.request_id}/index.html"].startswith(f"['{PROBER}']".encode())


@pytest.mark.parametrize("at", [f"{ETCHER}/data.csv", f"{ETCHER}/dataset.json", f"{PROBER}/events.csv", "index.html"])
def test_killed_in_the_middle_and_done_again_it_completes(
    quick, accept, hand_over, run_publish, table, bucket, objects, sent, monkeypatch, at
):
    # Given a Publish that goes away with its machine in the middle of an upload
    request = accept("Plasma Etcher", "Wafer Prober")
    artifacts = hand_over(request, {ETCHER: (), PROBER: ()})
    with monkeypatch.context() as patch:
        break_upload(patch, bucket, at, Killed())
        with pytest.raises(Killed):
            run_publish(request, artifacts)
    assert table.get(request.user_id, request.request_id).active
    assert f"ann/{request.request_id}/{at}" not in objects()

    # When it is done again
    closed = run_publish(request, artifacts)

    # Then everything is there, once
    assert closed.status == "PUBLISHED"
    assert set(objects()) == keys(request, ETCHER, PROBER)
    assert sent() == []


def test_a_complete_dataset_is_not_replaced(quick, accept, hand_over, run_publish, bucket, objects, monkeypatch):
    # Given a dataset that was complete when Publish was killed
    request = accept("Plasma Etcher", "Wafer Prober")
    with monkeypatch.context() as patch:
        break_upload(patch, bucket, f"{PROBER}/data.csv", Killed())
        with pytest.raises(Killed):
            run_publish(request, hand_over(request, {ETCHER: (), PROBER: ()}))

    # When everything is written and run again
    run_publish(request, hand_over(request, {ETCHER: (), PROBER: ()}, attempt=2))

    # Then it stays what it was: whoever has seen its manifest finds the files that go with it
    assert objects()[f"ann/{request.request_id}/{ETCHER}/data.csv"] == b"data.csv of attempt 1"


def test_published_twice_changes_nothing(quick, accept, hand_over, run_publish, objects, sent):
    request = accept("Plasma Etcher", "Wafer Prober")
    artifacts = hand_over(request, {ETCHER: (), PROBER: ("half a year",)})
    closed = run_publish(request, artifacts)
    before = objects()

    assert run_publish(request, artifacts) == closed
    assert objects() == before
    assert len(sent()) == 1


@pytest.mark.parametrize(
    ("service", "method"), [("table", "set_machine_status"), ("alerts", "send"), ("table", "close")]
)
def test_where_a_service_refuses_the_request_stays_open_for_another_try(
    quick, accept, hand_over, run_publish, table, alerts, monkeypatch, service, method
):
    request = accept("Plasma Etcher", "Wafer Prober")
    artifacts = hand_over(request, {ETCHER: (), PROBER: ("half a year",)})

    def refuse(*arguments, **options):
        raise ServiceError("refused")

    with monkeypatch.context() as patch:
        patch.setattr({"table": table, "alerts": alerts}[service], method, refuse)
        with pytest.raises(ServiceError, match="refused"):
            run_publish(request, artifacts)
    assert table.get(request.user_id, request.request_id).active

    assert run_publish(request, artifacts).status == "PARTIAL"


# ------------------------------------------------------------------ one dataset, for real


@pytest.fixture
def delivery(year_of_data, tmp_path):
    source = tmp_path / "Datasets" / ETCHER
    source.mkdir(parents=True)
    for path in year_of_data.iterdir():
        os.link(path, source / path.name)
    origin = Origin(
        machine="Plasma Etcher <b>",
        slug=ETCHER,
        industry="semiconductor",
        user_id="ann",
        request_id="r1",
        created_at="2026-01-01T00:00:00.000Z",
        script=SCRIPT,
        attempts=2,
        layers=("seccomp",),
    )
    task = ScriptTask("semiconductor", "Plasma Etcher", 2024, seed=3)
    return Delivery(source, tmp_path / "published", task, origin)


def replace(folder, name, edit):
    content = (folder / name).read_text()
    (folder / name).unlink()
    (folder / name).write_text(edit(content))


def test_a_dataset_in_order_is_completed(delivery):
    assert prepare(delivery) == ()

    manifest = read_manifest(delivery.folder)
    assert {path.name for path in delivery.folder.iterdir()} == set(DELIVERED_FILES)
    assert (manifest.slug, manifest.user_id, manifest.request_id, manifest.industry) == (
        ETCHER,
        "ann",
        "r1",
        "semiconductor",
    )
    assert manifest.machine == "Plasma Etcher <b>"
    assert manifest.rows == 366 * 1440
    assert manifest.provenance.attempts == 2
    assert (manifest.provenance.tokens, manifest.provenance.tier) == (TokenUsage(input=4, output=3), "flex")
    assert "4 read, 0 from the cache, 3 written, tier flex" in (delivery.folder / "report.html").read_text()
    assert manifest.provenance.sandbox_layers == ("seccomp",)
    assert manifest.provenance.script_sha256 == hashlib.sha256(SCRIPT.source.encode()).hexdigest()
    assert manifest.provenance.prompt_sha256 == hashlib.sha256(b"Simulate").hexdigest()
    assert all(check.ok for check in manifest.contract)
    assert set(manifest.files) == set(DELIVERED_FILES) - {"dataset.json"}
    for name, entry in manifest.files.items():
        content = (delivery.folder / name).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert "Plasma Etcher <b>" not in (delivery.folder / "report.html").read_text()
    # What users get passes the contract as well
    assert check_dataset(delivery.folder).ok


def test_what_was_tampered_with_after_run_is_found_out(delivery):
    # Given a dataset that Run found in order, or says so
    lines = (delivery.source / "data.csv").read_text().split("\n")
    lines[5] = lines[5].partition(",")[0] + ",nan" * lines[5].count(",")
    replace(delivery.source, "data.csv", lambda _: "\n".join(lines))

    assert prepare(delivery) != ()


def test_half_a_year_is_found_out(delivery):
    replace(delivery.source, "data.csv", lambda content: content[: content.index("2024-07-01")])

    assert prepare(delivery) != ()


def test_links_are_not_followed(delivery):
    (delivery.source / "events.csv").unlink()
    (delivery.source / "events.csv").symlink_to("/etc/passwd")

    assert "events.csv" in prepare(delivery)[0]
