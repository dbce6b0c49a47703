"""Queries and tables of SQLite files, and of databases by URL."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tuneforge.composition import compose
from tuneforge.data.sql import Sql
from tuneforge.errors import ConfigError


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Two tables and a view, a NULL, a BLOB, and a text that is none."""
    path = tmp_path / "a.sqlite"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE faq (id INTEGER, question TEXT, answer TEXT, raw BLOB)")
        made.executemany(
            "INSERT INTO faq VALUES (?, ?, ?, ?)",
            [(1, "Why?", "So.", b"\0"), (2, "At 10:30?", "Yes: 100 %s", None), (3, None, "x", None)],
        )
        made.execute("INSERT INTO faq VALUES (4, CAST(x'636166E9' AS TEXT), 'x', NULL)")
        made.execute("CREATE TABLE empty (text TEXT)")
        made.execute("CREATE VIEW short AS SELECT question, answer FROM faq WHERE id < 3 ORDER BY id")
    made.close()
    return str(path)


def test_query_and_table(database: str, read: Any) -> None:
    found = read(Sql(path=database, query="SELECT question q, answer FROM faq ORDER BY id"))
    assert [(row.line, row.columns["q"]) for row in found.rows] == [(1, "Why?"), (2, "At 10:30?"), (3, None)]
    assert found.reasons() == {4: "not UTF-8: byte 0xe9 in a cell, at character 4"}
    assert read(Sql(path=database, table="short")).columns("answer") == ["So.", "Yes: 100 %s"]
    assert read(Sql(path=database, table="faq")).rows[0].columns["raw"] == b"\0"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, r"a.sqlite has 3 tables \(empty, faq, short\); say which with table=, or query="),
        ({"table": "fqa"}, r"has no table 'fqa' .*Did you mean 'faq'\?"),
        ({"query": "SELECT anser FROM faq"}, r"a\.sqlite: no such column: anser"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "the query names 'a' twice; rename one with AS"),
        ({"query": "WITH x AS (SELECT 1) DELETE FROM faq"}, "not authorized"),
        ({"query": "SELECT load_extension('x')"}, "not authorized"),
        ({"query": "SELECT 1; DROP TABLE faq"}, "one statement at a time"),
    ],
)
def test_what_the_database_refuses(asked: dict[str, str], said: str, database: str, read: Any) -> None:
    with pytest.raises(ConfigError, match=said):
        read(Sql(path=database, **asked))


def test_nothing_is_written(database: str, read: Any) -> None:
    before = Path(database).read_bytes()
    for query in ("INSERT INTO faq VALUES (9, 'a', 'b', NULL)", "ATTACH 'new.db' AS x", "PRAGMA user_version = 3"):
        assert list(Sql(path=database, query=query).check(None))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"not authorized|readonly"):
            read(Sql(path=database, query=query))
    assert Path(database).read_bytes() == before
    assert [p.name for p in Path(database).parent.iterdir()] == ["a.sqlite"]


def test_no_database(tmp_path: Path, read: Any) -> None:
    (tmp_path / "a.db").write_text("text " * 1000)
    with pytest.raises(ConfigError, match=r"a\.db: file is not a database"):
        read(Sql(path=str(tmp_path / "a.db")))


def test_by_url_as_by_file(database: str, read: Any) -> None:
    pytest.importorskip("sqlalchemy")
    url = f"sqlite:///{database}"
    query = "SELECT question, answer FROM faq WHERE answer <> ':no' AND id < 4 ORDER BY id"
    by_file, by_url = read(Sql(path=database, query=query)), read(Sql(url=url, query=query))
    assert [dict(row.columns) for row in by_url.rows] == [dict(row.columns) for row in by_file.rows]
    timed = "SELECT answer FROM faq WHERE question = 'At 10:30?'"
    assert read(Sql(url=url, query=timed)).columns("answer") == ["Yes: 100 %s"]
    with pytest.raises(ConfigError, match="the database says: no such table: nowhere"):
        read(Sql(url=url, query="SELECT * FROM nowhere"))
    with pytest.raises(ConfigError, match=r"has no table 'fqa' \(it has empty, faq\)"):
        read(Sql(url=url, table="fqa"))


def test_errors_do_not_hold_the_url(read: Any) -> None:
    pytest.importorskip("sqlalchemy")
    for url in ("postgresql://ann:pass_word@host/d", "no url pass_word", "nosuch://ann:pass_word@host/d"):
        with pytest.raises(ConfigError) as error:
            read(Sql(url=url, query="SELECT 1"))
        assert "pass_word" not in str(error.value)


def test_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAQ_URL", "sqlite:///x")
    run = compose(["model=tiny", "data=sql", "data.sql.url=${oc.env:FAQ_URL}", "data.sql.table=faq"])
    assert run.data["sql"].url == "sqlite:///x"  # type: ignore[attr-defined]
    for overrides, said in (
        (["data.sql.url=sqlite:///x"], "a secret is never written down"),
        ([], r"data.sql.path: name a file \(\.sqlite"),
        (["data.sql.path=a.db", "data.sql.query='SELECT 1'", "data.sql.table=a"], "query and table are both set"),
        (["data.sql.path=a.db", "data.sql.query='DROP TABLE a'"], "only a query that reads"),
    ):
        with pytest.raises(ConfigError, match=said):
            compose(["model=tiny", "data=sql", *overrides])
