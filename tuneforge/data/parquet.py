"""Rows from Parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tuneforge.components import Context, DataSource
from tuneforge.data.each import each_element
from tuneforge.data.files import Input, read_files
from tuneforge.data.reading import Member
from tuneforge.errors import ConfigError
from tuneforge.rows import Kept, Rejected, Row

BATCH = 1000
"""Rows decoded at once."""


@dataclass(kw_only=True)
class Parquet(DataSource):
    """A Parquet file. `line` is the 1-based row."""

    name: ClassVar[str] = "parquet"
    suffixes: ClassVar[tuple[str, ...]] = ("parquet",)

    each: str | None = None
    """A nested list, as a dotted path: one row of each of its elements, with the columns around it."""

    def read(self, context: Context) -> Kept:
        """Rows as they stand in the file; cells become Python values. A broken file is a ConfigError."""
        return each_element(read_files(self.path, self.suffixes, context, self._read), self.each, context)

    def _read(self, given: Input) -> Kept:
        import pyarrow.parquet as pq
        from pyarrow import ArrowException

        (name, file), done = given, 0
        try:
            with pq.ParquetFile(file.open() if isinstance(file, Member) else file) as table:
                for batch in table.iter_batches(batch_size=BATCH):
                    for offset, columns in enumerate(_values(batch), 1):
                        yield _row(name, done + offset, columns)
                    done += batch.num_rows
        except (ArrowException, OSError) as error:
            raise ConfigError(f"{name} is no readable Parquet file (after row {done:,}): {error}") from error


def _values(batch: Any) -> list[dict[str, Any] | str]:
    """The rows of a batch; for a row that holds invalid UTF-8 the reason."""
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        return [_value(batch.slice(index, 1)) for index in range(batch.num_rows)]


def _value(one: Any) -> dict[str, Any] | str:
    try:
        return dict(one.to_pylist()[0])
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte 0x{error.object[error.start]:02x} at byte offset {error.start:,} of a cell"


def _row(file: str, line: int, columns: dict[str, Any] | str) -> Row | Rejected:
    if isinstance(columns, str):
        return Rejected(Row(columns={}, file=file, line=line), columns)
    return Row(columns=columns, file=file, line=line)
