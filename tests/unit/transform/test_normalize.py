"""One form for every text: planted dirt is counted exactly, content stays."""
# ruff: noqa: RUF001 (the characters are what is tested)

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.preparation.test_real_sets import SETS
from tests.unit.transform.real import real_rows
from tuneforge.rows import Row
from tuneforge.transform.cleaning.dates import Dates
from tuneforge.transform.cleaning.repairs import thousands
from tuneforge.transform.normalize import Case, Normalize, Unicode


def normalized(columns: dict[str, Any], **options: Any) -> tuple[dict[str, Any], Counter[str]]:
    context = SimpleNamespace(counts=Counter())
    (row,) = Normalize(**options).apply([Row(columns=columns)], context)  # type: ignore[arg-type]
    assert isinstance(row, Row)
    return dict(row.columns), context.counts


def text_of(text: str, **options: Any) -> str:
    return str(normalized({"text": text}, **options)[0]["text"])


@pytest.mark.parametrize(
    ("dirty", "clean", "counted"),
    [
        ("cafÃ© â€œouiâ€\x9d", 'café "oui"', "mojibake"),
        ("â€œQuick!â€. It was", '"Quick!". It was', "mojibake"),
        ("a\x00b\x07c\x1b[0m", "abc[0m", "control characters"),
        ("pro\u00adgovernment \u202ehidden\u202c \ufeffx", "progovernment hidden x", "control characters"),
        ("hi\U000e0041\U000e0042 there", "hi there", "control characters"),
        ("in\u200b the\u2060 end", "in the end", "control characters"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd", "line ends"),
        ("cafe\u0301", "café", "unicode NFC"),
        ("one  two   three \nfour\t\n\n\n\n\nfive", "one two three\nfour\n\n\nfive", "white space"),
        ("10\u00a0km", "10 km", "white space"),
        ("“It’s” „so“", '"It\'s" "so"', "quotes"),
        ("1990–2000 — well… −3", "1990-2000 -- well... -3", "punctuation"),
    ],
)
def test_repairs(dirty: str, clean: str, counted: str) -> None:
    found, counts = normalized({"prompt": "plain", "completion": dirty})
    assert found == {"prompt": "plain", "completion": clean}
    assert counts[counted] == 1


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    return {}\n\tx = 1",
        " yes",
        "\n\nAnswer: \n",
        "👩\u200d👩\u200d👧 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f ❤️",
        "می\u200cخواهم",
        "क्\u200dष",
        "ภาษา\u200bไทย",
        "他说：“你好……”——然后走了",
        "| a   | b  |\n| 1   | 2  |",
        "name     age    town\nAnn      7      Bonn",
        "```python\nx  =  “1”   \n```",
        "use `a — b`, please",
        "naïve façade, Größe, ¿qué?",
    ],
)
def test_content_stays(text: str) -> None:
    row = Row(columns={"text": text})
    (found,) = Normalize().apply([row], SimpleNamespace(counts=Counter()))  # type: ignore[arg-type]
    assert found is row


def test_fenced_code_stays_and_prose_around_it_does_not() -> None:
    text = "say  “hi”:\n```\na  =  “b”  \n```\nand  —  so"
    assert text_of(text) == 'say "hi":\n```\na  =  “b”  \n```\nand -- so'


def test_tokens_and_labels_are_not_texts() -> None:
    columns = {"tokens": ["a\u200b", "“b”"], "tags": ["O", "O"]}
    assert normalized(columns)[0] == columns
    assert normalized({"text": "x  y", "label": "a  b"})[0] == {"text": "x y", "label": "a  b"}


def test_messages_keep_their_other_keys() -> None:
    turn = {"role": "assistant", "content": "a  b", "weight": 0.5}
    found, _ = normalized({"messages": [{"role": "user", "content": "q"}, turn], "tools": ["a  b"]})
    assert found["messages"] == [{"role": "user", "content": "q"}, {**turn, "content": "a b"}]
    assert found["tools"] == ["a  b"]


def test_switches() -> None:
    off: dict[str, Any] = dict.fromkeys(
        ("encoding", "control", "line_ends", "white_space", "quotes", "punctuation"), False
    )
    dirty = "cafÃ© \x07“x”  …\r\n cafe\u0301"
    assert text_of(dirty, unicode=Unicode.keep, **off) == dirty
    assert text_of("ﬁne ①", unicode=Unicode.nfkc) == "fine 1"
    assert text_of(" Yes\n", strip=True) == "Yes"
    assert text_of("Hi `Code` THERE", case=Case.lowercase) == "hi `Code` there"


@pytest.mark.parametrize(
    ("text", "iso", "ambiguous"),
    [
        ("on 5 March 2021.", "on 2021-03-05.", 0),
        ("Sept. 3rd, 2009 and 1st of May 1999", "2009-09-03 and 1999-05-01", 0),
        ("2021/3/5, 25/12/2020, 12/25/2020, 25.12.2020", "2021-03-05, 2020-12-25, 2020-12-25, 2020-12-25", 0),
        ("03/03/2020", "2020-03-03", 0),
        ("03/04/2020 or 4.3.2020", "03/04/2020 or 4.3.2020", 2),
        ("31/02/2020, 13/13/2020, 30 February 2020", "31/02/2020, 13/13/2020, 30 February 2020", 0),
        ("1/2/2020/3 and v1.2.2020.7, May 2020", "1/2/2020/3 and v1.2.2020.7, May 2020", 0),
    ],
)
def test_dates(text: str, iso: str, ambiguous: int) -> None:
    dates = Dates()
    assert (dates.iso(text), dates.ambiguous) == (iso, ambiguous)
    assert dates.iso(iso) == iso


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1,234,567 and $12,000.50", "1234567 and $12000.50"),
        ("1,23 and 1,2345, (1,234)", "1,23 and 1,2345, (1234)"),
        ("`1,234`", "`1,234`"),
        ("x1,234 1,234,56", "x1,234 1,234,56"),
    ],
)
def test_numbers(text: str, plain: str) -> None:
    assert thousands(text) == plain


def test_ambiguous_dates_are_counted() -> None:
    _, counts = normalized({"text": "03/04/2020 and 2021/03/05"}, dates=True)
    assert counts == {"dates": 1, "ambiguous dates left": 1}


@pytest.mark.shared
@pytest.mark.parametrize("name", SETS)
def test_real_rows_are_normal_after_once(name: str, shared: Path) -> None:
    rows = real_rows(shared, name)[:1500]
    for options in (
        {},
        {"unicode": Unicode.nfkc, "case": Case.lowercase, "numbers": True, "dates": True, "strip": True},
    ):
        context = SimpleNamespace(counts=Counter())
        once = list(Normalize(**options).apply(rows, context))  # type: ignore[arg-type]
        assert [row.line for row in once if isinstance(row, Row)] == [row.line for row in rows]
        context.counts.clear()
        twice = list(Normalize(**options).apply(once, context))  # type: ignore[arg-type]
        assert all(a is b for a, b in zip(once, twice, strict=True)), context.counts
