"""One row of each element of a nested list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tuneforge.components import Context
from tuneforge.errors import ConfigError, nearest
from tuneforge.rows import Kept, Rejected, Row

ELEMENTS = 100_000
"""Most elements of one row."""

NO_LIST = "no list"


def each_element(rows: Kept, path: str | None, context: Context) -> Kept:
    """The elements of the list at the dotted path `path`, each with the columns around it; line 3 gives 3.1, 3.2, …

    The list itself is left out. Of names that stand in both, the element's wins, said at the end. An element that is
    no object becomes a column of the list's name. A row without such a list is rejected; ConfigError where no row has
    one. None: the rows themselves.
    """
    if path is None:
        yield from rows
        return
    hidden: Counter[str] = Counter()
    columns: dict[str, None] = {}
    found = False
    for row in rows:
        if isinstance(row, Rejected):
            yield row
            continue
        columns.update(dict.fromkeys(row.columns) if not found else {})
        for made in _elements(row, path.split("."), hidden):
            found = found or not (isinstance(made, Rejected) and made.reason.endswith(NO_LIST))
            yield made
    if columns and not found:
        known = ", ".join(columns)
        raise ConfigError(f"each={path}: no row has a list there (columns are {known}).{nearest(path, columns)}")
    if hidden:
        names = ", ".join(f"{name} ({count:,} rows)" for name, count in hidden.most_common())
        context.note(f"each={path}: columns of the elements hide columns of the same name around them: {names}")


def _elements(row: Row, keys: list[str], hidden: Counter[str]) -> Kept:
    elements, around = _taken_out(row.columns, keys)
    where = f"'{'.'.join(keys)}'"
    if not isinstance(elements, list) or not elements:
        yield Rejected(row, f"no elements: {where} is {'an empty list' if isinstance(elements, list) else NO_LIST}")
        return
    if len(elements) > ELEMENTS:
        yield Rejected(row, f"row too large: {where} has {len(elements):,} elements, the limit is {ELEMENTS:,}")
        return
    for number, element in enumerate(elements, 1):
        inner = element if isinstance(element, Mapping) else {keys[-1]: element}
        hidden.update(inner.keys() & around.keys())
        yield Row(columns={**around, **inner}, file=row.file, line=f"{row.line}.{number}")


def _taken_out(columns: Mapping[str, Any], keys: list[str]) -> tuple[Any, dict[str, Any]]:
    """(value at the path, columns without it); the value is None where the path leads nowhere."""
    around = dict(columns)
    value = around.pop(keys[0], None)
    if len(keys) > 1:
        if not isinstance(value, Mapping):
            return None, around
        value, around[keys[0]] = _taken_out(value, keys[1:])
    return value, around
