"""Rows from DuckDB: its own files, or a query straight over CSV, Parquet and JSON files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge import extras
from tuneforge.components import Context, DataSource
from tuneforge.data.files import Input, read_files
from tuneforge.data.tables import BATCH, check_statement, statement, table_rows
from tuneforge.errors import ConfigError
from tuneforge.rows import Kept

if TYPE_CHECKING:
    from tuneforge.settings import Run

TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"


@dataclass(kw_only=True)
class DuckDB(DataSource):
    """The answer to a DuckDB query, or a whole table: of a .duckdb file, or over files that the query names.

    `SELECT * FROM 'logs/*.parquet' WHERE ok` needs no `path`. A file is opened to read only, one SELECT is run, and no
    extension is fetched. Rows are fetched as they are used; `line` is the number of the row.
    """

    name: ClassVar[str] = "duckdb"
    suffixes: ClassVar[tuple[str, ...]] = ("duckdb",)
    extra: ClassVar[str] = "duckdb"
    module: ClassVar[str] = "duckdb"

    query: str | None = None
    """A query that reads; the files that it names are found from the directory of the command."""
    table: str | None = None
    """Instead of a query: a table, whole; null: the only one there is."""

    @property
    def needs_path(self) -> bool:
        """Whether it reads a DuckDB file."""
        return self.query is None

    def check(self, run: Run) -> Iterable[str]:
        """One statement that reads."""
        yield from check_statement(self.query, self.table)

    def read(self, context: Context) -> Kept:
        """The rows; what DuckDB refuses is a ConfigError in its own words."""
        extras.require("duckdb", "duckdb", "data=duckdb")
        if not self.path:
            return self._rows("", ":memory:")
        return read_files(self.path, self.suffixes, context, self._from_file)

    def _from_file(self, given: Input) -> Kept:
        if not isinstance(given.file, Path):
            raise ConfigError(f"{given.name}: a database inside an archive cannot be opened; unpack it first")
        return self._rows(given.name, str(given.file))

    def _rows(self, name: str, database: str) -> Kept:
        import duckdb

        settings = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        try:
            with duckdb.connect(database, read_only=bool(name), config=settings) as connection:
                tables = [table for (table,) in connection.execute(TABLES).fetchall()]
                asked = statement(name or "DuckDB", self.query, self.table, tables)
                kinds = [found.type for found in connection.extract_statements(asked)]
                if kinds != [duckdb.StatementType.SELECT]:
                    raise ConfigError("query: one SELECT is run, nothing else")
                cursor = connection.execute(asked)
                yield from table_rows([column[0] for column in cursor.description], _fetched(cursor), name)
        except duckdb.Error as error:
            said = " ".join(str(error).partition("\n\nLINE")[0].split())
            raise ConfigError(f"{name or 'duckdb'}: {said}") from error


def _fetched(cursor: Any) -> Iterator[Any]:
    while batch := cursor.fetchmany(BATCH):
        yield from batch
