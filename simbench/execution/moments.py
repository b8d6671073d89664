"""Moments: all that a run rests on at one moment, in one file, so that it can go on from there.

A file is written under a temporary name and renamed once it is whole and on the disk; an index in
the memo's database says what it holds. Files are renamed and rows changed under the database's
write lock, so whoever holds that lock knows a file without a row for a leftover of a process that
died, and deletes it.
"""

import contextlib
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from simbench.execution.devices import moved

DEFAULT_LIMIT_BYTES = 10 * 10**9
"""What all moments together may take."""

_ABANDONED_S = 600
"""A file that isn't finished and that nobody has written to for so long belongs to nobody."""

_TABLES = """
CREATE TABLE IF NOT EXISTS kept_moment (file TEXT PRIMARY KEY, owner BLOB UNIQUE, label TEXT,
    num_bytes INTEGER, kept_s REAL, used_s REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept_key (key BLOB, file TEXT, PRIMARY KEY (key, file)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_of_moment ON kept_key (file);
"""


class KeptMoment(NamedTuple):
    """What the index says of one moment; times are seconds since 1970."""

    label: str
    """Whose it is, for people."""
    num_bytes: int
    kept_s: float
    used_s: float


class Moments:
    """Moments by owner; where there is no room, those that weren't used for longest go."""

    def __init__(self, database: sqlite3.Connection, folder: Path, limit_bytes: int) -> None:
        self._database = database
        self._folder = folder / "moments"
        self._folder.mkdir(exist_ok=True)
        self._limit_bytes = limit_bytes
        self._opened: dict[str, Mapping[str, Any]] = {}
        for statement in _TABLES.split(";"):
            database.execute(statement)

    def keep(self, owner: bytes, label: str, results: Mapping[bytes, Any]) -> None:
        """Keep tensors, and tuples and dicts of them, by key; they replace the ``owner``'s last.

        A moment that is larger than the limit isn't kept.

        Raises:
            OSError: it can't be written, for want of space, say; the last one is still there.
        """
        name = f"{uuid.uuid4().hex}.moment"
        unfinished = self._folder / f"{name}.unfinished"
        try:
            with unfinished.open("wb") as file:
                torch.save({key.hex(): moved(each, "cpu") for key, each in results.items()}, file)
                file.flush()
                os.fsync(file.fileno())
                num_bytes, now_s = file.tell(), time.time()
            with self._changes():
                unfinished.replace(self._folder / name)
                _make_last(self._folder)
                self._forget("owner = ?", owner)
                self._database.execute(
                    "INSERT INTO kept_moment VALUES (?, ?, ?, ?, ?, ?)",
                    (name, owner, label, num_bytes, now_s, now_s),
                )
                self._database.executemany(
                    "INSERT INTO kept_key VALUES (?, ?)", [(key, name) for key in results]
                )
                self._make_room(self._limit_bytes)
        finally:
            unfinished.unlink(missing_ok=True)

    def keys(self) -> set[bytes]:
        """Return the keys of all that is kept."""
        return {key for (key,) in self._database.execute("SELECT DISTINCT key FROM kept_key")}

    def recall(self, key: bytes) -> Any | None:
        """Return what a moment holds by ``key``, or None: it may have been replaced or deleted.

        What was read stays in memory until ``let_go``.
        """
        query = "SELECT file, num_bytes FROM kept_key JOIN kept_moment USING (file) WHERE key = ?"
        files = dict(self._database.execute(query, (key,)).fetchall())
        for file in sorted(files, key=lambda each: each not in self._opened):
            if file not in self._opened:
                self._open(file, files[file])
            if file in self._opened:
                return self._opened[file][key.hex()]
        return None

    def let_go(self) -> None:
        """Let go of the moments that were read."""
        self._opened.clear()

    def kept(self) -> list[KeptMoment]:
        """Return what is kept, what was used last first."""
        query = "SELECT label, num_bytes, kept_s, used_s FROM kept_moment ORDER BY used_s DESC"
        return [KeptMoment(*row) for row in self._database.execute(query)]

    def prune(self, limit_bytes: int | None = None, unused_since_s: float | None = None) -> None:
        """Delete what wasn't used for longest, and what was left by processes that died.

        Args:
            limit_bytes: what may be left.
            unused_since_s: seconds since 1970; what was last used before that goes.
        """
        with self._changes():
            if unused_since_s is not None:
                self._forget("used_s < ?", unused_since_s)
            if limit_bytes is not None:
                self._make_room(limit_bytes)

    def _open(self, file: str, num_bytes: int) -> None:
        """Read ``file``; if it isn't what was kept, forget it."""
        try:
            is_whole = (self._folder / file).stat().st_size == num_bytes
            found = torch.load(self._folder / file, weights_only=True) if is_whole else None
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it can be computed again
            found = None
        if found is None:
            with self._changes():
                self._forget("file = ?", file)
            return
        self._opened[file] = found
        query = "UPDATE kept_moment SET used_s = ? WHERE file = ?"
        self._database.execute(query, (time.time(), file))

    @contextlib.contextmanager
    def _changes(self) -> Iterator[None]:
        """Change the index, all or nothing, and delete the files that it has no row for."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            # Seen under the lock: what another process brings in later isn't among them.
            leftovers = self._leftovers()
            self._database.execute("COMMIT")
        except BaseException:
            # Ctrl-C may come when a statement has just been done: COMMIT, too.
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        for each in leftovers:
            each.unlink(missing_ok=True)

    def _leftovers(self) -> list[Path]:
        whole = {file for (file,) in self._database.execute("SELECT file FROM kept_moment")}
        found = [each for each in self._folder.glob("*.moment") if each.name not in whole]
        for each in self._folder.glob("*.unfinished"):
            # Whoever writes it may finish it at this moment.
            with contextlib.suppress(FileNotFoundError):
                if time.time() - each.stat().st_mtime > _ABANDONED_S:
                    found.append(each)
        return found

    def _forget(self, which: str, value: object) -> None:
        files = f"SELECT file FROM kept_moment WHERE {which}"  # noqa: S608 - our own words
        self._database.execute(f"DELETE FROM kept_key WHERE file IN ({files})", (value,))  # noqa: S608
        self._database.execute(f"DELETE FROM kept_moment WHERE {which}", (value,))  # noqa: S608

    def _make_room(self, limit_bytes: int) -> None:
        total = 0
        query = "SELECT file, num_bytes FROM kept_moment ORDER BY used_s DESC, kept_s DESC"
        for file, num_bytes in self._database.execute(query).fetchall():
            if num_bytes <= limit_bytes:  # one that never fits mustn't push out the others
                total += num_bytes
            if num_bytes > limit_bytes or total > limit_bytes:
                self._forget("file = ?", file)


def _make_last(folder: Path) -> None:
    """Have the names in ``folder`` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
