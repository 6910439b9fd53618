"""``defectory aws destroy``: the deployment and all its data, gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.output import complain, counted, print_json, remark
from defectory.errors import require_extra

if TYPE_CHECKING:
    from defectory.aws.teardown import Deployment

_KINDS = {
    "AWS::S3::Bucket": "bucket",
    "AWS::DynamoDB::GlobalTable": "table",
    "AWS::SQS::Queue": "queue",
    "AWS::Logs::LogGroup": "log group",
    "AWS::KMS::Key": "key",
    "AWS::SageMaker::ModelPackageGroup": "model registry",
    "CodeCommit repository": "repository",
}


def destroy(
    name: Annotated[str, typer.Option(help="The deployment's name, as its setting `name`.")] = "defectory",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was deleted and what stayed as JSON.")] = False,
) -> None:
    """Delete a deployment from the AWS account and region of the environment, with ALL its data.

    Empties the buckets, every version; deletes the stacks, what they retain or retained, endpoints, models and their
    logs.  Keys are gone after seven days.  Nothing of other deployments is touched.  Works in the local cloud as well.

    Example: defectory aws destroy --name defectory
    """
    require_extra("aws")
    from defectory.aws.teardown import Teardown
    from defectory.config import BUDGET_STACK, STACKS

    teardown = Teardown(name, (*STACKS, BUDGET_STACK))
    deployment = teardown.find()
    if not deployment and not as_json:
        typer.echo(f"There is no deployment {name} in this account and region.")
    if deployment and not yes:
        typer.confirm(f"{_described(deployment)}\nDelete all of it? It cannot be brought back.", abort=True, err=True)
    left = teardown.destroy(deployment, remark) if deployment else []
    for reason in left:
        complain(reason)
    if as_json:
        print_json({"stacks": deployment.stacks, "left": left})
    elif deployment and not left:
        typer.echo(f"Deleted: {', '.join(deployment.stacks) or 'what was left of it'}.")
    if left:
        raise typer.Exit(1)


def _described(deployment: Deployment) -> str:
    """What is about to be deleted, for people to decide."""
    held = [counted(len(names), noun) for kind, noun in _KINDS.items() if (names := deployment.of_type(kind))]
    made = {"endpoint": deployment.endpoints, "model": deployment.models}
    held += [counted(len(names), noun) for noun, names in made.items() if names]
    stacks = "\n".join(f"  {stack}" for stack in deployment.stacks) or "  no stack"
    return f"{stacks}\nwith {', '.join(held) or 'nothing'}, and everything in them."
