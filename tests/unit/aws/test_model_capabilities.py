"""What a model can do: which row an id gets, what the conservative row asks for, and when caching pays."""

from __future__ import annotations

import re

import boto3
import pytest

from defectory.aws.bedrock import _ENDINGS
from defectory.aws.model_capabilities import MODELS, UNKNOWN, ModelCapabilities, capabilities_of
from tests.support.bedrock_server import _LONGEST, _UNFORCED, _UNSAMPLED

HAIKU = "anthropic.claude-haiku-4-5"
ACCOUNT = "arn:aws:bedrock:eu-west-1:123456789012"


@pytest.mark.parametrize(
    ("model_id", "row"),
    [
        ("anthropic.claude-haiku-4-5-20251001-v1:0", HAIKU),
        *((f"{prefix}.anthropic.claude-haiku-4-5-20251001-v1:0", HAIKU) for prefix in ("us", "eu", "apac", "jp", "au")),
        *((f"{prefix}.anthropic.claude-haiku-4-5-20251001-v1:0", HAIKU) for prefix in ("ca", "global", "us-gov", "in")),
        (f"{ACCOUNT}:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0", HAIKU),
        ("arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/amazon.nova-pro-v1:0", "amazon.nova-pro"),
        ("us.anthropic.claude-opus-4-6-v1", "anthropic.claude-opus-4-6"),
        ("global.anthropic.claude-sonnet-5", "anthropic.claude-sonnet-5"),
        ("global.anthropic.claude-sonnet-5-5", "anthropic.claude-sonnet-5-5"),
        ("us.amazon.nova-2-lite-v1:0", "amazon.nova-2-lite"),
        ("us.amazon.nova-lite-v1:0", "amazon.nova-lite"),
        ("amazon.nova-pro-v1:0:300k", "amazon.nova-pro"),
        # What may be another model is another model.
        ("us.anthropic.claude-haiku-6", "unknown"),
        ("us.anthropic.claude-sonnet-5-5-1", "unknown"),
        ("us.anthropic.claude-opus-4-20250514-v1:0", "unknown"),
        ("us.amazon.nova-3-lite-v1:0", "unknown"),
        ("us.amazon.nova-pro-v1:0-of-mine", "unknown"),
        ("us.meta.llama4-maverick-17b-instruct-v1:0", "unknown"),
        (f"{ACCOUNT}:application-inference-profile/a1b2c3d4e5f6", "unknown"),
        ("amazonXnova-pro", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_model_is_known_by_family_and_version_whatever_profile_calls_it(model_id, row):
    assert capabilities_of(model_id).model == row


def test_no_id_has_two_rows():
    ids = [f"us.{row.model}-20260101-v1:0" for row in MODELS]

    assert [capabilities_of(model_id) for model_id in ids] == list(MODELS)


def test_of_an_unknown_model_nothing_is_asked_that_it_could_refuse():
    assert not (UNKNOWN.tools or UNKNOWN.forced_tools or UNKNOWN.strict_tools or UNKNOWN.sampling or UNKNOWN.flex)
    assert UNKNOWN.max_output_tokens is UNKNOWN.cache_min_tokens is None


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.model)
def test_no_row_asks_for_what_its_model_is_known_to_refuse(row):
    assert row.forced_tools != bool(_UNFORCED.search(row.model))
    assert row.sampling != bool(_UNSAMPLED.search(row.model))
    assert row.max_output_tokens <= _LONGEST.get(row.model, 128_000)
    assert not (row.flex and "claude" in row.model)
    assert row.tools or not (row.forced_tools or row.strict_tools)


def test_caching_pays_where_the_prefix_is_long_enough_and_read_often_enough():
    claude = ModelCapabilities("some", cache_min_tokens=1000, cache_write=1.25, cache_read=0.1)

    # 4 calls at once write for 5.0; a 5th reads for 0.1: 5.1 against 5; a 6th makes it 5.2 against 6.
    assert [claude.caching_pays(4000, calls, at_once=4) for calls in (1, 4, 5, 6, 50)] == [False] * 3 + [True] * 2
    assert not claude.caching_pays(3999, 50, at_once=4)
    # Writing costs nothing more: 4 + 0.25 against 5.
    nova = ModelCapabilities("some", cache_min_tokens=1000, cache_write=1.0, cache_read=0.25)
    assert [nova.caching_pays(4000, calls, at_once=4) for calls in (1, 4, 5)] == [False, False, True]
    assert not UNKNOWN.caching_pays(10**6, 50, at_once=4)


def test_every_end_of_an_answer_that_the_service_knows_is_handled():
    client = boto3.client("bedrock-runtime", region_name="us-east-1")

    assert set(client.meta.service_model.shape_for("StopReason").enum) == set(_ENDINGS)


def test_the_table_is_dated_and_names_its_sources():
    from defectory.aws import model_capabilities

    assert str(model_capabilities.READ_UNTIL) in model_capabilities.__doc__
    assert len(re.findall(r"docs\.aws\.amazon\.com", model_capabilities.__doc__)) >= 4
