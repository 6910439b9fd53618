"""A table in DynamoDB whose items are plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.client import BaseClient

from defectory.aws.clients import aws_client, code_behind, service_errors
from defectory.errors import ServiceError

# The smallest number that is not nothing, https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/
# HowItWorks.NamingRulesDataTypes.html
_SMALLEST = 1e-130


class Table:
    """The table of this name.  Every method may raise ``ServiceError``, which says what was being ``doing``."""

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self.name = name
        self.client = client or aws_client("dynamodb")

    def read(self, doing: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The item as it is now; None if there is none."""
        with service_errors(doing):
            reply = self.client.get_item(TableName=self.name, Key=to_dynamodb(key), ConsistentRead=True)
        return from_dynamodb(reply["Item"]) if "Item" in reply else None

    def put(self, doing: str, item: Mapping[str, Any], condition: str, values: Mapping[str, Any]) -> bool:
        """Write a whole item; False if ``condition`` does not hold."""
        request = {
            "Item": to_dynamodb(item),
            **({"ExpressionAttributeValues": to_dynamodb(values)} if values else {}),
        }
        return self._conditionally(doing, self.client.put_item, condition, request)

    def update(
        self,
        doing: str,
        key: Mapping[str, Any],
        change: str,
        condition: str,
        values: Mapping[str, Any],
        names: Mapping[str, str] | None = None,
    ) -> bool:
        """Apply ``change``, an update expression; False if ``condition`` does not hold."""
        request = {
            "Key": to_dynamodb(key),
            "UpdateExpression": change,
            **({"ExpressionAttributeValues": to_dynamodb(values)} if values else {}),
            **({"ExpressionAttributeNames": dict(names)} if names else {}),
        }
        return self._conditionally(doing, self.client.update_item, condition, request)

    def query(
        self,
        doing: str,
        index: str | None,
        condition: str,
        values: Mapping[str, Any],
        **more: Any,  # noqa: ANN401 - boto3's own parameters
    ) -> Iterator[dict[str, Any]]:
        """The items of ``index``, of the table itself if None, that the key ``condition`` holds for, in its order."""
        for page in self.pages(doing, index, condition, values, **more):
            yield from map(from_dynamodb, page["Items"])

    def pages(
        self,
        doing: str,
        index: str | None,
        condition: str,
        values: Mapping[str, Any],
        **more: Any,  # noqa: ANN401 - boto3's own parameters
    ) -> Iterator[dict[str, Any]]:
        """The replies of a query, as many as it takes."""
        start: dict[str, Any] = {}
        while True:
            with service_errors(doing):
                page = self.client.query(
                    TableName=self.name,
                    **({"IndexName": index} if index else {}),
                    KeyConditionExpression=condition,
                    ExpressionAttributeValues=to_dynamodb(values),
                    **more,
                    **start,
                )
            yield page
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _conditionally(self, doing: str, operation: Any, condition: str, request: Mapping[str, Any]) -> bool:  # noqa: ANN401
        try:
            with service_errors(doing):
                operation(TableName=self.name, ConditionExpression=condition, **request)
        except ServiceError as error:
            if code_behind(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True


def to_dynamodb(item: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as DynamoDB's attributes; a float becomes the shortest number that gives the same float back."""
    serialize = TypeSerializer().serialize
    return {name: serialize(_decimal(value)) for name, value in item.items()}


def from_dynamodb(item: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of an item; numbers are ``Decimal``."""
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}


def _decimal(value: Any) -> Any:  # noqa: ANN401
    """The value with decimals for floats, which boto3's serializer does not take."""
    match value:
        case float():
            # What is closer to nothing would have the item refused.
            return Decimal(repr(value)) if abs(value) >= _SMALLEST else Decimal(0)
        case dict():
            return {key: _decimal(inner) for key, inner in value.items()}
        case list():
            return [_decimal(inner) for inner in value]
        case _:
            return value
