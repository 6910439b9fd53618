"""Run: needs no service, gives every machine its own result, and always leaves its artifacts."""

import pytest

from defectory.errors import InputError
from defectory.sensors.authors import Script
from defectory.sensors.authors.catalogue import CatalogueAuthor
from defectory.sensors.pipeline.artifacts import (
    DATASET_FILES,
    FAILURES_FILE,
    REQUEST_FILE,
    RUN_FILE,
    MachineOrder,
    RunLog,
    WorkOrder,
    read_artifact,
    write_artifact,
    write_script,
)
from defectory.sensors.pipeline.running import run

GOOD = "Plasma Etcher"
NOTHING = "def main():\n    pass\n\n\nmain()\n"
CRASH = "def main():\n    raise ValueError('no pressure')\n\n\nmain()\n"


@pytest.fixture
def run_scripts(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)

    def run_(sources, *orders):
        """Run ``sources`` (slug to script); ``orders`` are machines that Write has failed on."""
        scripts = tmp_path / "Scripts"
        scripts.mkdir(exist_ok=True)
        machines = [
            MachineOrder(name=slug.replace("-", " ").title(), slug=slug, seed=3, attempts=1) for slug in sources
        ]
        order = WorkOrder(
            user_id="ann",
            request_id="r1",
            industry="semiconductor",
            year=2024,
            created_at="2026-01-01T00:00:00.000Z",
            machines=(*machines, *orders),
        )
        for machine in machines:
            source = sources[machine.slug]
            if source is GOOD:
                source = CatalogueAuthor().write_script(order.task(machine)).source
            write_script(scripts, machine.slug, Script(source, author="bedrock", trusted=False))
        write_artifact(scripts, REQUEST_FILE, order)
        run(scripts, datasets=tmp_path / "Datasets", failures=tmp_path / "Failures", work=tmp_path / "work")
        log = read_artifact(tmp_path / "Datasets", RUN_FILE, RunLog)
        failed = read_artifact(tmp_path / "Failures", FAILURES_FILE, RunLog)
        return {record.slug: record for record in log.machines}, {record.slug: record for record in failed.machines}

    return run_


def folders(path):
    return {each.name for each in path.iterdir() if each.is_dir()}


def test_one_machine_s_failure_never_stops_another(run_scripts, tmp_path):
    records, failed = run_scripts({"silent-one": NOTHING, "plasma-etcher": GOOD, "crashing-one": CRASH})

    assert set(failed) == {"silent-one", "crashing-one"}
    assert "no pressure" in failed["crashing-one"].reasons[0]
    assert "wrote no file" in failed["silent-one"].reasons[0]
    assert records["plasma-etcher"].reasons == ()
    assert "seccomp" in records["plasma-etcher"].layers or records["plasma-etcher"].layers
    assert folders(tmp_path / "Datasets") == {"plasma-etcher"}
    assert {path.name for path in (tmp_path / "Datasets" / "plasma-etcher").iterdir()} == set(DATASET_FILES)


def test_nothing_to_run_is_told_as_such(run_scripts, tmp_path):
    unwritten = MachineOrder(name="Plasma Etcher", slug="plasma-etcher", seed=3, reasons=("throttled",))

    assert run_scripts({}, unwritten) == ({}, {})
    assert folders(tmp_path / "Datasets") == set()


def test_running_again_keeps_nothing_of_the_first_time(run_scripts, tmp_path):
    (tmp_path / "Datasets" / "left-over").mkdir(parents=True)

    run_scripts({"silent-one": NOTHING})

    assert folders(tmp_path / "Datasets") == set()


def test_a_script_that_is_not_there_is_that_machine_s_failure(run_scripts):
    lost = MachineOrder(name="Lost", slug="lost", seed=3)

    _, failed = run_scripts({"silent-one": NOTHING}, lost)

    assert "script.json" in failed["lost"].reasons[0]
    assert "wrote no file" in failed["silent-one"].reasons[0]


def test_without_a_work_order_there_is_no_work(tmp_path):
    (tmp_path / "Scripts").mkdir()

    with pytest.raises(InputError, match=r"request\.json"):
        run(
            tmp_path / "Scripts",
            datasets=tmp_path / "Datasets",
            failures=tmp_path / "Failures",
            work=tmp_path / "work",
        )
