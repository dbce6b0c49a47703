"""SQL of answers on a small database."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tuneforge.errors import ConfigError
from tuneforge.evaluation.execution.queries import ordered
from tuneforge.evaluator.query_execution import QueryExecution
from tuneforge.rows import Answer, Row

ALL = "SELECT name, price FROM item"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("databases") / "shop" / "shop.sqlite"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE item (id INTEGER, name TEXT, price REAL, kind TEXT);"
            "INSERT INTO item VALUES (1, 'pen', 0.1, 'a'), (2, 'ink', 0.2, 'a'), (3, 'cap', 0.3, 'b');"
            "INSERT INTO item VALUES (4, NULL, 1, 'b'), (5, CAST(x'ff41' AS TEXT), 9, 'c');"
        )
    return path


def row(reference: str, **fields: Any) -> Row:
    columns = {"prompt": "q", "completion": reference}
    return Row(columns=columns, source="test.x", file="a.jsonl", line=5, fields=fields)


def score(shop: Path, reference: str, answer: str, **settings: Any) -> tuple[float, float]:
    found = QueryExecution(database=str(shop), **settings).score(row(reference), Answer(answer))
    return found["query_execution"], found["valid"]


RIGHT, OTHER, FAILS = (1, 1), (0, 1), (0, 0)


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        (ALL, ALL, RIGHT),
        (ALL, "select NAME as n, price as p from item order by id desc;", RIGHT),
        (ALL, "Use:\n```sql\nSELECT name, price FROM item -- all\n```\nDone.", RIGHT),
        (ALL, "SELECT price, name FROM item", OTHER),
        (ALL, "SELECT name FROM item", OTHER),
        (ALL, ALL + " WHERE id < 5", OTHER),
        (ALL, ALL + " UNION ALL " + ALL, OTHER),
        ("SELECT kind FROM item", "SELECT DISTINCT kind FROM item", OTHER),
        ("SELECT sum(price) FROM item WHERE id < 4", "SELECT 0.6", RIGHT),
        ("SELECT sum(price) FROM item WHERE id < 4", "SELECT 0.6001", OTHER),
        # 0.1 + 0.2 is more than 0.3 in the last bit, and would change places with it.
        ("VALUES (0.1 + 0.2, 1), (0.3, 2)", "VALUES (0.3, 1), (0.3, 2)", RIGHT),
        ("VALUES (0.1 + 0.2, 1), (0.3, 2)", "VALUES (0.3, 1), (0.3, 3)", OTHER),
        ("VALUES (90071992547409, 1), (90071992547410, 2)", "VALUES (90071992547410, 2), (90071992547409, 1)", RIGHT),
        ("SELECT 1", "SELECT 1.0", RIGHT),
        ("SELECT 1", "SELECT '1'", OTHER),
        ("SELECT id FROM item ORDER BY id", "SELECT id FROM item ORDER BY id DESC", OTHER),
        ("SELECT id FROM item ORDER BY id", "SELECT id FROM item ORDER BY name", OTHER),
        ("SELECT id FROM item WHERE id < 4 ORDER BY id", "SELECT id FROM item WHERE id < 4 ORDER BY price", RIGHT),
        ("SELECT name FROM item WHERE id > 9", "SELECT name FROM item WHERE 0", RIGHT),
        ("SELECT price, kind FROM item", "SELECT price, kind FROM item ORDER BY kind DESC, price DESC", RIGHT),
        ("SELECT id, price FROM item", "SELECT id, 0.5 - id FROM item", OTHER),
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT i FROM n",
            "VALUES (3),(1),(2)",
            RIGHT,
        ),
        (ALL, "SELECT nam FROM item", FAILS),
        (ALL, "", FAILS),
        (ALL, "-- nothing", FAILS),
        (ALL, "SELECT 1; SELECT 2", FAILS),
        (ALL, "SELECT 1\0", FAILS),
        (ALL, "INSERT INTO item VALUES (9, 'x', 1, 'x')", FAILS),
        (ALL, "DROP TABLE item", FAILS),
        (ALL, "CREATE TEMP TABLE t (a)", FAILS),
        (ALL, "ATTACH 'other.sqlite' AS o", FAILS),
        (ALL, "PRAGMA query_only = off", FAILS),
        (ALL, "SELECT * FROM pragma_database_list", FAILS),
        (ALL, "VACUUM INTO 'copy.sqlite'", FAILS),
        (ALL, "BEGIN", FAILS),
        (ALL, "SELECT load_extension('x')", FAILS),
        (ALL, "SELECT length(zeroblob(900000000))", FAILS),
        (ALL, "the answer is 42", FAILS),
    ],
)
def test_answers(shop: Path, reference: str, answer: str, expected: tuple[float, float]) -> None:
    before = shop.read_bytes()
    assert score(shop, reference, answer) == expected
    assert shop.read_bytes() == before
    assert [file.name for file in shop.parent.iterdir()] == ["shop.sqlite"]


def test_a_query_that_does_not_end_is_ended(shop: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    assert score(shop, ALL, endless, timeout=0.2) == FAILS


def test_a_long_result_is_read_no_further_than_needed(shop: Path) -> None:
    assert score(shop, ALL, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n") == OTHER


def test_one_of_several_references_is_enough(shop: Path) -> None:
    several = Row(columns={"prompt": "q", "completion": "SELECT 1", "references": ["SELECT 1", "SELECT 2"]})
    assert QueryExecution(database=str(shop)).score(several, Answer("SELECT 2"))["query_execution"] == 1
    assert QueryExecution(database=str(shop)).score(several, Answer("SELECT 2", error="no room"))["valid"] == 0


def test_each_row_may_name_its_database(shop: Path) -> None:
    evaluator = QueryExecution(database=str(shop.parent.parent), column="db_id")
    assert evaluator.score(row(ALL, db_id="shop"), Answer(ALL))["query_execution"] == 1
    for name, said in (("shp", "holds no database 'shp'"), ("../shop", "'../shop' is no name of a database")):
        with pytest.raises(ConfigError, match=rf"a.jsonl:5: .*{said}"):
            evaluator.score(row(ALL, db_id=name), Answer(ALL))
    with pytest.raises(ConfigError, match="no row has a kept column 'db_id'"):
        evaluator.score(row(ALL), Answer(ALL))
    with pytest.raises(ConfigError, match="is a folder: name the kept column"):
        QueryExecution(database=str(shop.parent.parent)).score(row(ALL), Answer(ALL))


def test_what_is_no_database_is_said(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"database=/absent.sqlite: no such file or folder"):
        QueryExecution(database="/absent.sqlite").score(row(ALL), Answer(ALL))
    (tmp_path / "text.sqlite").write_text("name,price")
    with pytest.raises(ConfigError, match="is no SQLite database"):
        QueryExecution(database=str(tmp_path / "text.sqlite")).score(row(ALL), Answer(ALL))
    assert "database is empty" in next(iter(QueryExecution().check(None)))  # type: ignore[arg-type]


def test_a_reference_that_does_not_run_names_its_row_before_anything_is_asked(shop: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"a.jsonl:5: the reference query does not run on .*no such table: itm: SELECT"
    ):
        list(QueryExecution(database=str(shop)).measure(None, [row("SELECT 1 FROM itm")], None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT a FROM t ORDER  BY a", True),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a)", False),
        ("SELECT 'ORDER BY (', \"order by\" FROM t -- ORDER BY a", False),
        ("SELECT a /* ( */ FROM t WHERE b = 'it''s' order\nby a", True),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", False),
    ],
)
def test_order_by_counts_outside_of_parentheses(query: str, expected: bool) -> None:
    assert ordered(query) is expected


@pytest.mark.shared
def test_order_by_is_found_where_spiders_own_parser_finds_it(shared: Path) -> None:
    """The compound of a query (UNION …) carries the ORDER BY at its end in SQLite, in Spider's tree its last part."""

    def orders(tree: Any) -> bool:
        return bool(tree and (tree["orderBy"] or any(orders(tree[k]) for k in ("union", "intersect", "except"))))

    rows = json.loads(gzip.decompress((shared / "data/spider/dev.part1.json.gz").read_bytes()))
    wrong = [one["query"] for one in rows if ordered(one["query"]) is not orders(one["sql"])]
    assert (len(rows), wrong) == (500, [])
