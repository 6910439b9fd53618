"""Leave for a Distributed Map: a state machine that runs itself for every batch of a manifest in S3.

The CDK's own `DistributedMap` would grant the same from within its definition; ours is a document.  What it needs is in
https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html.
"""

from __future__ import annotations

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.permissions import allow


def grant_distributed_map(
    role: iam.Role, *, machine: str, bucket: s3.IBucket, manifests: str, results: str = ""
) -> None:
    """Let ``role`` run the Distributed Maps of the state machine called ``machine``.

    Args:
        role: what the state machine runs as.
        machine: the state machine's name: its own ARN would make a circle.
        bucket: where manifests and results lie.
        manifests: the pattern of the manifests' keys.
        results: the pattern of the results' keys; "" where results are not written.
    """
    stack = Stack.of(role)
    itself, *children = (
        stack.format_arn(service="states", resource=kind, resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME)
        # AWS's page names the second, and its executions are called like the third.
        for kind, name in (("stateMachine", machine), ("execution", f"{machine}:*"), ("execution", f"{machine}/*"))
    )
    readable = bucket.arn_for_objects(manifests)
    allow(role, ["states:StartExecution"], [itself])
    allow(role, ["states:DescribeExecution", "states:StopExecution"], children)
    allow(role, ["s3:GetObject"], [readable])
    wildcards = [*children, readable]
    if results:
        written = bucket.arn_for_objects(results)
        # What is large goes up in parts; the manifest of the results is read again.
        verbs = ("PutObject", "GetObject", "ListMultipartUploadParts", "AbortMultipartUpload")
        allow(role, [f"s3:{verb}" for verb in verbs], [written])
        wildcards.append(written)
    acknowledge_wildcards(role, wildcards, "The runs of this machine, and their manifests and results, of every user.")
