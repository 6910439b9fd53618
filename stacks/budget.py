"""What the account may cost in a month, and who is told before it costs more."""

from __future__ import annotations

from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_budgets as budgets
from constructs import Construct

from defectory.config import Config

# Per cent of the budget, of what was spent and of what the month is going to come to.
NOTIFICATIONS = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))


class Budget(Stack):
    """``alert_email`` is told when the account's month costs, or is going to cost, ``budget_usd_per_month``.

    The whole account's: what models are paid for carries no tags, so that a budget by tags would miss the most.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, **stack: Any) -> None:  # noqa: ANN401
        super().__init__(scope, construct_id, description="Defectory: the account's monthly budget", **stack)
        assert config.budget_usd_per_month is not None
        assert config.alert_email is not None
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                # No name of its own: another address takes another budget, which could not have the same.
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=config.budget_usd_per_month, unit="USD"),
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type=kind,
                        comparison_operator="GREATER_THAN",
                        threshold=per_cent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[
                        budgets.CfnBudget.SubscriberProperty(subscription_type="EMAIL", address=config.alert_email)
                    ],
                )
                for kind, per_cent in NOTIFICATIONS
            ],
        )
