"""Deploy a cloud assembly (what ``cdk synth`` writes) through boto3 alone: its assets first, then its stacks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from defectory.errors import LocalCloudError
from defectory.local import archives
from defectory.unwinding import temporary_folder

# What ``cdk bootstrap`` leaves in an account.
QUALIFIER = "hnb659fds"
BOOTSTRAP_VERSION = "30"
# AWS CloudFormation: longer templates have to be in S3.
INLINE_LIMIT = 51_200
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
GOOD = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})
# A stack in one of these never took shape: it has to go before it can be made.
STILLBORN = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS"})
POLL_SECONDS = 0.05
# In one piece: parts only have to be put together again.
WHOLE = TransferConfig(multipart_threshold=2**31, use_threads=False)


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack of an assembly."""

    name: str
    template: Path
    parameters: Mapping[str, str]
    tags: Mapping[str, str]


def deploy(assembly: Path, client: Callable[[str], BaseClient], account: str, region: str) -> dict[str, dict[str, str]]:
    """Deploy every stack of ``assembly``, each after those that it depends on; return the outputs by stack.

    Args:
        client: makes a boto3 client of a service.

    Raises:
        LocalCloudError: the assembly is not one, or needs Docker, or a stack failed; then the message holds its events.
    """
    manifest = _manifest(assembly)
    try:
        deployment = _Deployment(client, account, region)
        deployment.upload_assets(assembly, manifest)
        return {stack.name: deployment.deploy(stack) for stack in _stacks(assembly, manifest)}
    except (ClientError, BotoCoreError) as error:
        raise LocalCloudError(f"Cannot deploy {assembly}: {error}") from error


def _manifest(assembly: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((assembly / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise LocalCloudError(
            f"{assembly} is not a cloud assembly: {error}. Make one with 'cdk synth' or 'python app.py'."
        ) from error
    return dict(manifest["artifacts"])


def _stacks(assembly: Path, artifacts: Mapping[str, Any]) -> Iterator[Stack]:
    """The stacks, each after those that it depends on."""
    visited: set[str] = set()

    def visit(artifact_id: str) -> Iterator[Stack]:
        artifact = artifacts[artifact_id]
        if artifact_id in visited:
            return
        visited.add(artifact_id)
        for dependency in artifact.get("dependencies", []):
            yield from visit(dependency)
        if artifact["type"] == "aws:cloudformation:stack":
            properties = artifact["properties"]
            yield Stack(
                name=properties.get("stackName") or artifact_id,
                template=assembly / properties["templateFile"],
                parameters=properties.get("parameters") or {},
                tags=properties.get("tags") or {},
            )

    for artifact_id in artifacts:
        yield from visit(artifact_id)


class _Deployment:
    def __init__(self, client: Callable[[str], BaseClient], account: str, region: str) -> None:
        self._s3 = client("s3")
        self._ssm = client("ssm")
        self._stacks = client("cloudformation")
        self._account = account
        self._region = region
        self._bucket = f"cdk-{QUALIFIER}-assets-{account}-{region}"
        self._bootstrap()

    def _bootstrap(self) -> None:
        where = {} if self._region == "us-east-1" else {"LocationConstraint": self._region}
        try:
            self._s3.create_bucket(Bucket=self._bucket, **({"CreateBucketConfiguration": where} if where else {}))
            self._s3.put_bucket_versioning(Bucket=self._bucket, VersioningConfiguration={"Status": "Enabled"})
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
                raise
        name = f"/cdk-bootstrap/{QUALIFIER}/version"
        self._ssm.put_parameter(Name=name, Value=BOOTSTRAP_VERSION, Type="String", Overwrite=True)

    def upload_assets(self, assembly: Path, artifacts: Mapping[str, Any]) -> None:
        """Upload the files of every asset that is not there yet; their names tell their content."""
        for artifact in artifacts.values():
            if artifact["type"] != "cdk:asset-manifest":
                continue
            assets = json.loads((assembly / artifact["properties"]["file"]).read_text())
            if assets.get("dockerImages"):
                raise LocalCloudError(f"{assembly} has container images as assets, which the local cloud cannot build.")
            for asset in assets["files"].values():
                for destination in asset["destinations"].values():
                    self._upload(assembly, asset["source"], destination)

    def _upload(self, assembly: Path, source: Mapping[str, str], destination: Mapping[str, str]) -> None:
        bucket, key = self._expand(destination["bucketName"]), self._expand(destination["objectKey"])
        listing = self._s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        if any(entry["Key"] == key for entry in listing.get("Contents", [])):
            return
        path = assembly / source["path"]
        if source["packaging"] != "zip":
            self._s3.upload_file(str(path), bucket, key)
            return
        with temporary_folder("defectory-asset-") as folder:
            packed = folder / "asset.zip"
            files = sorted(file for file in path.rglob("*") if file.is_file())
            archives.write(packed, ((file, file.relative_to(path).as_posix()) for file in files))
            self._s3.upload_file(str(packed), bucket, key, Config=WHOLE)

    def deploy(self, stack: Stack) -> dict[str, str]:
        """Create or update a stack and return its outputs."""
        request = {
            "StackName": stack.name,
            "Capabilities": CAPABILITIES,
            "Parameters": [
                {"ParameterKey": name, "ParameterValue": self._expand(value)}
                for name, value in stack.parameters.items()
            ],
            "Tags": [{"Key": name, "Value": value} for name, value in stack.tags.items()],
            **self._template(stack),
        }
        status = self._status(stack.name)
        if status in STILLBORN:
            self._stacks.delete_stack(StackName=stack.name)
            status = self._settled(stack.name)
        try:
            if status is None:
                self._stacks.create_stack(**request)
            else:
                self._stacks.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise LocalCloudError(f"The stack {stack.name} was refused: {error}") from error
        if self._settled(stack.name) not in GOOD:
            raise LocalCloudError(f"The stack {stack.name} could not be deployed:\n{self._failures(stack.name)}")
        (description,) = self._stacks.describe_stacks(StackName=stack.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in description.get("Outputs", [])}

    def _template(self, stack: Stack) -> dict[str, str]:
        text = stack.template.read_text()
        if len(text.encode()) <= INLINE_LIMIT:
            return {"TemplateBody": text}
        key = f"templates/{stack.name}.json"
        self._s3.upload_file(str(stack.template), self._bucket, key)
        return {"TemplateURL": f"{self._s3.meta.endpoint_url}/{self._bucket}/{key}"}

    def _settled(self, name: str) -> str | None:
        while (status := self._status(name)) and status.endswith("IN_PROGRESS") and status not in STILLBORN:
            time.sleep(POLL_SECONDS)
        return status

    def _status(self, name: str) -> str | None:
        try:
            (description,) = self._stacks.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return None if description["StackStatus"] == "DELETE_COMPLETE" else str(description["StackStatus"])

    def _failures(self, name: str) -> str:
        pages = self._stacks.get_paginator("describe_stack_events").paginate(StackName=name)
        events = [event for page in pages for event in page["StackEvents"]]
        failed = [event for event in reversed(events) if event["ResourceStatus"].endswith("FAILED")] or events
        return "\n".join(
            f"  {event['LogicalResourceId']} ({event['ResourceType']}): {event['ResourceStatus']} "
            f"{event.get('ResourceStatusReason', '')}".rstrip()
            for event in failed
        )

    def _expand(self, text: str) -> str:
        """Fill in what an assembly for no particular account leaves open."""
        for placeholder, value in (
            ("${AWS::AccountId}", self._account),
            ("${AWS::Region}", self._region),
            ("${AWS::Partition}", "aws"),
        ):
            text = text.replace(placeholder, value)
        return text
