"""Queries on SQLite databases that are only read, and whether two results are the same."""

from __future__ import annotations

import re
import sqlite3
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from itertools import starmap
from math import isclose
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tuneforge.conversation import references
from tuneforge.errors import ConfigError
from tuneforge.evaluation.execution.answers import block
from tuneforge.rows import Row

ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
"""Functions that reach out of the database."""
LARGEST = 10_000_000
"""Bytes of a value at most."""
ROWS = 100_000
"""Rows of a reference at most."""
STEPS = 1000
"""Instructions of SQLite's machine between two looks at the clock."""
TOLERANCE = 1e-6
QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)
FAILS = (sqlite3.Error, sqlite3.Warning, ValueError)
"""What a query that cannot be run raises: of its own, for several statements, for characters that are none."""
FILES = ("{0}", "{0}.sqlite", "{0}.db", "{0}/{0}.sqlite", "{0}/{0}.db")


class Result(NamedTuple):
    """Rows of a query, and whether their order is part of it."""

    rows: list[tuple[Any, ...]]
    ordered: bool = False


def database(path: str, name: Any, key: str, row: Row) -> Path:
    """The SQLite file at the path or, where that is a folder, the one of that name. ConfigError where there is none."""
    base = Path(path).expanduser()
    if not base.exists():
        raise ConfigError(f"{key}: no such file or folder")
    if base.is_dir() and not name:
        raise ConfigError(f"{key} is a folder: name the kept column with each row's database, as column=db_id")
    if base.is_dir() and Path(str(name)).name != str(name):
        raise ConfigError(f"{row.place}: '{name}' is no name of a database")
    tried = [base / file.format(name) for file in FILES] if base.is_dir() else [base]
    file = next((one for one in tried if one.is_file()), None)
    if file is None:
        raise ConfigError(f"{row.place}: {key} holds no database '{name}' ({name}.sqlite, {name}/{name}.sqlite)")
    with file.open("rb") as opened:
        if opened.read(16) != b"SQLite format 3\0":
            raise ConfigError(f"{key}: {file} is no SQLite database")
    return file


def results(path: Path, row: Row, seconds: float) -> list[Result]:
    """What the row's right queries return. ConfigError names a row with one that cannot be run."""
    found = []
    for query in references(row.columns):
        try:
            rows = run(path, query, seconds, ROWS + 1)
        except FAILS as error:
            raise ConfigError(
                f"{row.place}: the reference query does not run on {path}: {error}: {query[:120]}"
            ) from error
        if len(rows) > ROWS:
            raise ConfigError(f"{row.place}: the reference query returns more than {ROWS:,} rows: {query[:120]}")
        found.append(Result(rows, ordered(query)))
    return found


def fault(path: Path, answer: str, expected: Sequence[Result], seconds: float) -> tuple[str, str]:
    """(`cannot run` or `other result`, why); empty texts where the result is that of a right query."""
    try:
        rows = run(path, block(answer, ("sql", "sqlite")), seconds, max(len(one.rows) for one in expected) + 1)
    except FAILS as error:
        return "cannot run", str(error)
    if any(same(rows, one) for one in expected):
        return "", ""
    return "other result", f"{len(rows)} rows, the first {str(rows[:1])[1:-1][:80]}" if rows else "no row"


def run(path: Path, query: str, seconds: float, most: int) -> list[tuple[Any, ...]]:
    """At most so many rows of one query. One of FAILS for what is no query, writes, reaches out or takes too long."""
    end = time.monotonic() + seconds
    with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
        connection.set_authorizer(_permitted)
        connection.set_progress_handler(lambda: time.monotonic() > end, STEPS)
        try:
            cursor = connection.execute(query)
            rows = cursor.fetchmany(most)
        except sqlite3.OperationalError as error:
            if time.monotonic() > end:
                raise sqlite3.OperationalError(f"longer than {seconds:g} s") from error
            raise
        if cursor.description is None:
            raise sqlite3.ProgrammingError("it returns no columns")
        return rows


def _permitted(action: int, first: str | None, second: str | None, *where: str | None) -> int:
    reads = action in ALLOWED or (action == sqlite3.SQLITE_FUNCTION and str(second).lower() not in FUNCTIONS)
    return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY


def ordered(query: str) -> bool:
    """Whether the query says ORDER BY outside of parentheses."""
    depth, top = 0, []
    for part in re.split(r"([()])", QUOTED.sub(" ", query)):
        depth += (part == "(") - (part == ")")
        top.append(part if not depth else " ")
    return re.search(r"\border\s+by\b", "".join(top), re.IGNORECASE) is not None


def same(rows: Sequence[tuple[Any, ...]], expected: Result) -> bool:
    """Equal rows, in order or as multisets; numbers to a millionth."""
    if len(rows) != len(expected.rows):
        return False
    if expected.ordered:
        return all(starmap(_close, zip(rows, expected.rows, strict=True)))
    mine, theirs = _grouped(rows), _grouped(expected.rows)
    return mine.keys() == theirs.keys() and all(
        len(group) == len(theirs[key]) and all(starmap(_close, zip(group, theirs[key], strict=True)))
        for key, group in mine.items()
    )


def _grouped(rows: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], list[tuple[Any, ...]]]:
    """Sorted numbers of the rows that are alike but for their numbers."""
    found = defaultdict(list)
    for row in rows:
        found[tuple(Number if _number(value) else value for value in row)].append(tuple(filter(_number, row)))
    return {key: sorted(group, key=_rounded) for key, group in found.items()}


def _rounded(row: tuple[Any, ...]) -> tuple[list[Any], tuple[Any, ...]]:
    """Numbers by which rows are sorted: sums in another order, which differ in the last bits, stay side by side."""
    return [float(f"{value:.9g}") if isinstance(value, float) else value for value in row], row


class Number:
    """Stands for any number in a row's key."""


def _number(value: Any) -> bool:
    return isinstance(value, int | float)


def _close(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(
        isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE**2) if _number(a) and _number(b) else a == b
        for a, b in zip(one, other, strict=True)
    )
