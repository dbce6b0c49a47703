"""Over- and undersampling: sizes, provenance, caps, seeds, rows without a class."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tuneforge
from tests.unit.evaluation.heads import settings
from tuneforge.errors import ConfigError
from tuneforge.preparation.additions import By, size_wanted
from tuneforge.preparation.prepare import prepare
from tuneforge.preparation.transforming import transform
from tuneforge.rows import Row, content_hash
from tuneforge.transform.exact_dedup import ExactDedup
from tuneforge.transform.oversample import Oversample
from tuneforge.transform.undersample import Undersample


def rows(labels: list[Any], **more: Any) -> list[Row]:
    columns = [{"text": f"text {i}", **({} if x is None else {"label": x})} for i, x in enumerate(labels)]
    return [
        Row(columns=c, source="data.a", file="a.csv", line=i + 1, id=content_hash(c), **more)
        for i, c in enumerate(columns)
    ]


def sampled(part: Any, given: list[Row]) -> Any:
    context = settings([])
    return transform(part.name, part, given, "train", context), context


def sizes(kept: list[Row]) -> Counter[str]:
    return Counter(str(row.columns.get("label")) for row in kept)


UNEVEN = ["a"] * 9 + ["b"] * 4 + [None] * 2 + ["c"]


def test_oversampled_to_the_largest() -> None:
    done, context = sampled(Oversample(), rows(UNEVEN))
    assert sizes(done.rows) == {"a": 9, "b": 9, "c": 9, "None": 2}
    assert done.report.counts == {
        "a: before": 9, "a: after": 9, "b: before": 4, "b: after": 9, "c: before": 1, "c: after": 9,
        "rows without label": 2,
    }  # fmt: skip
    assert (done.report.added, done.report.changed, done.dropped) == (13, 0, [])
    assert [note["text"] for note in context.notes] == ["oversample by label: 3 classes of 1 to 9 rows have 9 to 9"]
    assert context.notes[0]["before.c"] == 1
    assert context.notes[0]["after.c"] == 9
    copies = [row for row in done.rows if row.columns.get("label") == "c"]
    assert [row.line for row in copies] == [16, *(f"16+{n}" for n in range(1, 9))]
    assert {row.history for row in copies[1:]} == {("oversample",)}
    assert copies[0].history == ()
    assert {row.id for row in copies} == {copies[0].id}
    assert len({row.place for row in done.rows}) == len(done.rows)
    by_row = Counter(row.columns["text"] for row in done.rows if row.columns.get("label") == "b")
    assert sorted(by_row.values()) == [2, 2, 2, 3]


@pytest.mark.parametrize(
    ("to", "cap", "wanted"),
    [("median", 10, (9, 4, 4)), ("6", 10, (9, 6, 6)), ("0.5", 10, (9, 5, 5)), ("20", 2, (18, 8, 2)),
     ("20", None, (20, 20, 20)), ("2", 10, (9, 4, 2))],
)  # fmt: skip
def test_oversampled_to(to: str, cap: int | None, wanted: tuple[int, ...]) -> None:
    done, context = sampled(Oversample(to=to, max_repeats=cap), rows(UNEVEN))
    assert tuple(sizes(done.rows)[name] for name in "abc") == wanted
    assert len(context.notes) == (2 if cap == 2 else 1)
    if cap == 2:
        assert context.notes[1]["text"].startswith("oversample: 3 of 3 classes stay below 20 rows: a row stands in")


@pytest.mark.parametrize(
    ("to", "wanted"), [("smallest", (1, 1, 1)), ("median", (4, 4, 1)), ("3", (3, 3, 1)), ("0.2", (5, 4, 1))]
)
def test_undersampled_to(to: str, wanted: tuple[int, ...]) -> None:
    given = rows(UNEVEN)
    done, _ = sampled(Undersample(to=to), given)
    assert tuple(sizes(done.rows)[name] for name in "abc") == wanted
    assert sizes(done.rows)["None"] == 2
    assert done.rows == [row for row in given if row in done.rows], "in their order, unchanged"
    assert done.report.reasons == {"undersampled": 14 - sum(wanted)}
    assert done.dropped[0].reason == f"undersampled: {wanted[0]} of 9 rows of 'a' are kept"


def test_of_many_classes_the_ends_are_counted() -> None:
    done, context = sampled(Oversample(to="3"), rows([f"c{i % 20}" for i in range(35)]))
    assert done.report.counts == {
        "smallest class: before": 1, "smallest class: after": 3, "largest class: before": 2, "largest class: after": 3
    }  # fmt: skip
    assert len(context.notes[0]) == 1 + 2 * 20


def test_a_ratio_is_exact() -> None:
    assert size_wanted("0.1", [30, 4], over=True) == 3
    assert size_wanted("0.3", [30, 3], over=False) == 10


def test_the_seed_draws() -> None:
    def kept(seed: int) -> list[Any]:
        context = settings([])
        context.run.seed = seed
        return [r.line for r in Undersample().apply(iter(rows(UNEVEN)), context) if isinstance(r, Row)]

    assert kept(1) == kept(1)
    assert any(kept(1) != kept(seed) for seed in range(2, 9))


def test_several_labels_count_by_the_rarest() -> None:
    done, _ = sampled(Oversample(), rows([["x", "y"], ["x"], ["x"], [], ["y", "z"], ["x"]]))
    assert done.report.counts["z: before"] == 1
    assert done.report.counts["y: before"] == 1
    assert done.report.counts["x: before"] == 3
    assert done.report.counts["rows without label"] == 1
    assert Counter(str(r.columns["label"]) for r in done.rows) == {
        "['x']": 3, "['x', 'y']": 3, "['y', 'z']": 3, "[]": 1
    }  # fmt: skip


def test_by_group_and_by_task() -> None:
    given = [*rows(["a"] * 3, group="g"), Row(columns={"text": "t"}, file="b", line=1, group="h", task="qa")]
    done, _ = sampled(Oversample(by=By.group), given)
    assert Counter(row.group for row in done.rows) == {"g": 3, "h": 3}
    done, _ = sampled(Undersample(by=By.task), given)
    assert len(done.rows) == 4
    assert done.report.counts["rows without task"] == 3


def test_twice_gives_no_place_twice() -> None:
    once, _ = sampled(Oversample(to="4"), rows(["a", "b"]))
    again, _ = sampled(Oversample(to="6"), once.rows)
    assert len({row.place for row in again.rows}) == 12
    assert again.report.added == 4


def test_no_class_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"transform\.oversample\.by=label: none of the 2 rows has a label"):
        sampled(Oversample(), rows([None, None]))
    assert list(Oversample().apply(iter([]), settings([]))) == []
    assert list(Undersample().apply(iter([]), settings([]))) == []


@pytest.mark.parametrize("to", ["smallest", "0", "-3", "1.5", "nan", "most", "", "1/0"])
def test_what_is_no_size_is_refused(to: str) -> None:
    run = settings([]).run
    assert list(Oversample(to=to).check(run)) == [
        f"transform.oversample.to={to} must be largest, median, a whole number, or a ratio between 0 and 1"
    ]
    assert bool(list(Undersample(to=to).check(run))) == (to != "smallest")


def test_copies_are_not_dropped_again() -> None:
    run = settings([]).run
    over = Oversample()
    run.transform = {"oversample": over, "again": ExactDedup()}
    assert list(over.check(run)) == [
        "transform.again stands after oversample and would drop what it adds; name it before"
    ]
    run.transform = {"again": ExactDedup(), "oversample": over}
    assert list(over.check(run)) == []
    assert list(Oversample(max_repeats=1).check(run)) == [
        "transform.oversample.max_repeats=1 must be at least 2, or null"
    ]


def test_copies_stay_out_of_held_out_sets(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    lines = [{"text": f"text {i}", "label": "a" if i % 10 else "b"} for i in range(200)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = tuneforge.compose(
        [f"data={file}", "strategy=classification", "test=share", "test.share.fraction=0.2", "transform=[oversample]"]
    )
    context = settings([])
    context.run = run
    found = prepare(run, context)
    held = {row.columns["text"] for one in found.held_out for row in one.rows}
    assert held
    assert not held & {row.columns["text"] for row in found.train}
    assert not [row for one in found.held_out for row in one.rows if "+" in str(row.line)]
    counts = sizes(found.train)
    assert counts["a"] == counts["b"]


@pytest.mark.shared
def test_banking77_evens_out(shared: Path) -> None:
    run = tuneforge.compose(
        [f"data={shared}/data/banking77/train.csv", "data.train.columns.label=category", "strategy=classification",
         "transform=[oversample]", "transform.oversample.to=0.5"]
    )  # fmt: skip
    context = settings([])
    context.run = run
    found = prepare(run, context)
    counts = sizes(found.train).values()
    assert len(counts) == 77
    assert max(counts) <= 2 * min(counts) <= max(counts) + 1
    assert len(found.train) == sum(r.used for r in found.sources if r.split == "train")
