"""Retries at Bedrock's runtime: how many attempts a failure is worth, how long each is waited for, what it ends in."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from defectory.aws import bedrock_runtime
from defectory.aws.bedrock_runtime import BedrockRuntime, ModelBusyError, ModelRefusedError, identify
from defectory.errors import ServiceError

CLIENT = SimpleNamespace(meta=SimpleNamespace(region_name="us-east-1"))
DENIED = "You don't have access to the model with the specified model ID."


def failure(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Converse")


class Failing:
    """Fails so many times with ``error``, then answers."""

    def __init__(self, error: Exception, times: int = 99) -> None:
        self.error, self.times, self.calls = error, times, 0

    def __call__(self, client: object) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "answer"


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Draws the longest wait each time; the ranges that were drawn from."""
    ranges: list[tuple[float, float]] = []
    monkeypatch.setattr(bedrock_runtime.random, "uniform", lambda low, high: (ranges.append((low, high)), high)[1])
    return ranges


def call(send: Failing, nap, patience: float = 1000.0) -> str:
    return BedrockRuntime(CLIENT, "m", sleep=nap.sleep, clock=nap)._call(send, patience)


def test_waits_double_up_to_half_a_minute_and_up_to_half_of_each_is_left_out_by_chance(nap, longest):
    send = Failing(failure("ThrottlingException"))

    with pytest.raises(ModelBusyError, match="after 8 attempts"):
        call(send, nap)

    assert nap.waits == [2, 4, 8, 16, 30, 30, 30]
    assert set(longest) == {(0.5, 1.0)}


def test_the_attempt_after_the_last_wait_may_succeed(nap, longest):
    assert call(Failing(failure("ThrottlingException"), times=7), nap) == "answer"


@pytest.mark.parametrize(("patience", "calls"), [(1.9, 1), (2, 2), (5.9, 2), (6, 3), (14, 4)])
def test_no_attempt_is_begun_after_patience_has_run_out(nap, longest, patience, calls):
    # After waits of 2, 4 and 8 seconds the attempts begin at 2, 6 and 14.
    send = Failing(failure("ThrottlingException"))

    with pytest.raises(ModelBusyError):
        call(send, nap, patience)

    assert send.calls == calls


@pytest.mark.parametrize(
    ("error", "calls", "ends_in"),
    [
        (failure("ThrottlingException"), 8, ModelBusyError),
        (failure("TooManyRequestsException"), 8, ModelBusyError),
        (failure("ServiceQuotaExceededException"), 8, ModelBusyError),
        (failure("ThrottlingException", "Too many tokens per day"), 1, ModelRefusedError),
        (failure("ModelNotReadyException"), 8, ModelBusyError),
        (failure("ModelTimeoutException"), 2, ModelBusyError),
        (ReadTimeoutError(endpoint_url="x"), 2, ModelBusyError),
        (EndpointConnectionError(endpoint_url="x"), 3, ServiceError),
        (failure("ServiceUnavailableException"), 4, ModelBusyError),
        (failure("InternalServerException"), 4, ModelBusyError),
        (failure("503"), 4, ModelBusyError),
        (failure("AccessDeniedException", DENIED), 1, ModelRefusedError),
        (failure("ExpiredTokenException"), 1, ModelRefusedError),
        (failure("ValidationException", "The provided model identifier is invalid."), 1, ModelRefusedError),
        (failure("ResourceNotFoundException"), 1, ModelRefusedError),
        # Of what nobody knows, nobody knows whether it passes.
        (failure("TeapotException"), 1, ServiceError),
    ],
    ids=str,
)
def test_each_failure_is_worth_its_attempts_and_ends_in_its_kind(nap, longest, error, calls, ends_in):
    send = Failing(error)

    with pytest.raises(ServiceError) as caught:
        call(send, nap)

    assert send.calls == calls
    assert type(caught.value) is ends_in
    assert ("attempts" in str(caught.value)) is (calls > 1)


def test_the_client_makes_one_attempt_and_lets_many_threads_wait_for_minutes(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    config = BedrockRuntime.connect("m", region="us-east-1")._client.meta.config

    assert config.retries == {"mode": "adaptive", "total_max_attempts": 1}
    assert (config.read_timeout, config.connect_timeout, config.max_pool_connections) == (300, 10, 64)
    assert config.tcp_keepalive


def test_messages_are_sentences_of_five_hundred_letters_at_most():
    assert identify(failure("A", "x" * 600)) == ("A", "x" * 500 + ".")
    assert identify(failure("A", "So\n it  is!")) == ("A", "So it is!")
    assert identify(failure("A", "")) == ("A", "no message.")
    assert identify(ValueError("is it?")) == ("ValueError", "is it?")
