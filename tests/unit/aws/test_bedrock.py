"""Bedrock's adapter, over the wire: what it sends, what it waits for, what it says when it gives up."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.config import Config

from defectory.aws.bedrock import BedrockModel
from defectory.aws.bedrock_runtime import LONGEST_WAIT, READ_TIMEOUT
from defectory.errors import InputError, ServiceError
from tests.support.bedrock_server import (
    DENIED,
    EXPIRED,
    INTERNAL,
    MODEL,
    MODEL_ERROR,
    MODEL_TIMEOUT,
    NO_ON_DEMAND,
    NOT_READY,
    NOT_SUBSCRIBED,
    RETIRED,
    THROTTLED,
    THROTTLED_TODAY,
    TOO_MANY_TOKENS,
    UNAVAILABLE,
    UNKNOWN_MODEL,
    Dropped,
    Failure,
    Garbage,
    Reply,
)


@pytest.fixture
def model(bedrock, nap):
    # Standard mode, because adaptive mode paces threads by the real clock.
    config = Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=0.3)
    client = boto3.client("bedrock-runtime", config=config)
    return BedrockModel(client, MODEL, sleep=nap.sleep, clock=nap)


def test_a_prompt_goes_out_as_a_conversation_of_its_own(bedrock, model):
    bedrock.replies += [Reply("one"), Reply("two")]

    replies = [model.ask("First?", max_tokens=100), model.ask("Second?", max_tokens=None)]

    assert [reply.text for reply in replies] == ["one", "two"]
    assert bedrock.prompts == ["First?", "Second?"]
    assert [request.max_tokens for request in bedrock.requests] == [100, None]
    assert {request.model_id for request in bedrock.requests} == {MODEL}


def test_reasoning_is_left_out_and_text_blocks_are_joined(bedrock, model):
    bedrock.replies.append(Reply(parts=("1. Plasma", " Etcher"), reasoning="1. Toaster"))

    assert model.ask("?", max_tokens=10).text == "1. Plasma Etcher"


def test_tokens_are_told_and_logged(bedrock, model, caplog):
    bedrock.replies.append(Reply("x" * 400))

    with caplog.at_level("INFO"):
        reply = model.ask("y" * 800, max_tokens=500)

    assert (reply.usage.input, reply.usage.output) == (200, 100)
    assert "200 tokens in, 100 out" in caplog.text


@pytest.mark.parametrize(
    ("stop_reason", "ending"),
    [
        ("end_turn", "complete"),
        ("stop_sequence", "complete"),
        ("max_tokens", "truncated"),
        ("tool_use", "complete"),
        ("model_context_window_exceeded", "overflow"),
        ("malformed_tool_use", "malformed"),
        ("content_filtered", "refused"),
        ("guardrail_intervened", "refused"),
        ("malformed_model_output", "malformed"),
        ("some_future_reason", "malformed"),
    ],
)
def test_how_a_reply_ended_is_told(bedrock, model, stop_reason, ending):
    bedrock.replies.append(Reply("text", stop_reason))

    reply = model.ask("?", max_tokens=10)

    assert (reply.ending, reply.stop_reason) == (ending, stop_reason)


def test_an_empty_reply_is_empty_text(bedrock, model):
    bedrock.replies.append(Reply("", "content_filtered"))

    assert model.ask("?", max_tokens=10).text == ""


PASSING = [THROTTLED, NOT_READY, UNAVAILABLE, INTERNAL, MODEL_ERROR, MODEL_TIMEOUT, Dropped(), Garbage(status=502)]


@pytest.mark.parametrize("trouble", PASSING, ids=lambda t: getattr(t, "code", type(t).__name__))
def test_what_passes_is_tried_again_after_a_pause(bedrock, model, nap, trouble):
    bedrock.replies += [trouble, Reply("at last")]

    assert model.ask("?", max_tokens=10).text == "at last"
    assert len(bedrock.requests) == 2
    assert len(nap.waits) == 1
    assert 1 <= nap.waits[0] <= 2


def test_a_slow_answer_is_tried_again(bedrock, model):
    bedrock.replies += [Reply("late", seconds=30), Reply("in time")]

    assert model.ask("?", max_tokens=10).text == "in time"


def test_pauses_grow_and_are_bounded(bedrock, model, nap):
    bedrock.responder = lambda request: THROTTLED

    with pytest.raises(ServiceError):
        model.ask("?", max_tokens=10)

    assert len(bedrock.requests) == 8
    assert nap.waits == sorted(nap.waits[:4]) + nap.waits[4:]
    assert all(LONGEST_WAIT / 2 <= wait <= LONGEST_WAIT for wait in nap.waits[4:])


def test_patience_bounds_the_pauses(bedrock, model, nap):
    bedrock.responder = lambda request: THROTTLED

    with pytest.raises(ServiceError, match="ThrottlingException"):
        model.ask("?", max_tokens=10, patience=10)

    assert nap.now <= 10
    assert 2 <= len(bedrock.requests) <= 5


REPORTS = [
    (THROTTLED, 8, "Ask for higher quotas"),
    (THROTTLED_TODAY, 1, "The day's quota is used up"),
    (NOT_READY, 8, "being made ready"),
    (UNAVAILABLE, 4, "try again later"),
    (INTERNAL, 4, "try again later"),
    (MODEL_TIMEOUT, 2, "took too long"),
    (Dropped(), 3, "Check the network"),
    (Garbage(), 4, "on Bedrock's side"),
    (DENIED, 1, "Allow bedrock:InvokeModel on the inference profile and on the model in every region"),
    (NOT_SUBSCRIBED, 1, "aws-marketplace:Subscribe"),
    (NO_ON_DEMAND, 1, "Name an inference profile"),
    (UNKNOWN_MODEL, 1, "Check the model id"),
    (RETIRED, 1, "retired or not in this region"),
    (EXPIRED, 1, "Renew the AWS credentials"),
    (Failure("ResourceNotFoundException", 404, "Model use case details have not been submitted"), 1, "use-case form"),
    (Failure("ValidationException", 400, "Input is too long for requested model."), 1, "prompt is too long"),
    (Failure("TeapotException", 418, "I am\na teapot"), 1, "TeapotException: I am a teapot. See"),
]


@pytest.mark.parametrize(("trouble", "attempts", "cure"), REPORTS, ids=[cure for _, _, cure in REPORTS])
def test_giving_up_names_model_region_cause_and_cure(bedrock, model, trouble, attempts, cure):
    bedrock.responder = lambda request: trouble

    with pytest.raises(ServiceError) as caught:
        model.ask("?", max_tokens=10)

    message = str(caught.value)
    assert len(bedrock.requests) == attempts
    assert message.startswith(f"Bedrock model {MODEL} in us-east-1 failed")
    assert cure in message
    assert getattr(trouble, "code", "") in message


def test_a_bound_that_the_model_does_not_allow_is_left_to_the_model(bedrock, model, nap):
    bedrock.responder = lambda request: TOO_MANY_TOKENS if request.max_tokens else Reply("whole")

    assert model.ask("?", max_tokens=900).text == "whole"
    assert nap.waits == []


def test_nobody_listening_is_a_service_error(bedrock, nap):
    endpoint = "http://127.0.0.1:9"
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
    client = boto3.client("bedrock-runtime", endpoint_url=endpoint, config=config)

    with pytest.raises(ServiceError, match=r"EndpointConnectionError.*Check the network"):
        BedrockModel(client, MODEL, sleep=nap.sleep).ask("?", max_tokens=10)

    assert len(nap.waits) == 2


def test_missing_credentials_are_a_service_error(bedrock, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")

    with pytest.raises(ServiceError, match=r"NoCredentialsError.*Renew the AWS credentials"):
        BedrockModel.connect(MODEL).ask("?", max_tokens=10)

    assert bedrock.requests == []


def test_an_impossible_model_id_is_a_service_error(bedrock):
    with pytest.raises(ServiceError, match=r"ParamValidationError.*Check the model id"):
        BedrockModel.connect("").ask("?", max_tokens=10)


def test_connecting_without_a_region_says_how_to_name_one(bedrock, monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(InputError, match="Set AWS_REGION"):
        BedrockModel.connect(MODEL)


@pytest.mark.parametrize(("argument", "region"), [("eu-west-1", "eu-west-1"), (None, "ap-south-1")])
def test_the_region_is_the_one_named_or_the_environments(bedrock, monkeypatch, argument, region):
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    assert BedrockModel.connect(MODEL, region=argument).region == region


def test_the_client_paces_itself_and_waits_long_enough_for_a_script(bedrock):
    config = BedrockModel.connect(MODEL)._client.meta.config

    assert config.retries == {"mode": "adaptive", "total_max_attempts": 1}
    assert config.read_timeout == READ_TIMEOUT >= 120
    assert config.connect_timeout <= 10


def test_one_model_serves_many_threads_without_mixing_answers(bedrock):
    together = threading.Barrier(8, timeout=10)

    def answer(request):
        together.wait()  # every thread has a call on the way
        return Reply(f"answer to {request.prompt}")

    bedrock.responder = answer
    model = BedrockModel.connect(MODEL)

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda n: model.ask(f"question {n}", max_tokens=10).text, range(16)))

    assert texts == [f"answer to question {n}" for n in range(16)]
