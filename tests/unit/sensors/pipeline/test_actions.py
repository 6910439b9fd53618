"""The five actions in a row, handing on what the real buildspecs say; and what each needs in its environment."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from defectory.aws.tokens import TokenUsage
from defectory.errors import AuthorError
from defectory.sensors import authors
from defectory.sensors.authors import ScriptTask
from defectory.sensors.authors.catalogue import CatalogueAuthor
from defectory.sensors.pipeline.__main__ import ACTIONS, main
from defectory.sensors.pipeline.artifacts import seed_of
from defectory.sensors.pipeline.finishing import DELIVERED_FILES

BUILDSPECS = Path(__file__).parents[4] / "buildspec"
# As the pipeline wires them: the first input is the source, single outputs have no name in the buildspec.
INPUTS = {
    "write": [],
    "run": ["Scripts"],
    "repair": ["Scripts", "Failures"],
    "rerun": ["RepairedScripts"],
    "publish": ["Scripts", "Datasets", "RepairedScripts", "RerunDatasets"],
}
SINGLE_OUTPUT = {"write": "Scripts", "repair": "RepairedScripts", "rerun": "RerunDatasets"}
SILENT = "def main():\n    pass\n\n\nmain()\n"


@pytest.fixture
def pipeline(tmp_path, monkeypatch, topic):
    """Runs an action as its build project does: in a folder of its own, with its inputs, keeping its outputs."""
    artifacts = tmp_path / "artifacts"

    def act(action, request):
        workplace = tmp_path / action
        workplace.mkdir()
        with monkeypatch.context() as patch:
            patch.chdir(workplace)
            environment = {"REQUEST_USER_ID": request.user_id, "REQUEST_ID": request.request_id}
            if action not in ("run", "rerun"):
                environment["REQUESTS_TABLE"] = "requests"
            if action in ("write", "repair"):
                environment |= {"AUTHOR": "bedrock", "MODEL_ID": "some-model", "PROMPT_STYLE": "library"}
            if action == "publish":
                environment |= {"DATA_BUCKET": "datasets", "ALERTS_TOPIC_ARN": topic}
            environment |= {f"CODEBUILD_SRC_DIR_{name}": str(artifacts / name) for name in INPUTS[action]}
            for name, value in environment.items():
                patch.setenv(name, value)
            code = main([action])
        specified = yaml.safe_load((BUILDSPECS / f"{action}.yml").read_text()).get("artifacts", {})
        single = {SINGLE_OUTPUT[action]: specified} if action in SINGLE_OUTPUT else {}
        outputs = specified.get("secondary-artifacts", single)
        for name, output in outputs.items():
            assert output["files"] == ["**/*"]
            shutil.copytree(workplace / output["base-directory"], artifacts / name)
        return code

    return act


def test_from_a_request_to_datasets_in_the_bucket(pipeline, accept, fake_author, table, objects, sent, monkeypatch):
    # Given an author whose first script holds, whose second one does after a repair, and who fails on the third
    request = accept("Plasma Etcher", "Chemical Mechanical Polisher", "Time Machine")
    script = {
        machine.name: CatalogueAuthor()
        .write_script(ScriptTask("semiconductor", machine.name, 2024, seed_of(7, machine.slug)))
        .source
        for machine in request.machines[:2]
    }
    author = fake_author(
        {
            "Plasma Etcher": [script["Plasma Etcher"]],
            "Chemical Mechanical Polisher": [SILENT, script["Chemical Mechanical Polisher"]],
            "Time Machine": [AuthorError("the model refused")] * 2,
        }
    )
    monkeypatch.setattr(authors, "create_author", lambda name, **options: author)

    # When all actions have run
    for action in ACTIONS:
        assert pipeline(action, request) == 0

    # Then what holds is published, and what does not is told
    closed = table.get(request.user_id, request.request_id)
    assert (closed.status, closed.active) == ("PARTIAL", False)
    assert closed.reason == "1 of 3 machines failed.\nTime Machine: the model refused"
    assert [(machine.status, machine.attempts) for machine in closed.machines] == [
        ("PUBLISHED", 1),
        ("PUBLISHED", 2),
        ("FAILED", 0),
    ]
    prefix = f"ann/{request.request_id}"
    uploaded = objects()
    assert set(uploaded) == {f"{prefix}/index.html"} | {
        f"{prefix}/{slug}/{name}"
        for slug in ("plasma-etcher", "chemical-mechanical-polisher")
        for name in DELIVERED_FILES
    }
    assert uploaded[f"{prefix}/plasma-etcher/generator.py"].decode() == script["Plasma Etcher"]
    assert "Time Machine" in sent()[0][1]
    # And the author was shown what was wrong with the second one
    assert "wrote no file" in next(asked for asked in author.asked if asked[1])[2][0]


def test_what_the_author_spends_is_printed_as_metrics_however_the_work_ended(
    pipeline, accept, fake_author, monkeypatch, capsys
):
    request = accept("Plasma Etcher")

    def create(name, *, on_tokens, **options):
        on_tokens(options["model_id"], options["service_tier"], TokenUsage(input=11, output=5))
        return fake_author({"Plasma Etcher": [AuthorError("the model refused")]})

    monkeypatch.setattr(authors, "create_author", create)
    monkeypatch.setenv("SERVICE_TIER", "flex")
    monkeypatch.setenv("DEPLOYMENT", "line-3")

    pipeline("write", request)

    (metrics,) = (json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{"))
    assert (metrics["service"], metrics["model"], metrics["tier"]) == ("line-3", "some-model", "flex")
    assert (metrics["InputTokens"], metrics["OutputTokens"]) == ([11.0], [5.0])


def test_after_write_failed_on_every_machine_publish_closes_the_request(
    pipeline, accept, fake_author, table, objects, sent, monkeypatch
):
    request = accept("Plasma Etcher", "Wafer Prober")
    author = fake_author({machine.name: [AuthorError("no access to the model")] * 2 for machine in request.machines})
    monkeypatch.setattr(authors, "create_author", lambda name, **options: author)

    for action in ACTIONS:
        assert pipeline(action, request) == 0

    closed = table.get(request.user_id, request.request_id)
    assert (closed.status, closed.active) == ("FAILED", False)
    assert closed.reason.count("no access to the model") == 2
    assert objects() == {}
    assert "FAILED" in sent()[0][0]


@pytest.mark.parametrize(
    ("action", "variable"),
    [
        ("write", "REQUESTS_TABLE"),
        ("run", "CODEBUILD_SRC_DIR_Scripts"),
        ("repair", "REQUESTS_TABLE"),
        ("rerun", "CODEBUILD_SRC_DIR_RepairedScripts"),
        ("publish", "REQUESTS_TABLE"),
    ],
)
def test_a_missing_setting_is_named(action, variable, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith(("CODEBUILD_", "REQUEST"))]:
        monkeypatch.delenv(name)

    assert main([action]) == 2
    assert variable in capsys.readouterr().err


def test_an_author_that_cannot_be_made_fails_the_action(table, monkeypatch, capsys):
    monkeypatch.setenv("REQUESTS_TABLE", "requests")
    monkeypatch.setenv("AUTHOR", "nobody")

    assert main(["write"]) == 2
    assert "author: must be one of bedrock, catalogue, got 'nobody'" in capsys.readouterr().err


def test_an_unknown_request_fails_the_action(table, monkeypatch, capsys):
    for name, value in {
        "REQUESTS_TABLE": "requests",
        "AUTHOR": "catalogue",
        "REQUEST_USER_ID": "ann",
        "REQUEST_ID": "no-such-request",
    }.items():
        monkeypatch.setenv(name, value)

    assert main(["write"]) == 1
    assert "no-such-request" in capsys.readouterr().err


def test_run_loads_nothing_that_reaches_aws():
    code = "import sys; import defectory.sensors.pipeline.running; print('boto3' in sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "False"
