"""What was computed or bought once, by key, in one SQLite file that several processes may share."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

TOGETHER = 500
"""Keys that are asked for in one query."""


def key(*parts: Any) -> str:
    """The key of JSON values: 32 hex digits, equal for equal content whatever the order of mappings' keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Cache:
    """JSON values by key. What `put` was given is on disk when it returns, whatever then ends the process.

    The file may be deleted at any time between runs. A file that is no database is moved aside, which is said.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """The values of those keys that are known."""
        found: dict[str, Any] = {}
        if not self.file.exists():
            return found
        with self._open() as base:
            for start in range(0, len(keys), TOGETHER):
                some = keys[start : start + TOGETHER]
                marks = ",".join("?" * len(some))
                found |= dict(base.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", some))
        return {name: json.loads(value) for name, value in found.items()}

    def put(self, values: Mapping[str, Any]) -> None:
        """Keep values; a key that is there is replaced."""
        pairs = [(name, json.dumps(value)) for name, value in values.items()]
        with self._open() as base, base:
            base.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", pairs)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            base = self._connected()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = self.file.with_name(f"{self.file.name}.damaged")
            self.file.replace(aside)
            sys.stderr.write(f"tuneforge: {self.file} is no database: moved to {aside.name}, and begun anew\n")
            base = self._connected()
        with closing(base):
            yield base

    def _connected(self) -> sqlite3.Connection:
        base = sqlite3.connect(self.file, timeout=60)
        try:
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        except BaseException:
            base.close()
            raise
        return base
