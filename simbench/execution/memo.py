"""The memo: what is known by key, kept on disk across runs.

Small results (losses) are kept one by one. Of large ones (vectors) it keeps moments: all that a run
rests on at one moment, in one file, so that the run can go on from there. It lies in the user's
cache directory and may be deleted at any time. SQLite keeps it whole when a process dies and safe
when two processes write.
"""

import json
import sqlite3
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
import torch


def default_folder() -> Path:
    """Return the user's cache directory for simbench, as the platform places it."""
    return Path(platformdirs.user_cache_dir("simbench"))


_TABLES = """
CREATE TABLE IF NOT EXISTS memo (key BLOB PRIMARY KEY, result TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS moment (owner BLOB, key BLOB, file TEXT);
CREATE INDEX IF NOT EXISTS moment_of_key ON moment (key);
"""


class Memo:
    """Results by key. With ``folder=None`` it starts empty and is forgotten at the end."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(
            ":memory:" if folder is None else folder / "memo.sqlite", timeout=60
        )
        with self._database:
            for statement in _TABLES.split(";"):
                self._database.execute(statement)
        self._opened: tuple[str, Mapping[str, Any]] = "", {}

    @property
    def keeps_moments(self) -> bool:
        """Whether there is a place for them: they aren't kept in memory."""
        return self._folder is not None

    def get(self, key: bytes) -> Any | None:
        """Return the result known by ``key``, or None."""
        query = "SELECT result FROM memo WHERE key = ?"
        row = self._database.execute(query, (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: bytes, result: Any) -> None:
        """Keep a result that JSON can hold; floats survive to the last bit."""
        with self._database:
            self._database.execute(
                "INSERT OR IGNORE INTO memo VALUES (?, ?)", (key, json.dumps(result))
            )

    def keep_moment(self, owner: bytes, results: Mapping[bytes, Any]) -> None:
        """Keep tensors, and tuples and dicts of them, by key; they replace the ``owner``'s last."""
        if self._folder is None:
            raise ValueError("a memo without a folder keeps no moments")
        name = f"{uuid.uuid4().hex}.pt"
        unfinished = self._folder / f"{name}.unfinished"
        torch.save({key.hex(): each for key, each in results.items()}, unfinished)
        unfinished.replace(self._folder / name)
        with self._database:
            query = "SELECT DISTINCT file FROM moment WHERE owner = ?"
            old = [file for (file,) in self._database.execute(query, (owner,))]
            self._database.execute("DELETE FROM moment WHERE owner = ?", (owner,))
            self._database.executemany(
                "INSERT INTO moment VALUES (?, ?, ?)", [(owner, key, name) for key in results]
            )
        for file in old:
            (self._folder / file).unlink(missing_ok=True)

    def kept_keys(self) -> set[bytes]:
        """Return the keys of what is kept in moments."""
        return {key for (key,) in self._database.execute("SELECT key FROM moment")}

    def recall(self, key: bytes) -> Any | None:
        """Return what a moment holds by ``key``, or None: another process may have replaced it."""
        query = "SELECT file FROM moment WHERE key = ?"
        for (file,) in self._database.execute(query, (key,)):
            if self._opened[0] != file and self._folder is not None:
                try:
                    self._opened = file, torch.load(self._folder / file, weights_only=True)
                except FileNotFoundError:
                    continue
            return self._opened[1][key.hex()]
        return None

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
