"""What the sources that ask a database share: the statement, and its answer as rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tuneforge.errors import ConfigError, nearest
from tuneforge.rows import Kept, Rejected, Row

BATCH = 1000
"""Rows fetched at once."""

_READS = re.compile(r"(?is)\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*\(?\s*(?:select|with|values|table|from)\b")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


def check_statement(query: str | None, table: str | None) -> Iterator[str]:
    """Reasons why there is no one statement that reads."""
    if query is not None and table is not None:
        yield "query and table are both set; one of them says what to read"
    if query is not None and not _READS.match(query):
        yield f"query={query!r}: only a query that reads (SELECT, WITH) is run"


def statement(where: str, query: str | None, table: str | None, tables: Sequence[str]) -> str:
    """The query; else a whole table: the one named, or the only one. ConfigError with the tables there are."""
    if query is not None:
        return query
    if table is None and len(tables) == 1:
        table = tables[0]
    if table is None:
        raise ConfigError(f"{where} has {len(tables)} tables ({', '.join(tables)}); say which with table=, or query=")
    if table not in tables:
        raise ConfigError(f"{where} has no table '{table}' (it has {', '.join(tables)}).{nearest(table, tables)}")
    quoted = table.replace('"', '""')
    return f'SELECT * FROM "{quoted}"'


def table_rows(names: Sequence[str], answer: Iterable[Sequence[Any]], file: str) -> Kept:
    """The answer to a query; `line` is the 1-based row. ConfigError where two columns have one name."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"the query names '{twice[0]}' twice; rename one with AS")
    for line, cells in enumerate(answer, 1):
        columns = {name: _plain(cell) for name, cell in zip(names, cells, strict=True)}
        texts = (cell for cell in cells if isinstance(cell, str) and not cell.isascii())
        if bad := next((found for text in texts if (found := _ESCAPED_BYTE.search(text))), None):
            reason = f"not UTF-8: byte 0x{ord(bad.group()) - 0xDC00:02x} in a cell, at character {bad.start() + 1:,}"
            yield Rejected(Row(columns={}, file=file, line=line), reason)
        else:
            yield Row(columns=columns, file=file, line=line)


def _plain(cell: Any) -> Any:
    """Dates, decimals, identifiers as text; what a file could hold too as it is."""
    kept = isinstance(cell, (str, int, float, bool, bytes, list, dict)) or cell is None
    return cell if kept else bytes(cell) if isinstance(cell, memoryview) else str(cell)
