"""Requests that fit the model: by botocore's Stubber, whose shapes are the service's, and over the wire."""

from __future__ import annotations

import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ParamValidationError
from botocore.stub import Stubber

from defectory.aws.bedrock import THINKING_TOKENS, BedrockModel, Tool
from defectory.aws.tokens import TokenUsage
from defectory.errors import ServiceError
from tests.support.bedrock_server import Failure, Reply

NOVA = "us.amazon.nova-2-lite-v1:0"
OPUS = "us.anthropic.claude-opus-5-5"
HAIKU = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
NEW = "us.anthropic.claude-haiku-9"
TOOL = Tool("report", "Reports names.", {"names": {"type": "array", "items": {"type": "string"}}})
SCHEMA = {"type": "object", "properties": dict(TOOL.properties), "required": ["names"]}
SPEC = {"name": "report", "description": "Reports names.", "inputSchema": {"json": SCHEMA}}
STRICT = {**SPEC, "inputSchema": {"json": {**SCHEMA, "additionalProperties": False}}, "strict": True}
FORCED = {"tool": {"name": "report"}}
PREFIX, OWN = "rules " * 1000, "task"


def answer(*content, stop_reason="end_turn", **members):
    usage = {"inputTokens": 7, "outputTokens": 5, "totalTokens": 112}
    return {
        "output": {"message": {"role": "assistant", "content": list(content)}},
        "stopReason": stop_reason,
        "usage": {**usage, **members.pop("usage", {})},
        "metrics": {"latencyMs": 1},
        **members,
    }


@pytest.fixture
def stubbed(monkeypatch):
    """Makes a model whose client expects ``request`` alone, and answers ``response``."""
    stubbers = []

    def make(model_id, request, response):
        client = boto3.client("bedrock-runtime", region_name="us-east-1")
        stubber = Stubber(client)
        stubber.add_response("converse", response, {"modelId": model_id, **request})
        stubber.activate()
        stubbers.append(stubber)
        return BedrockModel(client, model_id)

    yield make
    for stubber in stubbers:
        stubber.assert_no_pending_responses()


def text(*blocks):
    return [{"role": "user", "content": list(blocks)}]


REQUESTS = {
    NOVA: {
        "toolConfig": {"tools": [{"toolSpec": SPEC}], "toolChoice": FORCED},
        "serviceTier": {"type": "flex"},
        "inferenceConfig": {"maxTokens": 100, "temperature": 0.0},
    },
    HAIKU: {
        "toolConfig": {"tools": [{"toolSpec": STRICT}], "toolChoice": FORCED},
        "inferenceConfig": {"maxTokens": 100, "temperature": 0.0},
    },
    # It thinks before it answers, refuses a temperature, and cannot be made to call a tool.
    OPUS: {"toolConfig": {"tools": [{"toolSpec": SPEC}]}, "inferenceConfig": {"maxTokens": 100 + THINKING_TOKENS}},
    NEW: {"inferenceConfig": {"maxTokens": 100 + THINKING_TOKENS}},
}


@pytest.mark.parametrize("model_id", REQUESTS)
def test_a_request_asks_for_what_the_model_can_do_and_no_more(stubbed, model_id):
    cached = model_id != NEW
    content = (
        [{"text": PREFIX}, {"cachePoint": {"type": "default"}}, {"text": OWN}] if cached else [{"text": PREFIX + OWN}]
    )
    request = {"messages": text(*content), **REQUESTS[model_id]}
    model = stubbed(model_id, request, answer({"text": "done"}))

    reply = model.ask(PREFIX + OWN, max_tokens=100, tool=TOOL, cached=len(PREFIX), tier="flex")

    assert (reply.text, reply.tool_input, reply.tier) == ("done", None, "default")


def test_what_the_tool_was_called_with_is_told_apart_from_thoughts_and_text(stubbed):
    thought = {"reasoningContent": {"reasoningText": {"text": '{"names": ["Toaster"]}', "signature": "c2ln"}}}
    other = {"toolUse": {"toolUseId": "1", "name": "another", "input": {"names": ["Kettle"]}}}
    call = {"toolUse": {"toolUseId": "2", "name": "report", "input": {"names": ["Etcher"]}}}
    response = answer(
        *(thought, {"text": "I report:"}, other, call),
        stop_reason="tool_use",
        usage={"cacheReadInputTokens": 60, "cacheWriteInputTokens": 40},
        serviceTier={"type": "flex"},
    )
    model = stubbed(NOVA, {"messages": text({"text": "?"}), **REQUESTS[NOVA]}, response)

    reply = model.ask("?", max_tokens=100, tool=TOOL, tier="flex")

    assert (reply.ending, reply.text, reply.tool_input) == ("complete", "I report:", {"names": ["Etcher"]})
    assert reply.usage == TokenUsage(input=7, output=5, cache_read=60, cache_write=40)
    assert reply.tier == "flex"


def test_a_profile_of_ones_own_is_asked_like_the_model_behind_it(bedrock):
    profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"
    bedrock.responder = lambda request: Reply("done")

    BedrockModel.connect(profile).ask("?", max_tokens=10, tool=TOOL)
    BedrockModel.connect(profile, base_model_id="us.amazon.nova-pro-v1:0").ask("?", max_tokens=9000, tool=TOOL)

    cautious, informed = bedrock.requests
    assert "toolConfig" not in cautious.body
    assert informed.tool_choice == FORCED
    assert informed.max_tokens == 5000


REFUSALS = [
    ("This model doesn't support the toolConfig.toolChoice.tool field. Remove it and try again.", "toolChoice"),
    ('tool_choice: type "tool" and "any" are not supported for this model.', "toolChoice"),
    ("This model doesn't support tool use.", "toolConfig"),
    ("`temperature` is deprecated for this model.", "temperature"),
    ("The provided service tier is not supported for this model.", "serviceTier"),
    ("You invoked an unsupported model or your request did not allow prompt caching.", "cachePoint"),
]


@pytest.mark.parametrize(("message", "feature"), REFUSALS, ids=[message[:24] for message, _ in REFUSALS])
def test_what_is_refused_though_the_table_allows_it_is_left_out_from_then_on(bedrock, message, feature):
    def respond(request):
        refused = f'"{feature}"' in json.dumps(request.body)
        return Failure("ValidationException", 400, message) if refused else Reply("done")

    bedrock.responder = respond
    model = BedrockModel.connect(NOVA, sleep=lambda seconds: None)

    for _ in range(2):
        assert model.ask(PREFIX + OWN, max_tokens=9, tool=TOOL, cached=len(PREFIX), tier="flex").text == "done"

    assert len(bedrock.requests) == 3


def test_what_strict_tools_refuse_is_left_out(bedrock):
    bedrock.responder = lambda request: (
        Failure("ValidationException", 400, "tools.0.strict: Extra inputs are not permitted")
        if "strict" in json.dumps(request.body)
        else Reply("done")
    )

    assert BedrockModel.connect(HAIKU).ask("?", max_tokens=9, tool=TOOL).text == "done"
    assert bedrock.requests[-1].body["toolConfig"]["tools"][0]["toolSpec"] == SPEC


def test_an_older_sdk_is_asked_for_what_it_knows():
    """Lambda's own SDK lags behind: given one that knows no tiers, then the standard one is used."""

    class OldClient:
        meta = boto3.client("bedrock-runtime", region_name="us-east-1").meta

        def __init__(self):
            self.requests = []

        def converse(self, **request):
            self.requests.append(request)
            if "serviceTier" in request:
                known = "modelId, messages, system, inferenceConfig, toolConfig"
                raise ParamValidationError(report=f'Unknown parameter in input: "serviceTier", must be one of: {known}')
            return answer({"text": "done"})

    client = OldClient()

    assert BedrockModel(client, NOVA).ask("?", max_tokens=9, tool=TOOL, tier="flex").text == "done"
    assert {"serviceTier"} == set(client.requests[0]) - set(client.requests[1])


def test_a_refusal_of_something_else_is_reported(bedrock):
    bedrock.responder = lambda request: Failure("ValidationException", 400, "The messages are malformed.")

    with pytest.raises(ServiceError, match="messages are malformed"):
        BedrockModel.connect(NOVA).ask("?", max_tokens=9, tool=TOOL)

    assert len(bedrock.requests) == 1


@pytest.mark.parametrize(
    ("model_id", "asked", "bound"),
    [
        ("us.amazon.nova-pro-v1:0", 8000, 5000),
        (NOVA, 8000, 8000),
        (OPUS, 4000, 4000 + THINKING_TOKENS),
        (OPUS, 127_000, 128_000),
        (NEW, 200_000, 200_000 + THINKING_TOKENS),
    ],
)
def test_the_bound_of_an_answer_leaves_room_for_thoughts_and_respects_the_models_own(model_id, asked, bound):
    client = boto3.client("bedrock-runtime", region_name="us-east-1", config=Config())

    assert BedrockModel(client, model_id).bound(asked) == bound
