"""Near-deduplication."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuneforge.preparation.compared import Keep, Part
from tuneforge.preparation.shingles import Unit
from tuneforge.rows import Rejected, Row
from tuneforge.transform.near_dedup import NearDedup

LONG = "Please tell me how I can reset the password of my work laptop, it was locked this morning"
OTHER = "Open the settings, choose the account and follow the three steps that are shown there"


def dropped(component: NearDedup, *columns: dict[str, Any]) -> dict[int | str, str]:
    rows = [Row(columns=c, file="a.jsonl", line=number) for number, c in enumerate(columns, 1)]
    context: Any = SimpleNamespace(seed=0, counts=Counter())
    found = list(component.apply(iter(rows), context))
    assert [item.row if isinstance(item, Rejected) else item for item in found] == rows
    return {item.row.line: item.reason for item in found if isinstance(item, Rejected)}


def test_the_first_of_near_rows_is_kept() -> None:
    given = (
        {"prompt": LONG, "completion": OTHER},
        {"prompt": f"{LONG}!", "completion": OTHER},
        {"messages": [{"role": "user", "content": LONG.upper()}, {"role": "assistant", "content": f"{OTHER}."}]},
        {"prompt": LONG, "completion": "No."},
    )
    assert dropped(NearDedup(), *given) == {
        2: "near duplicate: 0.95 similar to a.jsonl:1",
        3: "near duplicate: 0.99 similar to a.jsonl:1",
    }
    assert dropped(NearDedup(threshold=1.0), *given) == {}
    assert list(dropped(NearDedup(compare=Part.prompt), *given)) == [2, 3, 4]
    assert list(dropped(NearDedup(compare=Part.answer), *given)) == [2, 3]
    assert list(dropped(NearDedup(unit=Unit.words, size=3, threshold=1.0), *given)) == [2, 3]


def test_the_longest_may_be_kept() -> None:
    given = ({"text": LONG}, {"text": f"{LONG} too"}, {"text": OTHER}, {"text": OTHER})
    assert dropped(NearDedup(keep=Keep.longest), *given) == {
        1: "near duplicate: 0.96 similar to a.jsonl:2",
        4: "near duplicate: 1.00 similar to a.jsonl:3",
    }


def test_other_labels_and_rows_without_text_stay() -> None:
    given = (
        {"text": LONG, "label": "a"},
        {"text": LONG, "label": "b"},
        {"text": f"{LONG}?", "label": "b"},
        {"tokens": LONG.split(), "tags": ["O"] * 18},
        {"tokens": [*LONG.split(), "now"], "tags": ["O"] * 19},
        {"prompt": "", "completion": ""},
        {"prompt": "", "completion": ""},
    )
    assert list(dropped(NearDedup(), *given)) == [3, 5]


@pytest.mark.parametrize("columns", [{"chosen": LONG, "rejected": OTHER}, {"anchor": LONG, "positive": OTHER}])
def test_every_layout_has_parts(columns: dict[str, str]) -> None:
    first = {"prompt": OTHER} | columns if "chosen" in columns else columns
    for part in Part:
        assert list(dropped(NearDedup(compare=part), first, first)) == [2]


def test_check() -> None:
    run: Any = None
    assert not list(NearDedup().check(run))
    assert "threshold=0 must be above 0 and at most 1" in next(iter(NearDedup(threshold=0).check(run)))
    assert list(NearDedup(threshold=80).check(run))
    assert list(NearDedup(size=0).check(run)) == ["size=0 must be at least 1"]


@pytest.mark.shared
def test_real_sets(shared: Path) -> None:
    """alpaca_demo has 14 exact duplicates and no more; of gsm8k's problems three are another but for their numbers."""
    alpaca = json.loads((shared / "data/alpaca_demo/alpaca_en_demo.json").read_text(encoding="utf-8"))
    rows = [{"prompt": f"{r['instruction']}\n\n{r['input']}", "completion": r["output"]} for r in alpaca]
    reasons = dropped(NearDedup(), *rows)
    assert len(reasons) == 14
    assert {reason[:20] for reason in reasons.values()} == {"near duplicate: 1.00"}
    with gzip.open(shared / "data/gsm8k/train.jsonl.gz", "rt", encoding="utf-8") as file:
        problems = [json.loads(line) for line in file][:3000]
    assert dropped(NearDedup(), *({"prompt": p["question"], "completion": p["answer"]} for p in problems)) == {}
