"""Sessions of roles: who may have one, how long it is good, and for which role."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ministack.services import iam, sts

from defectory.local.server.authorization.authority import Access, Authority, Caller, NotAuthorized
from defectory.local.server.authorization.evaluation import mend_evaluator
from defectory.local.server.authorization.sessions import Sessions
from defectory.local.server.services import Scope, ServiceFault

ACCOUNT = "123456789012"
LAMBDA, STATES = "lambda.amazonaws.com", "states.amazonaws.com"
READING = Access("s3:GetObject", "arn:aws:s3:::album/photo")


@pytest.fixture(autouse=True)
def scope() -> Iterator[None]:
    mend_evaluator()
    with Scope(ACCOUNT, "us-east-1").entered():
        yield
        iam._roles.clear()
        sts._sessions.clear()


def make_role(name: str, number: int = 1, **principal: str) -> str:
    def document(**statement: object) -> str:
        return json.dumps({"Statement": {"Effect": "Allow", **statement}})

    iam._roles[name] = {
        "RoleName": name,
        "RoleId": f"AROA{number}",
        "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
        "AssumeRolePolicyDocument": document(Principal=principal, Action="sts:AssumeRole"),
        "InlinePolicies": {"own": document(Action="s3:*", Resource="*")},
    }
    return str(iam._roles[name]["Arn"])


def test_a_session_of_one_service_is_none_of_another() -> None:
    sessions, role = Sessions(), make_role("reader", Service=LAMBDA)
    session = sessions.of(role, "f", LAMBDA)

    assert sessions.of(role, "f", LAMBDA) is session
    with pytest.raises(ServiceFault, match=r"'states\.amazonaws\.com' to assume the role"):
        sessions.of(role, "f", STATES)


def test_who_is_trusted_no_more_gets_no_session(tmp_path: Path) -> None:
    sessions, role = Sessions(), make_role("reader", Service=LAMBDA)
    sessions.of(role, "f", LAMBDA)
    make_role("reader", Service=STATES)
    with pytest.raises(ServiceFault):
        sessions.of(role, "f", LAMBDA)


def test_a_role_is_assumed_by_another_that_it_trusts() -> None:
    sessions = Sessions()
    pipeline = sessions.of(make_role("pipeline", Service=LAMBDA), "line", LAMBDA)
    trusting = make_role("action", AWS=f"arn:aws:iam::{ACCOUNT}:role/pipeline")

    assert sessions.assumed_by(pipeline, trusting).caller.arn.endswith("assumed-role/action/line")
    for stranger in (make_role("other", AWS=f"arn:aws:iam::{ACCOUNT}:role/elsewhere"), "arn:aws:iam::1:role/none"):
        with pytest.raises(ServiceFault, match="sts:AssumeRole"):
            sessions.assumed_by(pipeline, stranger)


def test_a_session_is_good_until_it_ends_and_for_its_role_alone(tmp_path: Path) -> None:
    authority, sessions = Authority(tmp_path / "record"), Sessions()
    role = make_role("reader", Service=LAMBDA)
    session = sessions.of(role, "f", LAMBDA)
    authority.require(session.caller, READING)

    sts._sessions[session.caller.key]["Expiration"] = time.time() - 1
    with pytest.raises(NotAuthorized, match="expired"):
        authority.require(session.caller, READING)
    sts._sessions[session.caller.key]["Expiration"] = time.time() + 60
    make_role("reader", number=2, Service=LAMBDA)
    with pytest.raises(NotAuthorized, match="a role that is there no more"):
        authority.require(session.caller, READING)
    again = sessions.of(role, "f", LAMBDA)
    assert again is not session
    authority.require(again.caller, READING)
    sessions.end(again)
    assert not authority.may(again.caller, READING)


def test_keys_that_nobody_gave_out_are_refused(tmp_path: Path) -> None:
    make_role("reader", Service=LAMBDA)
    forged = Caller("ASIA0000000000000000", f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/f")
    assert not Authority(tmp_path / "record").may(forged, READING)
