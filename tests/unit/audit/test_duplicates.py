"""Rows that repeat and rows that contradict each other: planted and counted, and those of real sets."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuneforge.audit import contradictions, duplicates, subject
from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.subject import Subject
from tuneforge.preparation.store import RowStore
from tuneforge.preparation.view import View
from tuneforge.rows import HeldOut, Row
from tuneforge.transform.oversample import Oversample

Columns = dict[str, Any]
TEXT = "The bridge over the river was closed for repairs until the first of May"


LABELLED = {"text": TEXT, "label": "a"}
WANTED: Columns = {"prompt": "q", "completion": "a", "label": True}
PAIR = {"prompt": "q", "chosen": "a", "rejected": "b"}


def rows(columns: Iterable[Columns], source: str = "data.a", name: str = "train.jsonl") -> list[Row]:
    return [Row(columns=c, file=name, line=number, source=source) for number, c in enumerate(columns, 1)]


def found(
    check: Callable[[Subject], Iterable[Finding]], train: Sequence[Row], *held: HeldOut, **transform: Any
) -> list[Finding]:
    run: Any = SimpleNamespace(seed=0, transform=transform, audit=SimpleNamespace(sample=10_000))
    return list(check(Subject(run, train, held, run)))


def different(count: int) -> list[Columns]:
    draw = random.Random(0)
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("an", "or", "ist", "ull", "ek")]
    return [{"text": " ".join(draw.choice(words) for _ in range(12))} for _ in range(count)]


def test_equal_and_near_rows_in_training_by_source() -> None:
    train = rows([*different(40), {"text": TEXT}, {"text": TEXT.upper()}], "data.a")
    train += rows([{"text": TEXT}, {"text": f"{TEXT} 1999"}], "synthetic.b", "more.jsonl")
    equal, near = found(duplicates.check, train)
    assert (equal.severity, equal.count, equal.of) == (Severity.warning, 2, 44)
    assert equal.text == "2 of 44 training rows repeat an earlier one: data.a 1, synthetic.b 1"
    assert equal.rows[1].place == "more.jsonl:1"
    assert equal.rows[1].text.startswith("repeats train.jsonl:41: The bridge")
    assert "+transform=exact_dedup" in equal.action
    assert (near.severity, near.count, near.of) == (Severity.info, 1, 42)
    assert near.rows[0].text.startswith("93% of train.jsonl:41: The bridge")
    (near,) = found(duplicates.check, rows([{"text": TEXT}, {"text": f"{TEXT} 1999"}]))
    assert near.severity is Severity.warning
    assert "+transform=near_dedup" in near.action
    labels = rows([{"text": TEXT, "label": "a"}, {"text": f"{TEXT} 1999", "label": "b"}])
    assert [f.severity for f in found(duplicates.check, labels)] == [Severity.ok]


def test_rows_in_evaluation_sets() -> None:
    first = HeldOut("v", "validation", "target", rows([*different(5), {"text": TEXT}, {"text": TEXT}]))
    second = HeldOut("t", "test", "target", rows([{"text": TEXT.lower()}, *different(2)], name="test.jsonl"))
    inside, across = found(duplicates.check, rows([{"text": "x"}]), first, second)
    assert inside.text == "1 of 7 rows of validation.v repeat an earlier one and count again in its metrics"
    assert across.text.startswith("3 rows stand in validation.v and test.t: prompts are chosen on rows that decide")
    assert across.rows[0].place == "test.jsonl:1"
    (fine,) = found(duplicates.check, rows([{"text": "x"}]), second)
    assert (fine.severity, fine.text) == (Severity.ok, "no row of 4 stands twice")


def test_oversampled_rows_are_wanted() -> None:
    train = [
        Row(columns={"text": TEXT}, history=history, line=n) for n, history in enumerate([(), ("more",), ("more",)])
    ]
    assert found(duplicates.check, train, more=Oversample())[0].severity is Severity.ok
    assert found(duplicates.check, train)[0].count == 2


@pytest.mark.parametrize(
    ("given", "count", "severity"),
    [
        ([LABELLED, {"text": TEXT.upper(), "label": "b"}, LABELLED], 1, "warning"),
        ([{"text": TEXT, "label": ["a", "b"]}, {"text": TEXT, "label": ["b", "a"]}], 0, "ok"),
        ([{"prompt": "2-1?", "completion": "1"}, {"prompt": "2 + 1?", "completion": "3"}], 0, "ok"),
        ([{"prompt": "Is it?", "completion": "Yes."}, {"prompt": "is it?", "completion": " yes"}], 0, "ok"),
        ([{"prompt": "Is it?", "completion": "Yes."}, {"prompt": "is  it?", "completion": "No."}], 1, "warning"),
        ([{"prompt": "Tell me", "completion": TEXT}, {"prompt": "Tell me", "completion": f"Well, {TEXT}"}], 1, "info"),
        ([{"tokens": ["a", "b"], "tags": ["O", "O"]}, {"tokens": ["a", "b"], "tags": ["O", "B-x"]}], 1, "warning"),
        ([WANTED, WANTED | {"label": False}], 1, "warning"),
        ([WANTED, WANTED | {"completion": "b", "label": False}], 0, "ok"),
        ([PAIR, {"prompt": "Q", "chosen": "b ", "rejected": "A"}], 2, "warning"),
        ([PAIR, {"prompt": "q", "chosen": "a", "rejected": "c"}], 0, "ok"),
        ([{"anchor": "q", "positive": "a"}, {"anchor": "q", "positive": "b"}], 0, "ok"),
        ([{"text": TEXT}, {"text": f"{TEXT} 2"}], 0, "ok"),
        ([{"text": TEXT, "label": 1}, {"text": f"{TEXT}!", "label": 2}], 1, "warning"),
        ([{"text": f"{TEXT} {TEXT} 1", "label": 1}, {"text": f"{TEXT} {TEXT} 2", "label": 2}], 0, "ok"),
    ],
)  # fmt: skip
def test_what_contradicts(given: list[Columns], count: int, severity: str) -> None:
    told = found(contradictions.check, rows(given))
    bad = [one for one in told if one.severity is not Severity.ok]
    assert [(one.count, str(one.severity)) for one in bad] == ([(count, severity)] if count else [])
    assert len(told) == (1 if severity != "info" else 2)


def test_a_contradiction_names_both_rows() -> None:
    (one,) = found(contradictions.check, rows([{"text": TEXT, "label": "open"}, {"text": TEXT, "label": "shut"}]))
    assert one.rows[0].place == "train.jsonl:2"
    assert one.rows[0].text.startswith("'shut', but train.jsonl:1 says 'open': The bridge")
    assert one.action == "correct them"


@pytest.mark.shared
def test_real_sets(shared: Path) -> None:
    """truthfulqa_judge says of one answer that it is true and that it is not; banking77 repeats four rows."""
    with gzip.open(shared / "data/truthfulqa_judge/finetune_truth.head.jsonl.gz", "rt", encoding="utf-8") as file:
        judged = rows([json.loads(line) for line in file])
    exact = found(contradictions.check, judged)[0]
    assert exact.count == 1
    assert "Is 91 a prime number?" in exact.rows[0].text
    assert found(duplicates.check, judged)[0].count == 231
    with (shared / "data/banking77/train.csv").open(encoding="utf-8", newline="") as lines:
        banking = rows({"text": r["text"], "label": r["category"]} for r in csv.DictReader(lines))
    assert [(one.severity, one.count) for one in found(duplicates.check, banking)] == [
        (Severity.warning, 4),
        (Severity.info, 115),
    ]
    assert [one.severity for one in found(contradictions.check, banking)] == [Severity.ok]


def test_other_questions_about_one_long_passage_are_neither_duplicates_nor_contradictions() -> None:
    passage = " ".join(c["text"] for c in different(30))
    asked = [
        "When was the bridge closed?",
        "How long is the river?",
        "Who repaired the bridge?",
        "When was the bridge closed ?",
    ]
    train = rows({"prompt": f"{passage}\n\n{question}", "completion": f"{n} years"} for n, question in enumerate(asked))
    (near,) = found(duplicates.check, train)
    assert (near.count, [row.place for row in near.rows]) == (1, ["train.jsonl:4"])
    doubtful = [one for one in found(contradictions.check, train) if one.severity is not Severity.ok]
    assert [one.count for one in doubtful] == [1]


def test_rows_on_disk_are_found_to_repeat_and_only_some_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RowStore(tmp_path)
    given = rows([*different(400), {"text": TEXT}, {"text": TEXT.upper()}])
    for row in given:
        store.append(row)
    train = View(store, range(len(store)))
    found_in_memory, found_on_disk = found(duplicates.check, given), found(duplicates.check, train)
    assert found_on_disk == found_in_memory
    assert found_on_disk[0].text.startswith("1 of 402 training rows")
    monkeypatch.setattr(subject, "BYTES", store.size // 4)
    run: Any = SimpleNamespace(seed=0, audit=SimpleNamespace(sample=50))
    some = Subject(run, train, (), run)
    assert (len(some.rows), len(some.sample), some.drawn) == (100, 50, " in a sample of 100 of 402 rows")
