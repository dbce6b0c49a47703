"""Rows from plain text files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from tuneforge.components import Context, DataSource
from tuneforge.data.files import Input, read_files
from tuneforge.data.reading import MAX_ROW_BYTES, File, decoded, lines
from tuneforge.rows import Kept, Rejected, Row


class Unit(StrEnum):
    """What one row is."""

    file = "file"
    line = "line"
    paragraph = "paragraph"


@dataclass(kw_only=True)
class Text(DataSource):
    """Plain text in the column `text`: a row per paragraph (between blank lines), per line, or the whole file.

    Also gzipped. `line` is the line on which a row begins. Line ends within a row become newlines.
    """

    name: ClassVar[str] = "text"
    suffixes: ClassVar[tuple[str, ...]] = ("txt", "md")

    unit: Unit = Unit.paragraph
    """What one row is: paragraph, line or file."""

    def read(self, context: Context) -> Kept:
        """Rows without blank ones; a row with a line that cannot be read is rejected."""
        context.note(f"{self.path}: one row per {self.unit} (unit: {', '.join(Unit)})")
        yield from read_files(self.path, self.suffixes, context, self._read)

    def _read(self, given: Input) -> Kept:
        for part in self._parts(given.file):
            yield part.row(given.name)

    def _parts(self, file: File) -> Iterator[_Part]:
        part = _Part()
        for line in lines(file):
            text, problem = decoded(line)
            blank = not problem and not text.strip()
            if part and (self.unit is Unit.line or (self.unit is Unit.paragraph and blank)):
                yield part
                part = _Part()
            if part or not blank:
                part.add(line.number, text, problem)
        if part:
            yield part


class _Part:
    """The lines of one row."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._first, self._size, self._problem = 0, 0, ""

    def __bool__(self) -> bool:
        return bool(self._first)

    def add(self, number: int, text: str, problem: str) -> None:
        """One more line; nothing is held once there is a problem."""
        self._first = self._first or number
        self._size += len(text) + 1
        if self._size > MAX_ROW_BYTES:
            problem = f"row too large: over {MAX_ROW_BYTES:,} characters; choose a smaller unit"
        self._problem = self._problem or problem
        if self._problem:
            self._lines.clear()
        else:
            self._lines.append(text)

    def row(self, file: str) -> Row | Rejected:
        """The row, or why it is none."""
        if self._problem:
            return Rejected(Row(columns={}, file=file, line=self._first), self._problem)
        return Row(columns={"text": "\n".join(self._lines).rstrip("\n")}, file=file, line=self._first)
