"""Rows from a SQL database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
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

_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)


@dataclass(kw_only=True)
class Sql(DataSource):
    """The answer to a query, or a whole table: of a SQLite file, or of any database that SQLAlchemy reaches.

    A file is opened to read only, and nothing but reading is run; a database by `url` (pip install 'tuneforge[sql]',
    and its driver) is left without a commit. Rows are fetched as they are used; `line` is the number of the row.
    Without ORDER BY a database may give its rows in another order each time.
    """

    name: ClassVar[str] = "sql"
    suffixes: ClassVar[tuple[str, ...]] = ("sqlite", "sqlite3", "db")

    query: str | None = None
    """A query that reads (SELECT, WITH)."""
    table: str | None = None
    """Instead of a query: a table, whole; null: the only one there is."""
    url: str | None = field(default=None, metadata={"secret": True})
    """Instead of a file: SQLAlchemy's URL of a database, as ${oc.env:NAME}."""

    @property
    def needs_path(self) -> bool:
        """Whether it reads a file."""
        return self.url is None

    def check(self, run: Run) -> Iterable[str]:
        """One statement that reads, and one database to ask."""
        yield from check_statement(self.query, self.table)
        if self.url is not None and self.path:
            yield "path and url are both set; one of them is the database"
        if self.url is not None and find_spec("sqlalchemy") is None:
            yield "url needs sqlalchemy: pip install 'tuneforge[sql]'"

    def read(self, context: Context) -> Kept:
        """The rows; what the database refuses is a ConfigError in its own words."""
        if self.url is not None:
            return self._from_url(self.url)
        return read_files(self.path, self.suffixes, context, self._from_file)

    def _from_file(self, given: Input) -> Kept:
        name, file = given
        if not isinstance(file, Path):
            raise ConfigError(f"{name}: a database inside an archive cannot be opened; unpack it first")
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        try:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
            asked = statement(name, self.query, self.table, [table for (table,) in found])
            connection.set_authorizer(_only_reading)
            cursor = connection.execute(asked)
            yield from table_rows([column[0] for column in cursor.description], cursor, name)
        except sqlite3.Error as error:
            raise ConfigError(f"{name}: {error}") from error
        finally:
            connection.close()

    def _from_url(self, url: str) -> Kept:
        extras.require("sqlalchemy", "sql", "data=sql with url")
        from sqlalchemy import create_engine, inspect, text
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError

        try:
            engine = create_engine(url)
            with engine.connect() as connection:
                connection = connection.execution_options(postgresql_readonly=True, stream_results=True)
                tables = [] if self.query else inspect(connection).get_table_names()
                asked = statement("the database", self.query, self.table, tables)
                # A colon would be SQLAlchemy's sign of a parameter.
                result = connection.execution_options(yield_per=BATCH).execute(text(asked.replace(":", r"\:")))
                yield from table_rows(list(result.keys()), _cells(result), "")
        except ArgumentError:
            raise ConfigError("url is no SQLAlchemy URL (dialect+driver://user:password@host/database)") from None
        except ModuleNotFoundError as error:
            raise ConfigError(f"url needs the database's driver: pip install {error.name}") from None
        except SQLAlchemyError as error:
            # Never the URL: it may hold a password.
            raise ConfigError(f"the database says: {_first_line(getattr(error, 'orig', None) or error)}") from None


def _only_reading(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _cells(result: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    yield from (tuple(row) for row in result)


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
