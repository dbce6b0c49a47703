"""Encoded rows as they come, in memory or in nameless files, and read in any order: 4 bytes a token, and few a row."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from tuneforge.errors import ConfigError
from tuneforge.rows import Encoded


class Lists:
    """A column of lists of integers, of which each becomes a Python list when it is asked for."""

    def __init__(self, offsets: Any, values: Any, present: Any = None) -> None:
        """`offsets` (n + 1,) and `values` are arrays; `present` (n,) of bool where some rows have no list."""
        self.offsets, self.values, self.present = offsets, values, present

    def has(self, at: int) -> bool:
        """Whether the row has a list here."""
        return self.present is None or bool(self.present[at])

    def size(self, at: int) -> int:
        """How long the list is, without reading it."""
        return int(self.offsets[at + 1] - self.offsets[at])

    def __getitem__(self, at: int) -> list[int]:
        found: list[int] = self.values[self.offsets[at] : self.offsets[at + 1]].tolist()
        return found


class Parts(Mapping[str, "list[int]"]):
    """The parts of one row, read when they are asked for."""

    __slots__ = ("at", "lists")

    def __init__(self, lists: Mapping[str, Lists], at: int) -> None:
        self.lists, self.at = lists, at

    def __getitem__(self, name: str) -> list[int]:
        column = self.lists[name]
        if not column.has(self.at):
            raise KeyError(name)
        return column[self.at]

    def __iter__(self) -> Iterator[str]:
        return (name for name, column in self.lists.items() if column.has(self.at))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


class EncodedRows(Sequence[Encoded]):
    """Encoded rows over columns; a row may be replaced, which is remembered beside them."""

    def __init__(self, size: int, lists: Mapping[str, Lists], extras: Mapping[str, Any]) -> None:
        """`extras` hold (n,) numbers, NaN where a row has none."""
        self.size, self.lists, self.extras = size, lists, extras
        self._replaced: dict[int, Encoded] = {}

    def copy(self) -> EncodedRows:
        """The same rows, to be replaced by themselves."""
        return EncodedRows(self.size, self.lists, self.extras)

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, at: int) -> Encoded: ...
    @overload
    def __getitem__(self, at: slice) -> list[Encoded]: ...
    def __getitem__(self, at: int | slice) -> Encoded | list[Encoded]:
        if isinstance(at, slice):
            return [self[i] for i in range(self.size)[at]]
        at = range(self.size)[at]
        if at in self._replaced:
            return self._replaced[at]
        own = {name: float(v[at]) for name, v in self.extras.items() if not np.isnan(v[at])}
        return Encoded(Parts(self.lists, at), own)

    def __setitem__(self, at: int, row: Encoded) -> None:
        self._replaced[at] = row

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)


class _Column:
    """Lists of one part, appended to."""

    def __init__(self, folder: Path | None, before: int) -> None:
        self.ends = array("q", bytes(8 * (before + 1)))
        self.present = bytearray(before)
        self.held = array("i")
        self.file = None if folder is None else tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open as long as this)
        if self.file is not None:
            weakref.finalize(self, self.file.close)

    def add(self, tokens: Sequence[int] | None) -> None:
        self.present.append(tokens is not None)
        self.ends.append(self.ends[-1] + len(tokens or ()))
        if self.file is None:
            self.held.extend(array("i", tokens or ()))
        else:
            self.file.write(array("i", tokens or ()).tobytes())

    def lists(self) -> Lists:
        values: Any = np.frombuffer(self.held, np.int32) if self.held else np.empty(0, np.int32)
        if self.file is not None and self.ends[-1]:
            self.file.flush()
            values = np.frombuffer(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ), np.int32)
        present = None if all(self.present) else np.frombuffer(self.present, np.bool_)
        return Lists(np.frombuffer(self.ends, np.int64), values, present)


class Spool:
    """Takes encoded rows one after the other; `rows` reads them. `folder` None: in memory."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.count = folder, 0
        self.columns: dict[str, _Column] = {}
        self.extras: dict[str, array[float]] = {}
        self.places, self.tokens, self.items = array("q"), array("q"), array("q")

    def add(self, place: int, encoded: Encoded, tokens: int, items: int) -> None:
        """A row made from the one at `place`, with its (tokens, loss items). ConfigError where the disk is full."""
        try:
            if self.folder is not None and not self.columns:
                self.folder.mkdir(parents=True, exist_ok=True)
            for name in encoded.parts:
                if name not in self.columns:
                    self.columns[name] = _Column(self.folder, self.count)
            for name, column in self.columns.items():
                column.add(encoded.parts.get(name))
        except OSError as error:
            raise ConfigError(
                f"tokens cannot be kept in {self.folder}: {error.strerror or error}; TUNEFORGE_CACHE names another"
                " place, streaming=off keeps them in memory"
            ) from error
        for name in {*encoded.extras, *self.extras}:
            known = self.extras.setdefault(name, array("d", [np.nan]) * self.count)
            known.append(encoded.extras.get(name, np.nan))
        for held, value in ((self.places, place), (self.tokens, tokens), (self.items, items)):
            held.append(value)
        self.count += 1

    def placed(self) -> Any:
        """(rows,) the places that were given."""
        return np.frombuffer(self.places, np.int64) if self.places else np.empty(0, np.int64)

    def sizes(self) -> Any:
        """(rows, 2) tokens and loss items."""
        return np.array([self.tokens, self.items], np.int64).T

    def rows(self) -> EncodedRows:
        """What was added; nothing may be added after."""
        lists = {name: column.lists() for name, column in self.columns.items()}
        return EncodedRows(self.count, lists, {n: np.frombuffer(v, np.float64) for n, v in self.extras.items()})
