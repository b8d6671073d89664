"""The memo: what is known by key, kept on disk across runs.

Small results (losses) are kept one by one, for good. Of large ones (vectors) it keeps moments
(``execution/moments.py``), which have a limit. It lies in the user's cache directory and may be
deleted at any time. SQLite keeps it whole when a process dies and safe when two processes write.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any

import platformdirs

from simbench.execution.moments import DEFAULT_LIMIT_BYTES, Moments

KEEP_EVERY_S = 60.0
"""Real time between two moments of a run that are kept."""

DATABASE = "memo.sqlite"
"""Name of the file that holds losses, and the index of moments."""


def default_folder() -> Path:
    """Return the user's cache directory for simbench, as the platform places it."""
    return Path(platformdirs.user_cache_dir("simbench"))


_TABLE = "CREATE TABLE IF NOT EXISTS memo (key BLOB PRIMARY KEY, result TEXT) WITHOUT ROWID"


class Memo:
    """Results by key. With ``folder=None`` it starts empty and is forgotten at the end."""

    def __init__(
        self,
        folder: Path | None,
        *,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        keep_every_s: float = KEEP_EVERY_S,
    ) -> None:
        """Open the memo in ``folder``, which is made if it isn't there.

        Args:
            folder: where it lies; None for a memo that is forgotten, and keeps no moments.
            limit_bytes: how much all moments together may take.
            keep_every_s: real time between two moments of a run.
        """
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.keep_every_s = keep_every_s
        # Transactions are begun by hand. A rollback journal: to switch on a write-ahead log fails
        # where another process does the same at that moment.
        self._database = sqlite3.connect(
            ":memory:" if folder is None else folder / DATABASE, timeout=60, isolation_level=None
        )
        self._database.execute(_TABLE)
        self.moments = None if folder is None else Moments(self._database, folder, limit_bytes)

    @property
    def num_results(self) -> int:
        """How many small results are known."""
        count: int = self._database.execute("SELECT count(*) FROM memo").fetchone()[0]
        return count

    def get(self, key: bytes) -> Any | None:
        """Return the result known by ``key``, or None."""
        query = "SELECT result FROM memo WHERE key = ?"
        row = self._database.execute(query, (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: bytes, result: Any) -> None:
        """Keep a result that JSON can hold; floats survive to the last bit."""
        self._database.execute(
            "INSERT OR IGNORE INTO memo VALUES (?, ?)", (key, json.dumps(result))
        )

    def clear(self) -> None:
        """Forget everything; a run under way computes again what it still needs."""
        if self.moments is not None:
            self.moments.prune(limit_bytes=0)
        self._database.execute("DELETE FROM memo")
        self._database.execute("VACUUM")

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
