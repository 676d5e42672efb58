"""What was done so far, in a file beside the results: a call that was ended, by whatever, is gone on with by the next.

One SQLite database (https://www.sqlite.org), `progress.sqlite`. An image has a row as soon as all files that are its
own are in place, and never before; the rows of a batch are one transaction. A process that is killed leaves what it had
committed, and the next one finds it by the write-ahead log. The header says with which settings the rows were made.

Names are kept as UTF-8 in which bytes that are no text stand as Python's surrogates, so that the database orders them
as `sorted` does.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vision_tasks.errors import UserError
from vision_tasks.tasks.base import Row
from vision_tasks.types import Size

STORE = "progress.sqlite"
_OURS = 0x7674_7072  # SQLite's application_id
_FORMAT = "1"  # of the database; another one can't be gone on with
_TABLES = """
CREATE TABLE about(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE image(
    id INTEGER PRIMARY KEY, name BLOB UNIQUE NOT NULL, call INTEGER NOT NULL,
    bytes INTEGER NOT NULL, modified INTEGER NOT NULL, sha256 TEXT NOT NULL,
    height INTEGER, width INTEGER, predictions TEXT, reason TEXT
);
"""
_PUT = (
    "INSERT OR REPLACE INTO image(name, call, bytes, modified, sha256, height, width, predictions, reason) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ROWS = "SELECT name, height, width, sha256, predictions FROM image WHERE reason IS NULL"
_SEEN = " AND id IN (SELECT id FROM temp.seen)"
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@dataclass(frozen=True)
class Version:
    """What tells whether an image is still the one that was read."""

    bytes: int  # of the file
    modified: int  # nanoseconds

    @classmethod
    def of(cls, status: os.stat_result) -> Version:
        return cls(status.st_size, status.st_mtime_ns)


GONE = Version(-1, 0)  # of what is no file, or none that can be looked at: whoever reads it says why


@dataclass(frozen=True)
class Outcome:
    """What became of an image."""

    image: str
    version: Version
    sha256: str  # of what was read of it; empty where nothing was
    size: Size | None = None
    predictions: list[dict[str, object]] | None = None
    reason: str | None = None  # why it could not be predicted


@dataclass(frozen=True)
class Known:
    """What the store knows of an image."""

    version: Version
    sha256: str
    failed: bool
    current: bool  # whether this call, and none before it, found it


class Outcomes(Protocol):
    """What is known of images, and what becomes of them."""

    def known(self, image: str) -> Known | None:
        """What was found of an image, by this call or an earlier one."""

    def keep(self, image: str, version: Version) -> None:
        """An image is there, what is known of it holds, and this is its version now."""

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Images whose files are in place, all or none of them."""


class Store:
    """`Outcomes` in a file, with the rows of all images; one process at a time has it open.

    Raises UserError where that is not so.
    """

    def __init__(self, path: Path, settings: Mapping[str, str]) -> None:
        """Open or make the file; `settings` are what rows depend on. Raises UserError if it was made with others."""
        self.path = path
        self._database: sqlite3.Connection = _opened(path)
        try:
            with _told(path), self._database:
                self.call = _begun(self._database, path, settings)
            self._database.execute("CREATE TEMP TABLE seen(id INTEGER PRIMARY KEY)")
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        self._database.close()

    def known(self, image: str) -> Known | None:
        query = "SELECT bytes, modified, sha256, reason IS NOT NULL, id IN temp.seen FROM image WHERE name = ?"
        found = self._database.execute(query, (_stored(image),)).fetchone()
        return found and Known(Version(found[0], found[1]), found[2], bool(found[3]), bool(found[4]))

    def keep(self, image: str, version: Version) -> None:
        with _told(self.path), self._database:
            self._database.execute(
                "UPDATE image SET bytes = ?1, modified = ?2 WHERE name = ?3 AND (bytes, modified) != (?1, ?2)",
                (version.bytes, version.modified, _stored(image)),
            )
            self._database.execute(
                "INSERT OR IGNORE INTO temp.seen SELECT id FROM image WHERE name = ?", (_stored(image),)
            )

    def add(self, outcomes: Sequence[Outcome]) -> None:
        with _told(self.path), self._database:
            for outcome in outcomes:
                row = self._database.execute(_PUT, _values(outcome, self.call))
                self._database.execute("INSERT OR IGNORE INTO temp.seen VALUES (?)", (row.lastrowid,))

    def rows(self, seen: bool) -> StoredRows:
        """What was predicted: of the images that this call has `seen`, or of all."""
        return StoredRows(self._database, _ROWS + (_SEEN if seen else ""))

    def failures(self, seen: bool) -> Iterator[dict[str, str]]:
        """What could not be predicted, and why, in the order of names."""
        query = f"SELECT name, reason FROM image WHERE reason IS NOT NULL{_SEEN if seen else ''} ORDER BY name"
        return ({"image": _name(name), "reason": reason} for name, reason in self._database.execute(query))

    def counts(self, seen: bool) -> tuple[int, int, int]:
        """How many images were predicted, how many could not be, and how many of the first by earlier calls."""
        query = "SELECT coalesce(sum(reason IS NULL), 0), coalesce(sum(reason IS NOT NULL), 0), " \
                f"coalesce(sum(reason IS NULL AND call < ?), 0) FROM image WHERE 1{_SEEN if seen else ''}"  # fmt: skip
        predicted, failed, before = self._database.execute(query, (self.call,)).fetchone()
        return predicted, failed, before


@dataclass(frozen=True)
class StoredRows:
    """Rows of a store, as `tasks.base.Rows` says."""

    database: sqlite3.Connection
    query: str

    def __iter__(self) -> Iterator[Row]:
        return map(_row, self.database.execute(f"{self.query} ORDER BY name"))

    def __contains__(self, image: object) -> bool:
        found = self.database.execute(f"{self.query} AND name = ?", (_stored(str(image)),))
        return found.fetchone() is not None

    def ordered(self, key: Callable[[str], str]) -> Iterator[Row]:
        self.database.create_function("key", 1, lambda name: _stored(key(_name(name))), deterministic=True)
        return map(_row, self.database.execute(f"{self.query} ORDER BY key(name), name"))


def is_store(path: Path) -> bool:
    """Whether a file is a database of this kind, or still empty."""
    try:
        with path.open("rb") as file:
            head = file.read(72)
    except OSError:
        return False
    return not head or (head.startswith(b"SQLite format 3\0") and head[68:72] == _OURS.to_bytes(4, "big"))


def empty_store(path: Path) -> None:
    """Forget all rows in one step: what they tell of may then be removed."""
    try:
        with closing(_opened(path)) as database, database:
            database.executescript("BEGIN; DELETE FROM image; DELETE FROM about; COMMIT;")
    except (UserError, sqlite3.DatabaseError):  # damaged: nothing can be taken from it anyway
        remove_store(path)


def remove_store(path: Path) -> None:
    for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))):
        each.unlink(missing_ok=True)


def _opened(path: Path) -> sqlite3.Connection:
    with _told(path):
        database = sqlite3.connect(path, timeout=1)
        try:
            # One process alone: then the log needs no shared memory, which file systems of networks don't have.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            if not path.stat().st_size:
                # Before there is a log: whose a file is must be told by the file alone, also after a kill.
                database.execute(f"PRAGMA application_id = {_OURS}")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("BEGIN EXCLUSIVE").connection.commit()
        except BaseException:
            database.close()
            raise
        return database


def _begun(database: sqlite3.Connection, path: Path, settings: Mapping[str, str]) -> int:
    """The number of this call, from 1, in a store that was made with the same `settings`."""
    if not database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'about'").fetchone()[0]:
        database.executescript(f"BEGIN; {_TABLES} COMMIT;")
    about = dict(database.execute("SELECT key, value FROM about"))
    call = int(about.pop("call", 0)) + 1
    if call > 1:
        _require_same(path.parent, about, {**settings, "store": _FORMAT})
    written = {**settings, "store": _FORMAT, "call": str(call)}
    database.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", written.items())
    return call


def _require_same(folder: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    differ = [f"{key} was {before.get(key, 'not there')}, now {now.get(key, 'not there')}" for key in keys]
    if differ:
        raise UserError(
            f"{folder} already holds predictions; give another --out, or --restart to remove them and begin anew, or "
            f"the same settings to go on: {'; '.join(differ)}"
        )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite complains of, as one line."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _FULL:
            raise UserError(
                f"{path}: can't be written ({error}): make room, then the same call goes on; what was done is kept"
            ) from error
        if code in _BUSY:
            raise UserError(
                f"{path}: another predict writes into this folder; wait for it, or give another --out"
            ) from error
        if code == sqlite3.SQLITE_CANTOPEN:
            raise UserError(f"cannot write into {path.parent}: give another --out, or check its permissions") from error
        raise UserError(f"{path}: {error}; give another --out, or --restart to begin anew") from error


def _values(outcome: Outcome, call: int) -> tuple[object, ...]:
    height, width = outcome.size or (None, None)
    predictions = None if outcome.predictions is None else json.dumps(outcome.predictions)
    version = outcome.version
    return (_stored(outcome.image), call, version.bytes, version.modified, outcome.sha256, height, width, predictions,
            outcome.reason)  # fmt: skip


def _row(found: tuple[bytes, int, int, str, str]) -> Row:
    name, height, width, sha256, predictions = found
    return Row(_name(name), (height, width), sha256, json.loads(predictions))


def _stored(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _name(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")
