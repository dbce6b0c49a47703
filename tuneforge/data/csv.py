"""Rows from CSV and TSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tuneforge.components import Context, DataSource
from tuneforge.data.files import Input, read_files
from tuneforge.data.reading import MAX_ROW_BYTES, File, Line, lines, not_utf8
from tuneforge.errors import ConfigError
from tuneforge.rows import Kept, Rejected, Row


@dataclass(kw_only=True)
class Csv(DataSource):
    """Comma- or tab-separated rows under a header line, also gzipped; cells may span lines.

    `line` is the line on which a row begins. All cells are text.
    """

    name: ClassVar[str] = "csv"
    suffixes: ClassVar[tuple[str, ...]] = ("csv", "tsv")

    delimiter: str | None = None
    """What separates cells; null: a tab in a .tsv file, else a comma."""

    def read(self, context: Context) -> Kept:
        """Rows with the header's names. A row with too many or too few cells is rejected."""
        return read_files(self.path, self.suffixes, context, self._read)

    def _read(self, given: Input) -> Kept:
        name, file = given
        reader = _Reader(file, name, self._separator(file))
        header = reader.header()
        for line, cells, problem in reader.rows():
            if not problem and len(cells) != len(header):
                problem = f"wrong number of cells: {len(cells)}, the header has {len(header)}"
            if problem:
                yield Rejected(Row(columns={}, file=name, line=line), problem)
            else:
                yield Row(columns=dict(zip(header, cells, strict=True)), file=name, line=line)

    def _separator(self, file: File) -> str:
        if self.delimiter is None:
            return "\t" if ".tsv" in file.suffixes else ","
        separator = {"\\t": "\t", "tab": "\t"}.get(self.delimiter, self.delimiter)
        if len(separator) != 1:
            raise ConfigError(f"delimiter={self.delimiter!r} must be one character (tab for a tab)")
        return separator


class _Reader:
    """Python's CSV reader over our own lines: it knows where a row began, and its bytes."""

    def __init__(self, file: File, name: str, separator: str) -> None:
        # The standard limit of 131,072 characters per cell is one setting for the whole process.
        csv.field_size_limit(MAX_ROW_BYTES)
        self._name = name
        self._taken: list[Line] = []
        self._cells = csv.reader(self._texts(file), delimiter=separator, strict=True)

    def header(self) -> list[str]:
        """The names of the columns."""
        first = next(self.rows(), None)
        if first is None:
            raise ConfigError(f"{self._name} holds no header line")
        _, names, problem = first
        if problem:
            raise ConfigError(f"{self._name} has no usable header line: {problem}")
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(f"{self._name}: the header names '{twice[0]}' twice")
        return names

    def rows(self) -> Iterator[tuple[int, list[str], str]]:
        """(first line, cells, problem) of every row that is not blank."""
        while True:
            self._taken.clear()
            cells: list[str] = []
            problem = ""
            try:
                cells = next(self._cells)
            except StopIteration:
                return
            except csv.Error as error:
                problem = f"invalid CSV: {error}"
            problem = self._bad_line() or problem
            if cells or problem:
                yield self._taken[0].number, cells, problem

    def _texts(self, file: File) -> Iterator[str]:
        for line in lines(file):
            self._taken.append(line)
            yield line.data.decode("utf-8", "surrogateescape")

    def _bad_line(self) -> str:
        """The problem of a line of the present row, in reading or in decoding."""
        for line in self._taken:
            if line.problem:
                return line.problem
            try:
                line.data.decode("utf-8")
            except UnicodeDecodeError as error:
                return not_utf8(line.data[error.start], line.offset + error.start)
        return ""
