"""Budgets in CloudFormation templates: MiniStack has the service, and no resource of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import budgets
from ministack.services.cloudformation import provisioners

from defectory.local.server.hooks import require

RESOURCE_TYPE = "AWS::Budgets::Budget"
_NOTIFICATIONS = "NotificationsWithSubscribers"


def add_budgets() -> None:
    """Let templates hold budgets.

    As in AWS, other notifications take another budget, which a name of its own forbids
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-budgets-budget.html).
    """
    operations = {verb: require(budgets, f"_{verb}_budget", "data") for verb in ("create", "update", "delete")}
    physical_name = require(provisioners, "_physical_name", "stack_name", "logical_id", "max_len")

    def create(logical_id: str, properties: Mapping[str, Any], stack: str) -> tuple[str, dict[str, str]]:
        name = properties["Budget"].get("BudgetName") or physical_name(stack, logical_id, max_len=100)
        return make(str(name), properties)

    def make(name: str, properties: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        notifications = properties.get(_NOTIFICATIONS, [])
        _call(operations["create"], Budget=_budget(name, properties), **{_NOTIFICATIONS: notifications})
        return name, {}

    def update(name: str, old: Mapping[str, Any], new: Mapping[str, Any], stack: str) -> tuple[str, dict[str, str]]:
        custom_name = new["Budget"].get("BudgetName")
        if old.get(_NOTIFICATIONS) == new.get(_NOTIFICATIONS) and custom_name in (None, name):
            _call(operations["update"], NewBudget=_budget(name, new))
            return name, {}
        if custom_name == name:
            raise ValueError(
                f"CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename {name} "
                "and update the stack again."
            )
        successor = make(str(custom_name or f"{name[:80]}-{int(time.time() * 1000) % 10**9}"), new)
        delete(name, old)
        return successor

    def delete(name: str, _: Mapping[str, Any]) -> None:
        _call(operations["delete"], BudgetName=name)

    require(provisioners, "_RESOURCE_HANDLERS")[RESOURCE_TYPE] = {"create": create, "update": update, "delete": delete}


def _budget(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The budget of a template as the service's API has it, where amounts are texts."""
    budget = {**properties["Budget"], "BudgetName": name}
    if limit := budget.get("BudgetLimit"):
        budget["BudgetLimit"] = {**limit, "Amount": str(limit["Amount"])}
    return budget


def _call(operation: Callable[[dict[str, Any]], tuple[int, Any, bytes]], **parameters: Any) -> None:  # noqa: ANN401
    status, _, reply = operation(parameters)
    if status != 200:
        raise ValueError(json.loads(reply)["message"])
