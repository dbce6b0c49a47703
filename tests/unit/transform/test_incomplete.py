"""What is missing, empty or cut off; and that whole answers are left in peace."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.transform.real import real_rows
from tuneforge.rows import Rejected, Row
from tuneforge.transform.incomplete import Action, Incomplete


def judged(columns: dict[str, Any], **options: Any) -> tuple[Row | Rejected, Counter[str]]:
    context = SimpleNamespace(counts=Counter())
    (found,) = Incomplete(**options).apply([Row(columns=columns)], context)  # type: ignore[arg-type]
    return found, context.counts


def answer(text: str) -> dict[str, Any]:
    return {"prompt": "Tell me.", "completion": text}


WHOLE = "Dogs bark at night. They are loyal animals that like to run around in the park."


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (answer("N/A"), "missing: completion: 'N/A' stands for nothing"),
        (answer(" [No  answer] "), "missing: completion: '[No  answer]' stands for nothing"),
        ({"text": "todo", "label": "x"}, "missing: text: 'todo' stands for nothing"),
        ({"messages": [{"role": "system", "content": " "}]}, "empty turn: messages[0]"),
        (answer("Dogs bark at night. They are loyal animals because of the"), "cut off: completion: it ends with"),
        (answer("First, you take the eggs, the flour,"), "cut off: completion: it ends in 'flour,'"),
        (answer("Dogs bark at night. They are loyal animals that like to run around"), "cut off: completion"),
        ({"text": "It was late. The old man went home to his wife and found nobody there but"}, "cut off: text"),
        (answer("So:\n```python\nx = 1"), "fences: completion: a code fence is not closed"),
        (answer('{"a": [1, 2, {"b": "c'), "brackets: completion: its JSON is not closed"),
        ({"prompt": "Please continue.", "completion": WHOLE}, "continues: prompt: 'Please continue.'"),
        (answer(f"{WHOLE} Would you like me to continue?"), "continues: completion: it ends with"),
        (answer(f"{WHOLE}\n(to be continued)"), "continues: completion: it ends with"),
    ],
)
def test_what_is_incomplete_is_dropped_for_its_kind(columns: dict[str, Any], reason: str) -> None:
    found, _ = judged(columns)
    assert isinstance(found, Rejected)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    "columns",
    [
        answer("4"),
        answer(" yes"),
        answer("Na"),
        answer("None"),
        answer(WHOLE),
        answer("- eggs and milk\n- flour, of the kind that the baker sells and that\n- sugar"),
        answer("Dear Sir. I thank you for all that you did last year. Yours sincerely, Jane Austen"),
        answer("MATCH (a)-[r]->(b)\nRETURN a, r, b, e, a"),
        answer("The result follows. The correct option is A"),
        answer("So sad :-("),
        answer('{"a": [1, 2, {"b": "c } ]"}]}'),
        answer("{x} is a set [of numbers"),
        answer("Use:\n```\nx = (1,\n```\nand then go on with the"),
        {"text": "please tell me about the top-up and the", "label": "top_up"},
        {"prompt": "x", "chosen": WHOLE, "rejected": "Dogs bark at night. They are loyal because of the"},
        {"prompt": "and so he said to the", "completion": WHOLE},
        {"messages": [{"role": "user", "content": "Tell me."}, {"role": "assistant", "content": WHOLE},
                      {"role": "user", "content": "Continue"}, {"role": "assistant", "content": WHOLE}]},
    ],
)  # fmt: skip
def test_what_may_be_whole_stays(columns: dict[str, Any]) -> None:
    found, counts = judged(columns)
    assert isinstance(found, Row), found.reason
    assert not counts


def test_fill_and_keep() -> None:
    filled, counts = judged(answer("n/a"), missing=Action.fill, filling="I do not know.")
    assert isinstance(filled, Row)
    assert filled.columns["completion"] == "I do not know."
    assert counts == {"missing filled": 1}
    closed, counts = judged(answer("So:\n```python\nx = 1\n"), fences=Action.fill)
    assert isinstance(closed, Row)
    assert closed.columns["completion"] == "So:\n```python\nx = 1\n```"
    assert counts == {"fences filled": 1}
    kept, counts = judged(answer("You take the eggs, the flour,"), cut_off=Action.keep)
    assert isinstance(kept, Row)
    assert counts == {"cut off kept": 1}


def test_check() -> None:
    assert not list(Incomplete().check(None))  # type: ignore[arg-type]
    wrong = Incomplete(cut_off=Action.fill, missing=Action.fill, fences=Action.fill)
    assert list(wrong.check(None)) == [  # type: ignore[arg-type]
        "cut_off=fill: nobody knows what is missing; choose drop or keep",
        "missing=fill needs a text to fill in: filling is empty",
    ]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "dropped"),
    [
        ("alpaca", {"fences": 1, "cut off": 2}),
        ("roleplay", {}),
        ("gsm8k", {}),
        ("c4", {}),
        ("wiki", {}),
        ("stories", {"cut off": 5}),
        ("toolcall", {"fences": 1, "cut off": 1, "brackets": 1}),
    ],
)
def test_real_sets(name: str, dropped: dict[str, int], shared: Path) -> None:
    """Each of these was read: every row that is dropped does stop in the middle."""
    context = SimpleNamespace(counts=Counter())
    found = Incomplete().apply(real_rows(shared, name), context)  # type: ignore[arg-type]
    assert Counter(item.reason.partition(":")[0] for item in found if isinstance(item, Rejected)) == dropped
