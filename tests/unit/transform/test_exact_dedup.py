"""Exact deduplication."""

from __future__ import annotations

from typing import Any

from tuneforge.rows import Rejected, Row
from tuneforge.transform.exact_dedup import ExactDedup


def rows(*columns: dict[str, Any]) -> list[Row]:
    return [Row(columns=c, file="a.jsonl", line=number) for number, c in enumerate(columns, 1)]


def test_the_first_of_equal_rows_is_kept() -> None:
    given = rows(
        {"prompt": "Hi there", "completion": "A"},
        {"completion": "a", "prompt": " hi\n THERE"},
        {"prompt": "Hi there", "completion": "B"},
        {"prompt": "Hi thereA", "completion": ""},
        {"messages": [{"role": "user", "content": "x"}]},
        {"messages": [{"role": "user", "content": "X "}]},
        {"messages": [{"role": "user", "content": "x", "weight": 0.0}]},
        {"text": "x", "label": 1},
        {"text": "x", "label": 2},
    )
    found = list(ExactDedup().apply(iter(given), None))  # type: ignore[arg-type]
    dropped = {item.row.line: item.reason for item in found if isinstance(item, Rejected)}
    assert dropped == {2: "duplicate: of a.jsonl:1", 6: "duplicate: of a.jsonl:5"}
    assert [item for item in found if isinstance(item, Row)] == [row for row in given if row.line not in dropped]


def test_every_character_may_count() -> None:
    given = rows({"text": "x"}, {"text": "X"}, {"text": "x"})
    found = list(ExactDedup(fold=False).apply(iter(given), None))  # type: ignore[arg-type]
    assert found == [given[0], given[1], Rejected(given[2], "duplicate: of a.jsonl:1")]
