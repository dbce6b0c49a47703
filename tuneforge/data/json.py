"""Rows from JSON and JSON Lines files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, ClassVar

from tuneforge.components import Context, DataSource
from tuneforge.data.document import Decoder, Document, made_row
from tuneforge.data.each import each_element
from tuneforge.data.files import Input, read_files
from tuneforge.data.reading import BROKEN_GZIP, UTF8_BOM, File, Line, broken_gzip, decoded, lines, open_bytes
from tuneforge.errors import ConfigError
from tuneforge.rows import Kept

HEAD = 20
"""Lines that are looked at to tell JSON Lines from one JSON value."""

_KEYED = re.compile(rb'\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\{')


class Content(StrEnum):
    """What a file holds, whatever its suffix says."""

    lines = "JSON Lines"
    array = "a JSON array"
    keyed = "a JSON object"


@dataclass(kw_only=True)
class Json(DataSource):
    """JSON Lines, a JSON array, or a JSON object keyed by id; also gzipped. The content decides, not the suffix.

    `line` is the line of a JSON Lines file, the 1-based row of an array, the key of an object. An array may
    hold plain strings: they become the column `text`.
    """

    name: ClassVar[str] = "json"
    suffixes: ClassVar[tuple[str, ...]] = ("json", "jsonl", "ndjson")

    rows: str | None = None
    """Key that holds the array of rows, in a file that is one object around it."""
    each: str | None = None
    """A nested list, as a dotted path: one row of each of its elements, with the columns around it."""

    def read(self, context: Context) -> Kept:
        """Rows as they stand in the file.

        Invalid JSON in JSON Lines rejects the line; in an array or object it is a ConfigError, because
        what follows cannot be told apart.
        """
        said: set[Content] = set()
        found = read_files(self.path, self.suffixes, context, lambda file: self._read(file, said, context))
        return each_element(found, self.each, context)

    def _read(self, given: Input, said: set[Content], context: Context) -> Kept:
        name, file = given
        content = Content.keyed if self.rows else sniff(file)
        if content not in said and _surprising(file, content):
            context.note(f"{file.name} holds {content}, whatever its suffix says")
            said.add(content)
        if content is Content.lines:
            return read_lines(file, name)
        document = Document(file, name)
        if self.rows:
            return document.array_under(self.rows)
        return document.array() if content is Content.array else document.keyed()


def _surprising(file: File, content: Content) -> bool:
    promised = {".jsonl": Content.lines, ".ndjson": Content.lines, ".json": Content.array}
    suffix = next((s for s in reversed(file.suffixes) if s in promised), "")
    return bool(suffix) and content is not Content.keyed and promised[suffix] is not content


def sniff(file: File) -> Content:
    """What the file holds: an array starts with `[`; an object keyed by id has its one `{` at the margin."""
    start = _start(file)
    if start[:1] != b"{":
        return Content.array if start[:1] == b"[" else Content.lines
    head = list(islice((line for line in lines(file) if line.problem or line.data.strip()), HEAD))
    first = _whole_object(head[0])
    if len(head) == 1:
        keyed = all(isinstance(v, dict) for v in first.values()) if first else bool(_KEYED.match(start))
        return Content.keyed if keyed else Content.lines
    return Content.lines if first is not None or any(line.data[:1] == b"{" for line in head[1:]) else Content.keyed


def _start(file: File) -> bytes:
    """The first bytes that are not blank; ConfigError if there are none."""
    start = b""
    with open_bytes(file) as stream:
        try:
            while not start and (chunk := stream.read1(1 << 16)):
                start = chunk.removeprefix(UTF8_BOM).lstrip()
        except BROKEN_GZIP as error:
            raise ConfigError(f"{file}: {broken_gzip(error)}") from error
    if not start:
        raise ConfigError(f"{file} holds no rows, only blank lines")
    return start


def _whole_object(line: Line) -> dict[str, Any] | None:
    """The object that stands on this line alone, if there is one."""
    try:
        row = json.loads(line.data)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def read_lines(file: File, name: str) -> Kept:
    """The objects of a JSON Lines file; a line that is none is rejected."""
    decoder = Decoder()
    for line in lines(file):
        text, problem = decoded(line)
        row: Any = None
        if not problem:
            if not text or text.isspace():
                continue
            try:
                row = decoder.decode(text)
                problem = decoder.take_duplicates()
            except (ValueError, RecursionError) as error:
                decoder.take_duplicates()
                problem = _invalid(text, error)
        yield made_row(name, line.number, row, problem)


def _invalid(text: str, error: ValueError | RecursionError) -> str:
    if (nul := text.find("\0")) >= 0:
        return f"NUL character: at column {nul + 1}"
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON: {error.msg} at column {error.colno}"
    return f"invalid JSON: {'nested too deeply' if isinstance(error, RecursionError) else error}"
