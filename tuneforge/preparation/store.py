"""Rows in a file instead of in memory, for sources that are larger than it.

The file has no name: it is nobody else's, and is gone when the run ends, however it ends. A row is one JSON text, found
by its offset, so that rows are read in any order and a resumed run needs no position of its own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import weakref
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

from tuneforge.components import Context
from tuneforge.errors import ConfigError
from tuneforge.preparation.view import View
from tuneforge.rows import Row
from tuneforge.sections import Streaming
from tuneforge.settings import Run

TOGETHER = 256
"""Rows that are read at once where all are read in order."""
SHARE = 8
"""Files larger than the available memory divided by this are not held in it: as rows they take some three times their
size, and what is made of them the rest."""
UNPACKED = 5
"""Times that a gzip file grows."""
AS_JSON = (str, int, float, bool, type(None))


class RowStore(Sequence[Row]):
    """Rows that lie in a file of `folder`; 18 bytes of each are held. Only appended to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open as long as the store lives)
        except OSError as error:
            raise self._refused(error) from error
        weakref.finalize(self, self._file.close)
        self._ends = array("q", [0])
        self._origin = array("H")
        self._origins: dict[tuple[str, str], int] = {}
        self._known: list[tuple[str, str]] = []
        self._behind = False

    def append(self, row: Row) -> None:
        """Write a row. ConfigError where it holds what JSON would change, or the disk does not take it."""
        _require_json(row.columns, row)
        _require_json(row.fields, row)
        content = [dict(row.columns), row.line, row.id, row.history, row.group, row.task, dict(row.fields)]
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        try:
            self._file.write(text)
        except OSError as error:
            raise self._refused(error) from error
        self._ends.append(self._ends[-1] + len(text))
        self._origin.append(self._number(row.source, row.file))
        self._behind = True

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return self._ends[-1]

    def source(self, at: int) -> str:
        """The source of a row, without reading it."""
        return self._known[self._origin[at]][0]

    def _number(self, source: str, file: str) -> int:
        origin = source, file
        if origin not in self._origins:
            if len(self._known) == 2**16:
                raise ConfigError(f"{source}: rows kept on disk come from at most {2**16:,} files; set streaming=off")
            self._origins[origin] = len(self._known)
            self._known.append(origin)
        return self._origins[origin]

    def _refused(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"rows cannot be kept in {self._folder}: {error.strerror or error}; TUNEFORGE_CACHE names another place,"
            " streaming=off keeps them in memory"
        )

    def __len__(self) -> int:
        return len(self._origin)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> View: ...
    def __getitem__(self, at: int | slice) -> Row | View:
        if isinstance(at, slice):
            return View(self, range(len(self))[at])
        at = range(len(self))[at]
        return self._row(at, self._bytes(self._ends[at], self._ends[at + 1]))

    def __iter__(self) -> Iterator[Row]:
        for start in range(0, len(self), TOGETHER):
            ends = self._ends[start : start + TOGETHER + 1]
            together = self._bytes(ends[0], ends[-1])
            for i, (low, high) in enumerate(pairwise(ends)):
                yield self._row(start + i, together[low - ends[0] : high - ends[0]])

    def _bytes(self, low: int, high: int) -> bytes:
        if self._behind:
            try:
                self._file.flush()
            except OSError as error:
                raise self._refused(error) from error
            self._behind = False
        return os.pread(self._file.fileno(), high - low, low)

    def _row(self, at: int, text: bytes) -> Row:
        columns, line, identity, history, group, task, kept = json.loads(text.decode("utf-8", "surrogatepass"))
        source, file = self._known[self._origin[at]]
        return Row(
            columns=columns, source=source, file=file, line=line, id=identity, history=tuple(history), group=group,
            task=task, fields=kept,
        )  # fmt: skip


Pool = list[Row] | RowStore
"""Where rows are gathered."""


def _require_json(value: Any, row: Row) -> None:
    """What JSON gives back as it was: a mapping by texts, a list, a text, a number, true, false, null."""
    if type(value) is str:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if type(key) is not str:
                raise _odd(key, row)
            _require_json(inner, row)
    elif type(value) is list:
        for inner in value:
            _require_json(inner, row)
    elif type(value) not in AS_JSON:
        raise _odd(value, row)


def _odd(value: Any, row: Row) -> ConfigError:
    return ConfigError(
        f"{row.place}: a row kept on disk cannot hold {value!r} ({type(value).__name__}); make it a text or a number,"
        " or set streaming=off"
    )


def pool(context: Context) -> Pool:
    """A list, or a file in the cache where the run's sources are too large for memory."""
    return RowStore(context.cache / "rows") if streams(context.run) else []


def streams(run: Run) -> bool:
    """Whether rows are kept on disk: `streaming`, with auto where the files are large."""
    if run.streaming is not Streaming.auto:
        return run.streaming is Streaming.on
    size = sum(map(_size, (source.path for source in run.data.values())))
    return size > 2**26 and size * SHARE > _available()


def _size(path: str) -> int:
    """Bytes of a file, unpacked; 0 for anything else."""
    from tuneforge.data.paths import located

    try:
        file = located(path)
        return file.stat().st_size * (UNPACKED if file.suffix == ".gz" else 1) if path and file.is_file() else 0
    except (ConfigError, OSError):
        return 0


def _available() -> int:
    """Bytes of memory that are free, for this container where it is one."""
    import torch

    from tuneforge.training.memory.plan import available

    return available(torch.device("cpu"), 0) or sys.maxsize


def row_bytes(rows: Sequence[Row]) -> float:
    """Bytes of a row on disk, on average; 0 where rows are in memory."""
    while isinstance(rows, View):
        rows = rows.rows
    return rows.size / max(1, len(rows)) if isinstance(rows, RowStore) else 0.0


def sources(rows: Sequence[Row]) -> Iterator[str]:
    """The source of each row, where possible without reading it."""
    if isinstance(rows, RowStore):
        return map(rows.source, range(len(rows)))
    if isinstance(rows, View) and isinstance(rows.rows, RowStore):
        return map(rows.rows.source, rows.places)
    return (row.source for row in rows)
