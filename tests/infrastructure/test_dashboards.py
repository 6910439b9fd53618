"""Dashboards: one a stack, of metrics that somebody writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from templates import Template, flat

from defectory.aws import metrics
from stacks.dashboards import FREE_METRICS

STACKS = ("sensor-data", "inspection", "image-synthesis", "detection")


def shown(template: Template) -> dict[str, list[list[Any]]]:
    """The metrics of a stack's dashboard, by the title of the graph."""
    [dashboard] = template.of_type("AWS::CloudWatch::Dashboard").values()
    widgets = json.loads(flat(dashboard["DashboardBody"]))["widgets"]
    return {widget["properties"]["title"]: widget["properties"]["metrics"] for widget in widgets}


def ours(template: Template) -> dict[str, list[dict[str, str]]]:
    """The dimensions in which our own metrics are shown, by name."""
    found: dict[str, list[dict[str, str]]] = {}
    for namespace, name, *rest in (metric for graph in shown(template).values() for metric in graph):
        if namespace == metrics.NAMESPACE:
            texts = [text for text in rest if isinstance(text, str)]
            found.setdefault(name, []).append(dict(zip(texts[::2], texts[1::2], strict=True)))
    return found


def test_every_metric_that_is_written_is_shown_and_no_other(synthesise):
    known = {metric.name: metric for metric in metrics.ALL}

    dashboards = [ours(synthesise(stack)) for stack in STACKS]

    assert set().union(*dashboards) == set(known)
    for dashboard in dashboards:
        for name, graphs in dashboard.items():
            for dimensions in graphs:
                assert set(dimensions) == {metrics.DEPLOYMENT_DIMENSION, *known[name].dimensions}
                assert dimensions[metrics.DEPLOYMENT_DIMENSION] == "defectory"


def test_names_of_metrics_are_unique():
    assert len({metric.name for metric in metrics.ALL}) == len(metrics.ALL)


@pytest.mark.parametrize("stack", STACKS)
def test_dead_letters_and_functions_are_all_there_and_the_dashboard_is_free(synthesise, stack):
    template = synthesise(stack)
    graphs = shown(template)

    dead = [name for name in template.of_type("AWS::SQS::Queue") if "DeadLetters" in name]
    assert len(graphs["Dead letters"]) == len(dead) > 0
    assert len(graphs["Functions: errors"]) == len(template.of_type("AWS::Lambda::Function"))
    assert any(title.startswith("Cost driver") for title in graphs)
    assert sum(map(len, graphs.values())) <= FREE_METRICS


def test_both_tiers_are_shown_where_flex_is_asked_for(synthesise):
    tokens = ours(synthesise(service_tier="flex"))["InputTokens"]

    assert {dimensions["tier"] for dimensions in tokens} == {"default", "flex"}


def test_dashboards_can_be_left_out_and_bear_the_stacks_name(synthesise):
    assert not synthesise(dashboards="false").of_type("AWS::CloudWatch::Dashboard")
    [dashboard] = synthesise("inspection", name="plant7").of_type("AWS::CloudWatch::Dashboard").values()
    assert dashboard["DashboardName"] == "plant7-inspection"
