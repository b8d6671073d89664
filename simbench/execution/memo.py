"""The memo: small results (losses) by key, kept on disk across runs.

It lies in the user's cache directory and may be deleted at any time. SQLite keeps it whole when
a process dies and safe when two processes write.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any

import platformdirs


def default_folder() -> Path:
    """Return the user's cache directory for simbench, as the platform places it."""
    return Path(platformdirs.user_cache_dir("simbench"))


class Memo:
    """Results by key. With ``folder=None`` it starts empty and is forgotten at the end."""

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(
            ":memory:" if folder is None else folder / "memo.sqlite", timeout=60
        )
        with self._database:
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS memo (key BLOB PRIMARY KEY, result TEXT) WITHOUT ROWID"
            )

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

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
