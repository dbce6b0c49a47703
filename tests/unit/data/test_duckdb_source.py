"""DuckDB's own files, and queries over other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tuneforge.composition import compose
from tuneforge.data.duckdb import DuckDB
from tuneforge.errors import ConfigError

duckdb = pytest.importorskip("duckdb")


@pytest.fixture
def database(tmp_path: Path) -> str:
    with duckdb.connect(str(tmp_path / "a.duckdb")) as made:
        made.execute(
            "CREATE TABLE faq AS SELECT 'q' || i AS question, [i, i + 1] AS answers, DATE '2020-01-01' AS day, "
            "1.50::DECIMAL(4, 2) AS price FROM range(2500) t(i)"
        )
    return str(tmp_path / "a.duckdb")


def test_the_only_table_and_a_query(database: str, read: Any) -> None:
    found = read(DuckDB(path=database))
    assert len(found.rows) == 2500
    assert (found.rows[2400].line, dict(found.rows[2400].columns)) == (
        2401,
        {"question": "q2400", "answers": [2400, 2401], "day": "2020-01-01", "price": "1.50"},
    )
    query = "SELECT count(*) AS n FROM faq WHERE day = '2020-01-01'"
    assert read(DuckDB(path=database, query=query)).columns("n") == [2500]


def test_straight_over_files(tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("text,ok\nx,1\ny,0\n")
    Path("b.csv").write_text("text,ok\nz,1\n")
    found = read(DuckDB(query="SELECT text FROM '*.csv' WHERE ok = 1 ORDER BY text"))
    assert found.columns("text") == ["x", "z"]
    assert (
        compose(["model=tiny", "data=duckdb", "data.duckdb.query=\"SELECT * FROM 'a.csv'\""]).data["duckdb"].path == ""
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"query": "SELECT * FROM nowhere"}, "Catalog Error: Table with name nowhere does not exist!"),
        ({"query": "SELECT FROM WHERE"}, "Parser Error: "),
        ({"query": "SELECT 1; SELECT 2"}, "one SELECT is run, nothing else"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "names 'a' twice"),
        ({"table": "fqa"}, r"has no table 'fqa' \(it has faq\)"),
        ({"query": "COPY faq TO 'out.csv'"}, "one SELECT is run, nothing else"),
        ({"query": "WITH x AS (SELECT 1) DELETE FROM faq"}, "one SELECT is run, nothing else"),
        ({"query": "SELECT * FROM 'none.parquet'"}, "No files found"),
    ],
)
def test_what_is_refused_in_one_line(asked: dict[str, str], said: str, database: str, read: Any) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        read(DuckDB(path=database, **asked))
    assert "\n" not in str(error.value)


def test_no_database(tmp_path: Path, read: Any) -> None:
    (tmp_path / "a.duckdb").write_text("text " * 1000)
    with pytest.raises(ConfigError, match="not a valid DuckDB database file"):
        read(DuckDB(path=str(tmp_path / "a.duckdb")))
