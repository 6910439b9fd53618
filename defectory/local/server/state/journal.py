"""Rows of services' states in a SQLite database: a transaction is there as a whole or not at all.

With its write-ahead log (``journal_mode=WAL``) a process that is killed loses no transaction that was committed. A
machine that loses power may lose the last ones, and finds a consistent state (``synchronous=NORMAL``): to flush each
to the disk (``FULL``) would cost milliseconds a request. See "Write-Ahead Logging" and "PRAGMA synchronous" in SQLite's
documentation.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from defectory.errors import LocalCloudError

FILE = "state.sqlite3"
Path_ = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows to write and rows to remove, each by service and path; a value is JSON."""

    written: list[tuple[str, Path_, str]] = field(default_factory=list)
    removed: list[tuple[str, Path_]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.written or self.removed)


class Journal:
    """The database in a folder; only one process may have it open."""

    def __init__(self, folder: Path) -> None:
        """Open it, or make it.

        Raises:
            LocalCloudError: the file is damaged, or cannot be written.
        """
        self.path = folder / FILE
        try:
            self._database = sqlite3.connect(self.path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS rows (position INTEGER PRIMARY KEY, service TEXT NOT NULL, "
                "path TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (service, path))"
            )
            self._database.execute("CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            (verdict,) = self._database.execute("PRAGMA quick_check").fetchone()
        except sqlite3.Error as error:
            raise self._damaged(str(error)) from error
        if verdict != "ok":
            raise self._damaged(verdict)

    def rows(self, service: str) -> Iterator[tuple[Path_, str]]:
        """Paths and values of a service, in the order in which they first came."""
        query = "SELECT path, value FROM rows WHERE service = ? ORDER BY position"
        for path, value in self._database.execute(query, (service,)):
            yield tuple(json.loads(path)), value

    def services(self) -> list[str]:
        """The services that have rows."""
        return [service for (service,) in self._database.execute("SELECT DISTINCT service FROM rows")]

    def write(self, changes: Changes) -> None:
        """Commit changes, all or none.

        Raises:
            sqlite3.Error: they could not be written; the disk is full, say.
        """
        with self._transaction():
            self._database.executemany(
                "DELETE FROM rows WHERE service = ? AND path = ?",
                [(service, json.dumps(path)) for service, path in changes.removed],
            )
            self._database.executemany(
                # An update keeps the row's place among the others.
                "INSERT INTO rows (service, path, value) VALUES (?, ?, ?) "
                "ON CONFLICT (service, path) DO UPDATE SET value = excluded.value",
                [(service, json.dumps(path), value) for service, path, value in changes.written],
            )

    def move(self, endpoint: str) -> None:
        """Let rows name this endpoint where they named that of the last run: queues' URLs hold it, among others."""
        before = self.note("endpoint")
        with self._transaction():
            if before not in (None, endpoint):
                self._database.execute(
                    "UPDATE rows SET path = replace(path, ?1, ?2), value = replace(value, ?1, ?2) "
                    "WHERE instr(path, ?1) OR instr(value, ?1)",
                    (f"{before}/", f"{endpoint}/"),
                )
            self._database.execute("INSERT OR REPLACE INTO notes VALUES ('endpoint', ?)", (endpoint,))

    def note(self, name: str) -> str | None:
        """What was noted under a name."""
        row = self._database.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_note(self, name: str, value: str) -> None:
        """Note a value under a name."""
        self._database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    def close(self) -> None:
        self._database.close()

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database)

    def _damaged(self, reason: str) -> LocalCloudError:
        return LocalCloudError(
            f"The kept state in {self.path} cannot be used: {reason}. Mend it, or remove it to start without it."
        )


class _Transaction:
    """All that is done within it is committed at its end, or undone by an exception."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._database.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        # A full disk undoes the transaction by itself.
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")
