"""Rows of kept state: all of a transaction or none, in the order in which they came."""

import sqlite3
from pathlib import Path

import pytest

from defectory.errors import LocalCloudError
from defectory.local.server.state.journal import FILE, Changes, Journal
from defectory.local.server.state.rows import decode, encode, join, split

PATH = ("queues", "region", "1", "r", "'q'")


def written(*rows: tuple[tuple[str, ...], str]) -> Changes:
    return Changes(written=[("sqs", path, value) for path, value in rows])


def test_rows_are_there_again_in_their_order(tmp_path: Path) -> None:
    """A change keeps a row's place; a row that comes again comes last."""
    journal = Journal(tmp_path)
    journal.write(written((("c",), "1"), (("a",), "2"), (("b",), "3")))
    journal.write(Changes(written=[("sqs", ("c",), "4")], removed=[("sqs", ("a",))]))
    journal.write(written((("a",), "5")))
    # Not closed: as after a kill.
    assert list(Journal(tmp_path).rows("sqs")) == [(("c",), "4"), (("b",), "3"), (("a",), "5")]


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(sqlite3.Error):
        journal.write(written((("a",), "1"), (("b",), None)))  # type: ignore[arg-type]
    assert list(journal.rows("sqs")) == []
    journal.write(written((("a",), "2")))
    assert list(journal.rows("sqs")) == [(("a",), "2")]


def test_full_disk_is_told_and_the_next_write_succeeds(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (pages,) = journal._database.execute("PRAGMA page_count").fetchone()
    journal._database.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        journal.write(written((("a",), "x" * 100_000)))
    journal._database.execute("PRAGMA max_page_count=1000000")
    journal.write(written((("a",), "there")))
    assert list(journal.rows("sqs")) == [(("a",), "there")]


def test_another_endpoint_is_named_in_paths_and_values(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.move("http://localhost:1")
    journal.write(written((("http://localhost:1/q",), '"http://localhost:1/q"'), (("other",), "0")))
    journal.move("http://localhost:2")
    assert next(iter(journal.rows("sqs"))) == (("http://localhost:2/q",), '"http://localhost:2/q"')


@pytest.mark.parametrize("content", [b"no database at all, " * 300, b"SQLite format 3\0" + bytes(4000)])
def test_damaged_file_is_told_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(LocalCloudError, match=r"state\.sqlite3 cannot be used: .*remove it to start without it"):
        Journal(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_half_a_write_ahead_log_is_no_obstacle(tmp_path: Path) -> None:
    """As when the kill, or a full disk, came in the middle of a commit."""
    journal = Journal(tmp_path)
    journal.write(written((("a",), "1")))
    log = tmp_path / f"{FILE}-wal"
    whole = log.read_bytes()
    journal.write(written((("b",), "2")))
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / FILE).write_bytes((tmp_path / FILE).read_bytes())
    (copy / log.name).write_bytes(log.read_bytes()[: len(whole) + 100])
    assert list(Journal(copy).rows("sqs")) == [(("a",), "1")]


def test_state_is_put_together_as_it_was_taken_apart() -> None:
    from ministack.core.responses import AccountRegionScopedDict

    message = {"id": "m", "visible_at": 1.0, "receive_count": 0, "receipt_handle": None, "body": b"\xff"}
    queues, names = AccountRegionScopedDict(), AccountRegionScopedDict()
    queues._data["1", "r", "http://q"] = {"attributes": {"a": "b"}, "messages": [message, {**message, "id": "n"}]}
    names._data["1", "r", ("a", 2)] = "value"
    state = {"queues": queues, "names": names, "plain": [1, 2]}
    rows = []
    for resource in split("sqs", state):
        rows.append((resource.path, decode(encode(resource.value))))
        rows += [((*resource.path, *part.path), decode(encode(part.value))) for part in resource.parts]
    again = join("sqs", rows)
    assert {name: getattr(store, "_data", store) for name, store in again.items()} == {
        name: getattr(store, "_data", store) for name, store in state.items()
    }
