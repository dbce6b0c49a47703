"""What the audit says of personal data: planted rows are counted, real sets without any do not alarm."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tuneforge.adapter.full import Full
from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.personal_data import check, masked
from tuneforge.audit.subject import Subject
from tuneforge.context import RunContext
from tuneforge.model.tiny import Tiny
from tuneforge.optimizer.adamw import AdamW
from tuneforge.rows import HeldOut, Row
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft


def found(train: Sequence[Row], test: Sequence[Row] = ()) -> Finding:
    run = Run(model=Tiny(), strategy=Sft(), adapter=Full(), optimizer=AdamW(), scheduler=Constant())
    held_out = [HeldOut("asked", "test", "target", test)] if test else []
    (finding,) = check(Subject(run, train, held_out, RunContext(run, Path("unused"))))
    return finding


def rows(*texts: str) -> list[Row]:
    return [
        Row(columns={"prompt": text, "completion": "x"}, file="a.jsonl", line=n + 1) for n, text in enumerate(texts)
    ]


def test_counts_by_kind_over_all_sets_and_masks_values() -> None:
    train = rows("mail anna.keller@posteo.de or bob@web.de", "nothing", "call (415) 867-5309, anna.keller@posteo.de")
    finding = found(train, rows("card 4539 5787 6362 1486"))
    assert finding.severity is Severity.warning
    assert (finding.count, finding.of) == (3, 4)
    assert finding.numbers == {
        "email": 2.0, "phone": 1.0, "credit_card": 1.0, "rows": 3.0, "examples_only": 0.0, "unread": 0.0
    }  # fmt: skip
    assert "2 of training, 1 of test.asked" in finding.text
    assert [shown.place for shown in finding.rows] == ["a.jsonl:1", "a.jsonl:3", "a.jsonl:1"]
    assert finding.rows[0].text == "EMAIL a***.k***@p***.de, EMAIL b***@w***.de"
    assert "+transform=deidentify" in finding.action
    assert not any(value in str(finding) for value in ("keller", "867", "4539 5787"))


def test_what_is_reserved_for_examples_is_no_warning() -> None:
    texts = ("mail bob@example.com", "ping 192.168.1.10", "call (415) 555-0123", "card 4242424242424242", "ok")
    finding = found(rows(*texts))
    assert finding.severity is Severity.info
    assert finding.numbers["examples_only"] == 4


def test_nothing_found_is_ok_with_the_figures() -> None:
    finding = found(rows("2 + 2 = 4", "The year 1999 cost $1,234,567."))
    assert finding.severity is Severity.ok
    assert finding.text == "no personal data in 2 rows (names are not looked for)"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("anna@posteo.de", "a***@p***.de"), ("+49 30 901820", "+4*** 3*** 9***"), ("1985-03-12", "1***-0***-1***"),
        ("12 Baker\nStreet", "1*** B*** S***"),
    ],
)  # fmt: skip
def test_masks(value: str, shown: str) -> None:
    assert masked(value) == shown


def real(file: Path, *names: str) -> list[Row]:
    opened: Any = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as lines:
        content = lines.read()
    read = (
        json.loads(content) if content.startswith("[") else [json.loads(line) for line in content.splitlines() if line]
    )
    return rows(*(" ".join(str(row[name]) for name in names) for row in read[:3000]))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "names", "severity", "least", "most"),
    [
        ("gsm8k/train.jsonl.gz", ["question", "answer"], Severity.ok, 0, 0),
        ("tinystories/tinystories_train800.json.gz", [], Severity.ok, 0, 0),
        ("c4_demo/c4_demo.jsonl.gz", ["text"], Severity.warning, 12, 18),
        ("alpaca_demo/alpaca_en_demo.json", ["instruction", "input", "output"], Severity.warning, 1, 3),
    ],
)
def test_real_sets(file: str, names: list[str], severity: Severity, least: int, most: int, shared: Path) -> None:
    path = shared / "data" / file
    if names:
        finding = found(real(path, *names))
    else:
        with gzip.open(path, "rt", encoding="utf-8") as stories:
            finding = found(rows(*json.load(stories)))
    assert finding.severity is severity, finding
    assert least <= finding.count <= most, finding.rows
