"""What transforms yield is held against what they were given, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from tuneforge.components import Context, Transform
from tuneforge.errors import PluginError
from tuneforge.preparation.transforming import EXAMPLES, Ledger, Transformed, transform
from tuneforge.rows import Kept, Rejected, Row, content_hash


@dataclass(kw_only=True)
class Any_(Transform):
    """Whatever the test does."""

    name: ClassVar[str] = "any"
    does: Callable[[Iterator[Row]], Kept]

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        return self.does(iter(rows))


def rows(count: int) -> list[Row]:
    made = [Row(columns={"text": f"t{n}"}, source="data.d", file="a.jsonl", line=n) for n in range(1, count + 1)]
    return [replace(row, id=content_hash(row.columns)) for row in made]


@pytest.fixture
def go(make_run: Any, context_of: Any) -> Callable[..., Transformed]:
    def of(given: Iterable[Row], does: Callable[[Iterator[Row]], Kept]) -> Transformed:
        return transform("t", Any_(does=does), given, "train", context_of(make_run()))

    return of


def with_text(row: Row, text: str) -> Row:
    return replace(row, columns={"text": text})


def test_pieces_of_a_row_answer_for_it(go: Any) -> None:
    def cut(given: Iterator[Row]) -> Kept:
        for row in given:
            yield from (replace(with_text(row, f"{row.columns['text']}.{n}"), line=f"{row.line}#{n}") for n in (1, 2))

    once = go(rows(3), cut)
    assert [row.line for row in once.rows] == ["1#1", "1#2", "2#1", "2#2", "3#1", "3#2"]
    assert (once.report.changed, once.report.added) == (3, 3)
    assert all(row.history == ("t",) and row.id == content_hash(row.columns) for row in once.rows)
    twice = go(once.rows, cut)
    assert (len(twice.rows), twice.report.changed, twice.report.added) == (12, 6, 6)


def test_a_key_with_a_hash_is_a_row_of_its_own(go: Any) -> None:
    named = [replace(row, line=key) for row, key in zip(rows(3), ("C", "C#", "C#1"), strict=True)]
    found = go(named, lambda given: given)
    assert found.rows == named
    assert found.report.changed == found.report.added == 0


def test_copies_are_new_rows(go: Any) -> None:
    given = rows(2)
    found = go(given, lambda rows: (row for row in rows for _ in range(3)))
    assert [row.columns for row in found.rows] == [given[0].columns] * 3 + [given[1].columns] * 3
    assert [row.history for row in found.rows] == [(), ("t",), ("t",)] * 2
    assert found.rows[0] is given[0]
    assert (found.report.changed, found.report.added) == (0, 4)


@pytest.mark.parametrize(
    "does",
    [
        lambda given: (row for row in given if row.line != 2),
        lambda given: iter([next(given), next(given)]),
        lambda given: (replace(row, line=9) if row.line == 2 else row for row in given),
        lambda given: iter([row for row in list(given) if row.line != 2]),
    ],
)
def test_no_row_is_lost_silently(does: Callable[[Iterator[Row]], Kept], go: Any) -> None:
    with pytest.raises(PluginError, match=r"lost 1 rows silently, the first is a.jsonl:[23]\."):
        go(rows(3), does)


def test_of_two_rows_at_one_place_both_must_come_out(go: Any) -> None:
    row = rows(1)[0]
    with pytest.raises(PluginError, match="lost 1 rows"):
        go([row, row], lambda given: iter([next(given)]))
    assert go([row, row], lambda given: (Rejected(one, "why: so") for one in given)).report.reasons == {"why": 2}


def test_the_report_shows_where_rows_first_differ(go: Any) -> None:
    def change(given: Iterator[Row]) -> Kept:
        for row in given:
            yield Rejected(row, "odd: line") if int(row.line) % 2 else with_text(row, f"{row.columns['text']}!")

    report = go(rows(40), change).report
    assert (report.before, report.after, report.changed) == (40, 20, 20)
    assert len(report.changes) == len(report.examples) == EXAMPLES
    assert report.examples[0] == "a.jsonl:1: odd: line"
    assert (report.changes[0].before, report.changes[0].after) == ('{"text": "t2"}', '{"text": "t2!"}')


def test_a_streaming_transform_holds_one_row_at_a_time() -> None:
    ledger = Ledger("t", iter(rows(1000)))
    most = 0
    for row in ledger.given():
        most = max(most, len(ledger._open))
        ledger.take(row)
    assert most == 1
    assert not ledger._open
