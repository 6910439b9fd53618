"""The rules that every listener applies first: what is let in, as a table, and whatever else a header may hold."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from defectory import door
from defectory.door import (
    Authority,
    Door,
    Refused,
    check_bearer,
    content_length,
    is_loopback,
    new_secret,
    peer_user,
)

PORT = 4566
HERE = ("Host", f"localhost:{PORT}")

LET_IN = {
    "localhost": [HERE],
    "upper-case": [("HOST", f"LocalHost:{PORT}")],
    "address": [("Host", f"127.0.0.1:{PORT}")],
    "address-of-the-network": [("Host", f"192.168.1.20:{PORT}")],
    "ipv6": [("Host", f"[::1]:{PORT}")],
    "bucket": [("Host", f"my.bucket.s3.localhost:{PORT}")],
    "allowed": [("Host", "inspection.example")],
    "allowed-at-another-port": [("Host", "inspection.example:8443")],
    "own-page": [HERE, ("Origin", f"http://localhost:{PORT}")],
    "own-page-behind-tls": [("Host", "inspection.example"), ("Origin", "https://inspection.example")],
    "own-script": [HERE, ("Sec-Fetch-Site", "same-origin")],
    "typed-address": [HERE, ("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")],
}
REFUSED = {
    "no-host": ([], "Host"),
    "empty-host": ([("Host", "")], "Host"),
    "two-hosts": ([HERE, ("host", "evil.example")], "Host is there 2 times"),
    "same-host-twice": ([HERE, HERE], "Host is there 2 times"),
    "evil": ([("Host", f"evil.example:{PORT}")], "names that were allowed"),
    "localhost-in-front": ([("Host", f"localhost.evil.example:{PORT}")], "names that were allowed"),
    "address-in-front": ([("Host", f"127.0.0.1.evil.example:{PORT}")], "names that were allowed"),
    "ends-alike": ([("Host", f"evillocalhost:{PORT}")], "names that were allowed"),
    "subdomain-of-allowed": ([("Host", "evil.inspection.example")], "names that were allowed"),
    "other-port": ([("Host", "localhost:80")], "Use that port"),
    "no-port": ([("Host", "127.0.0.1")], "Use that port"),
    "number": ([("Host", f"2130706433:{PORT}")], "no host name"),
    "short-address": ([("Host", f"127.1:{PORT}")], "no host name"),
    "user": ([("Host", f"x@localhost:{PORT}")], "no host name"),
    "tab": ([("Host", f"localhost\t:{PORT}")], "no host name"),
    "dot": ([("Host", f"localhost.:{PORT}")], "no host name"),
    "large-port": ([("Host", "localhost:65536")], "no host name"),
    "superscript-port": ([("Host", "localhost:²")], "no host name"),
    "page": ([HERE, ("Origin", "http://evil.example")], "web pages"),
    "page-of-another-port": ([HERE, ("Origin", "http://localhost:8080")], "web pages"),
    "page-of-another-name": ([HERE, ("Origin", f"http://127.0.0.1:{PORT}")], "web pages"),
    "page-in-a-bucket": ([HERE, ("Origin", f"http://album.localhost:{PORT}")], "web pages"),
    "begins-alike": ([HERE, ("Origin", f"http://localhost:{PORT}.evil.example")], "web pages"),
    "other-scheme": ([HERE, ("Origin", f"ftp://localhost:{PORT}")], "web pages"),
    "sandbox": ([HERE, ("Origin", "null")], "web pages"),
    "empty-origin": ([HERE, ("Origin", "")], "web pages"),
    "two-origins": ([HERE, ("Origin", f"http://localhost:{PORT}"), ("Origin", "null")], "Origin is there 2 times"),
    "image": ([HERE, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")], "web pages"),
    "same-site": ([HERE, ("Sec-Fetch-Site", "same-site")], "web pages"),
    "link": ([HERE, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")], "web pages"),
    "unknown-site": ([HERE, ("Sec-Fetch-Site", "other")], "web pages"),
    "two-sites": ([HERE, ("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")], "there 2 times"),
}
NAVIGATED = [HERE, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]


@pytest.fixture
def rules() -> Door:
    return Door(PORT, frozenset({"inspection.example"}))


@pytest.mark.parametrize("headers", LET_IN.values(), ids=LET_IN.keys())
def test_lets_in(rules: Door, headers: list[tuple[str, str]]) -> None:
    rules.check(headers)


@pytest.mark.parametrize(("headers", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(rules: Door, headers: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(Refused, match=said) as refusal:
        rules.check(headers)
    assert refusal.value.status == 403


def test_a_link_from_elsewhere_opens_what_proves_the_right_to_it(rules: Door) -> None:
    rules.check(NAVIGATED, linked=True)
    for headers in (NAVIGATED[:3], [*NAVIGATED[:3], ("Sec-Fetch-Dest", "iframe")], [*NAVIGATED, ("Origin", "null")]):
        with pytest.raises(Refused):
            rules.check(headers, linked=True)
    with pytest.raises(Refused):
        rules.check(NAVIGATED)


def test_beyond_loopback_any_port_may_be_the_one_that_clients_know() -> None:
    Door(None).check([("Host", "192.168.1.20")])
    with pytest.raises(Refused):
        Door(None).check([("Host", "factory.example")])


def test_where_any_name_leads_here_pages_are_still_kept_out() -> None:
    anywhere = Door(None, None)
    anywhere.check([])
    anywhere.check([("Host", "model.aws.local:8080")])
    with pytest.raises(Refused):
        anywhere.check([("Host", "model.aws.local:8080"), ("Origin", "http://evil.example")])


@given(st.text(max_size=80), st.text(max_size=80))
@example("localhost:4566", "http://localhost:4566")
@example("[::1]:4566", "https://[::1]:4566")
@example("localhost:00004566", "http://localhost:00004566")
def test_whatever_is_let_in_is_an_address_or_localhost_and_its_own_page(host: str, origin: str) -> None:
    try:
        Door(PORT).check([("Host", host), ("Origin", origin)])
    except Refused as refusal:
        # What anybody may have written comes to a terminal as plain characters.
        assert str(refusal).isascii()
        return
    found = Authority.parse(host.strip(" \t"))
    assert found is not None
    assert found.port == PORT
    assert door.is_address(found.host) or found.host == "localhost" or found.host.endswith(".localhost")
    assert origin.strip(" \t").lower().partition("://")[2] == host.strip(" \t").lower()


@given(st.from_regex(r"[a-z0-9.:\[\]@_-]{1,40}", fullmatch=True))
def test_a_host_is_read_as_it_is_written(text: str) -> None:
    found = Authority.parse(text)
    if found is not None:
        host = f"[{found.host}]" if ":" in found.host else found.host
        assert text == host if found.port is None else text.startswith(f"{host}:")


@given(st.text(max_size=60))
@example("Bearer right")
@example("bearer right")
@example("Bearer right right")
@example("Bearer")
def test_only_the_token_itself_is_the_token(value: str) -> None:
    try:
        check_bearer([("Authorization", value)], "right")
    except Refused as refusal:
        assert refusal.status == 401
    else:
        scheme, token = value.split()
        assert (scheme.lower(), token) == ("bearer", "right")


@given(st.text(max_size=40))
@example("9" * 5000)
@example("0" * 5000)
@example("007")
@example("²")
@example("-1")
@example("1_0")
@example("+1")
def test_a_length_is_a_number_of_bytes_or_is_refused(text: str) -> None:
    try:
        length = content_length([("Content-Length", text)], 1000)
    except Refused as refusal:
        assert refusal.status in (400, 413)
    else:
        assert 0 <= length <= 1000
        assert set(text.strip(" \t")) <= set("0123456789")


def test_a_body_of_unknown_length_is_refused() -> None:
    for headers in ([], [("Transfer-Encoding", "chunked")], [("Transfer-Encoding", "x"), ("Content-Length", "1")]):
        with pytest.raises(Refused) as refusal:
            content_length(headers, 1000)
        assert refusal.value.status == 411
    with pytest.raises(Refused, match="2 times"):
        content_length([("Content-Length", "1"), ("Content-Length", "2")], 1000)


def test_secrets_are_long_and_never_the_same() -> None:
    assert new_secret() != new_secret()
    assert len(new_secret()) >= 43


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("", False), ("10.0.0.1", False)],
    ids=["ipv4", "name", "ipv6", "everywhere", "empty", "network"],
)
def test_what_listens_on_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="the kernel does not say here")  # noqa: PTH110
def test_the_kernel_says_whose_process_is_at_the_other_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        served, _ = listener.accept()
        with served:
            here, there = served.getsockname(), served.getpeername()
            assert peer_user(there, here) == peer_user(here, there) == os.geteuid()
