"""``defectory inspect serve`` and ``detect serve``: the token and the names that they are given, what they print."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from defectory.cli import app
from defectory.errors import InputError, MissingExtraError

FIXED = "a-token-that-stays-the-same"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the server was started with; it ends at once."""
    started: dict[str, Any] = {}

    def serve(model: object, host: str, port: int, **options: Any) -> None:
        started.update(options)
        options["ready"]("http://127.0.0.1:8080")

    loaded = SimpleNamespace(card=SimpleNamespace(version="v1"))
    monkeypatch.setattr("defectory.inspection.model.load_model", lambda _: loaded)
    monkeypatch.setattr("defectory.detection.detectors.detector.load_detector", lambda _: loaded)
    monkeypatch.setattr("defectory.door.models.ModelServer.serve", serve)
    monkeypatch.delenv("DEFECTORY_SERVE_TOKEN", raising=False)
    return started


def run(*arguments: str, group: str = "inspect") -> list[str]:
    done = CliRunner().invoke(app, [group, "serve", "model.tar.gz", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_each_start_makes_a_token_and_prints_how_to_send_it(served: dict[str, Any]) -> None:
    tokens = set()
    for _ in range(2):
        said, export, curl = run()
        assert said == "Serving model v1 at http://127.0.0.1:8080 (Ctrl-C stops it)"
        assert export == f"export DEFECTORY_SERVE_TOKEN={served['token']}"
        assert curl == (
            'echo "Authorization: Bearer $DEFECTORY_SERVE_TOKEN" | '
            'curl -H @- -H "Content-Type: image/png" --data-binary @part.png http://127.0.0.1:8080/invocations'
        )
        tokens.add(served["token"])
    assert len(tokens) == 2


def test_a_detector_is_served_in_the_same_way(served: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(FIXED)
    said, curl = run("--token-file", str(file), "--allow-host", "other.example", group="detect")
    assert said == "Serving detector v1 at http://127.0.0.1:8080 (Ctrl-C stops it)"
    assert curl.endswith("--data-binary @aisle.png http://127.0.0.1:8080/invocations")
    assert (served["token"], served["names"]) == (FIXED, ["other.example"])


def test_a_service_has_a_token_that_is_not_printed(
    served: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "the token"
    file.write_text(f"{FIXED}\n")
    printed = run("--token-file", str(file))
    assert served["token"] == FIXED
    assert f"Bearer $(cat '{file}')" in printed[1]
    monkeypatch.setenv("DEFECTORY_SERVE_TOKEN", f"{FIXED}-of-the-environment")
    printed += run()
    assert served["token"] == f"{FIXED}-of-the-environment"
    assert FIXED not in "".join(printed)


def test_without_its_extra_the_command_that_installs_it_is_named(
    served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"uvicorn.*pip install 'defectory\[serve\]'"):
        run()
    assert served == {}


def test_names_are_handed_on(served: dict[str, Any]) -> None:
    run("--allow-host", "inspection.example", "--allow-host", "other.example")
    assert served["names"] == ["inspection.example", "other.example"]


@pytest.mark.parametrize("name", ["http://inspection.example", "inspection.example:443", "", "*"])
def test_what_is_no_name_is_refused(served: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match="allow-host"):
        run("--allow-host", name)
    assert served == {}


@pytest.mark.parametrize("token", ["", "short", "two words of a token", "ümlautümlautümlaut"], ids=range(4))
def test_what_is_no_token_is_refused_and_not_shown(
    served: dict[str, Any], token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(token)
    with pytest.raises(InputError, match="--token-file") as refusal:
        run("--token-file", str(file))
    assert not token or token not in str(refusal.value)
    monkeypatch.setenv("DEFECTORY_SERVE_TOKEN", token)
    with pytest.raises(InputError, match="DEFECTORY_SERVE_TOKEN"):
        run()
    assert served == {}
