"""Buckets that nobody outside reaches, that take TLS only, and that log who did what."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.constructs.acknowledgements import acknowledge


class SecureBucket(s3.Bucket):
    """A private, encrypted bucket; what was begun and never finished uploading goes after a week.

    ``logs`` is where accesses are logged, None for the bucket of logs itself.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        logs: s3.IBucket | None,
        removal_policy: RemovalPolicy,
        versioned: bool = False,
        lifecycle_rules: Sequence[s3.LifecycleRule] = (),
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=versioned,
            server_access_logs_bucket=logs,
            server_access_logs_prefix=f"{construct_id.lower()}/" if logs else None,
            removal_policy=removal_policy,
            lifecycle_rules=[
                s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(7)),
                *lifecycle_rules,
            ],
        )
        if logs is None:
            acknowledge(self, {"S1": "This bucket holds the access logs; logging its own accesses would never end."})
