"""Tables of rows that are kept for a while."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct


class KeptTable(dynamodb.TableV2):
    """A table that is paid by request, encrypted, can be restored, and forgets rows when their ``expires_at`` is over.

    ``sort`` is the sort key's name, "" for none; ``indexes`` have a partition and a sort key each, all of them texts.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        partition: str,
        sort: str = "",
        indexes: Mapping[str, tuple[str, str]] | None = None,
        removal_policy: RemovalPolicy,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            partition_key=_text(partition),
            sort_key=_text(sort) if sort else None,
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.aws_managed_key(),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires_at",
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=name, partition_key=_text(first), sort_key=_text(second)
                )
                for name, (first, second) in (indexes or {}).items()
            ],
            removal_policy=removal_policy,
        )


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
