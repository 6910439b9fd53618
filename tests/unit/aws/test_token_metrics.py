"""Token counts as metrics: lines that CloudWatch Logs reads as such."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.token_metrics import TokenMetrics
from defectory.aws.tokens import TokenUsage


def test_tokens_of_all_threads_become_one_line_for_each_model_and_tier(capsys):
    metrics = TokenMetrics(DeploymentMetrics("line-3"))
    usage = TokenUsage(input=3, output=2, cache_read=5, cache_write=1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: metrics.count("m", "flex" if n % 4 else "default", usage), range(40)))
    assert capsys.readouterr().out == ""
    metrics.flush()

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(line["service"], line["model"], line["tier"]) for line in lines} == {
        ("line-3", "m", "flex"),
        ("line-3", "m", "default"),
    }
    flex = next(line for line in lines if line["tier"] == "flex")
    assert [flex[name] for name in ("InputTokens", "OutputTokens", "CacheReadTokens", "CacheWriteTokens")] == [
        *([90.0], [60.0], [150.0], [30.0])
    ]
    (directive,) = flex["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Defectory"
    assert sorted(directive["Dimensions"][0]) == ["model", "service", "tier"]
    assert {metric["Unit"] for metric in directive["Metrics"]} == {"Count"}


def test_what_was_told_is_not_told_again(capsys):
    metrics = TokenMetrics(DeploymentMetrics("d"))
    metrics.count("m", "default", TokenUsage(input=1))
    metrics.flush()
    capsys.readouterr()

    metrics.flush()

    assert capsys.readouterr().out == ""
