"""A file that is one JSON value: an array of rows, or an object that holds them."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from typing import Any, NoReturn

from tuneforge.data.reading import MAX_ROW_BYTES, File, not_utf8, whole
from tuneforge.errors import ConfigError, nearest
from tuneforge.rows import Kept, Rejected, Row

_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_SPACE = " \t\n\r"
_KINDS = {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}


class Decoder(json.JSONDecoder):
    """The standard decoder that also remembers keys which occur twice in one object."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=self._object)
        self._duplicates: list[str] = []

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [name for name, _ in pairs]
            self._duplicates += [name for name in made if names.count(name) > 1]
        return made

    def take_duplicates(self) -> str:
        """The reason for duplicate keys since the last call; empty if there were none."""
        names, self._duplicates = self._duplicates, []
        return f"duplicate key: {', '.join(map(repr, names))}" if names else ""


def made_row(file: str, line: int | str, value: Any, problem: str = "") -> Row | Rejected:
    """A row of the object `value`; Rejected if there is a problem or it is no object."""
    if not problem and not isinstance(value, dict):
        problem = f"not an object: a row must be {{…}}, this is {_KINDS.get(type(value), type(value).__name__)}"
    if problem:
        return Rejected(Row(columns={}, file=file, line=line), problem)
    return Row(columns=value, file=file, line=line)


class Document:
    """One JSON value, held in memory as text; its rows are parsed one by one.

    In a truncated gzip file the rows before the break are yielded, then one Rejected that names it.
    """

    def __init__(self, file: File, name: str) -> None:
        self.name = name
        self.text, self.broken = whole(file)
        self._dirty = bool(_ESCAPED_BYTE.search(self.text))
        self._decoder = Decoder()
        self._counted = (0, 0)

    def array(self) -> Kept:
        """The rows of a file that is one array; `line` is the 1-based row."""
        at = yield from self._elements(self._skip(0))
        if at is not None and (rest := self._skip(at)) < len(self.text):
            self._invalid(json.JSONDecodeError("the array has ended, but the file goes on", self.text, rest))

    def array_under(self, key: str) -> Kept:
        """The rows of the array under `key`, in a file that is one object."""
        begin = self._member(key)
        if self.text[begin] != "[":
            raise ConfigError(f"{self.name}: '{key}' holds no array of rows")
        yield from self._elements(begin)

    def keyed(self) -> Kept:
        """The rows of an object keyed by id; `line` is the key."""
        for key, value, begin, end in self._members():
            if not isinstance(value, dict):
                raise ConfigError(
                    f"{self.name} is one JSON object, but '{key}' holds {_KINDS[type(value)]}, not a row. "
                    "If one of its keys holds the array of rows, name it: data.<key>.rows=<its name>"
                )
            yield made_row(self.name, key, value, self._problem(begin, end))
        if self.broken:
            yield made_row(self.name, "end", None, self.broken)

    def _elements(self, start: int) -> Generator[Row | Rejected, None, int | None]:
        """The array's rows; returns the place after its bracket, None where the file breaks off."""
        at, number = self._skip(start + 1), 0
        while self.text[at : at + 1] != "]":
            number += 1
            try:
                value, end = self._decoder.raw_decode(self.text, at)
                following = self._after_value(end, "]")
            except (ValueError, RecursionError) as error:
                if not self.broken:
                    self._invalid(error)
                yield made_row(self.name, number, None, self.broken)
                return None
            value = {"text": value} if isinstance(value, str) else value
            yield made_row(self.name, number, value, self._problem(at, end))
            at = following
        return at + 1

    def _member(self, wanted: str) -> int:
        """Where the value of `wanted` begins."""
        names = []
        for key, _, begin, _ in self._members():
            if key == wanted:
                self._decoder.take_duplicates()
                return begin
            names.append(key)
        raise ConfigError(f"{self.name} has no key '{wanted}' (it has {', '.join(names)}).{nearest(wanted, names)}")

    def _members(self) -> Iterator[tuple[str, Any, int, int]]:
        """(key, value, begin and end of the value) of the outermost object, up to the break of the file."""
        at = self._skip(0)
        if self.text[at : at + 1] != "{":
            raise ConfigError(f"{self.name} is not one JSON object")
        at = self._skip(at + 1)
        while self.text[at : at + 1] != "}":
            try:
                key, colon = self._decoder.raw_decode(self.text, at)
                colon = self._skip(colon)
                if not isinstance(key, str) or self.text[colon : colon + 1] != ":":
                    raise json.JSONDecodeError("Expecting a key and ':'", self.text, at)
                begin = self._skip(colon + 1)
                value, end = self._decoder.raw_decode(self.text, begin)
                following = self._after_value(end, "}")
            except (ValueError, RecursionError) as error:
                if not self.broken:
                    self._invalid(error)
                return
            yield key, value, begin, end
            at = following

    def _after_value(self, end: int, closing: str) -> int:
        """Where the next value begins or the closing bracket stands."""
        at = self._skip(end)
        found = self.text[at : at + 1]
        if found == closing:
            return at
        following = self._skip(at + 1)
        if found != "," or self.text[following : following + 1] == closing:
            raise json.JSONDecodeError(f"Expecting ',' and a value, or '{closing}'", self.text, at)
        return following

    def _invalid(self, error: ValueError | RecursionError) -> NoReturn:
        where = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, json.JSONDecodeError):
            where = f"line {error.lineno} column {error.colno}: {error.msg}"
        raise ConfigError(f"{self.name} is not valid JSON: {where}") from error

    def _skip(self, at: int) -> int:
        while self.text[at : at + 1] in _SPACE and at < len(self.text):
            at += 1
        return at

    def _problem(self, begin: int, end: int) -> str:
        """Why the row between `begin` and `end` cannot be used; empty if it can."""
        duplicates = self._decoder.take_duplicates()
        if end - begin > MAX_ROW_BYTES:
            return f"row too large: {end - begin:,} characters, the limit is {MAX_ROW_BYTES:,}"
        if self._dirty and (bad := _ESCAPED_BYTE.search(self.text, begin, end)):
            return not_utf8(ord(bad.group()) - 0xDC00, self._byte_offset(bad.start()))
        return duplicates

    def _byte_offset(self, at: int) -> int:
        """Bytes before character `at`; counted on from the last call, so that the whole file is counted once."""
        done, size = self._counted
        size += len(self.text[done:at].encode("utf-8", "surrogateescape"))
        self._counted = (at, size)
        return size
