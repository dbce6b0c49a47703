"""Held-out rows that stand in training: planted in five disguises, and rows that only look like it."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.audit.disguises import DISGUISES, said
from tuneforge.audit import hashed, leakage, near_leakage, shared_prompts
from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.hashed import Hashed
from tuneforge.audit.leaks import Kind, Leaks, leaks
from tuneforge.audit.likeness import alike
from tuneforge.audit.subject import Subject
from tuneforge.rows import HeldOut, Row

QUESTION = "How do I set up the new printer on the third floor, and which driver does it take?"
ANSWER = "Open the settings, choose printers and add the address 10.0.3.7; the driver is found by itself."
Columns = dict[str, Any]


def rows(name: str, columns: Iterable[Columns]) -> list[Row]:
    return [Row(columns=c, file=name, line=number) for number, c in enumerate(columns, 1)]


def looked(train: Iterable[Columns], *test: Columns) -> Leaks:
    return leaks(rows("train.jsonl", train), [HeldOut("t", "test", "target", rows("test.jsonl", test))])


def kinds(train: Columns, test: Columns) -> list[str]:
    return [str(leak.kind) for leak in looked([train], test).found]


ROW = {"prompt": QUESTION, "completion": ANSWER}


@pytest.mark.parametrize(
    ("train", "kind"),
    [
        (ROW, "row"),
        ({"prompt": f" {QUESTION.upper()}\n", "completion": ANSWER.replace(" ", "  ")}, "row"),
        ({"messages": said(QUESTION, ANSWER)}, "row"),
        ({"messages": said("More?", "Yes.", QUESTION, ANSWER)}, "row"),
        ({"prompt": QUESTION, "chosen": ANSWER, "rejected": "No."}, "row"),
        ({"prompt": QUESTION.replace(",", " -"), "completion": f"\u201c{ANSWER}\u201d"}, "folded"),
        ({"prompt": QUESTION.replace("new", "\uff4e\uff45\uff57"), "completion": ANSWER.rstrip(".")}, "folded"),
        ({"messages": said(QUESTION, ANSWER, "Hi there", "Hello!")}, "contained"),
        ({"text": f"Question: {QUESTION}\n\nAnswer: {ANSWER}"}, "contained"),
        ({"text": f"### Instruction:\n{QUESTION}\n### Response:\n{ANSWER}</s>"}, "contained"),
        ({"text": f"It rained. {QUESTION} asked Ann. {ANSWER} This is what the manual said."}, "contained"),
        ({"prompt": "Tell me a story", "completion": f"A man asks: {QUESTION} Then: {ANSWER}"}, "contained"),
        ({"prompt": QUESTION.replace("set up", "install"), "completion": ANSWER.replace("choose", "pick")}, "near"),
        ({"prompt": QUESTION, "completion": "Ask the help desk."}, "prompt"),
    ],
)
def test_how_a_row_stands_in_training(train: Columns, kind: str) -> None:
    assert kinds(train, ROW) == [kind]


@pytest.mark.parametrize(
    "train",
    [
        {"prompt": QUESTION.replace("third", "second"), "completion": ANSWER.replace("10.0.3.7", "10.0.2.7")},
        {"prompt": QUESTION.replace("third floor", "floor 3"), "completion": ANSWER},
        {"prompt": "Where is the coffee?", "completion": ANSWER},
        {"text": f"{QUESTION} That is another matter."},
        {"text": f"{ANSWER} {QUESTION}"},
        {"text": f"{QUESTION} {'There is much to say about it. ' * 5}{ANSWER}"},
        {"text": f"I wonder how do I set up the new printer {QUESTION[28:]} {ANSWER}".replace("?", " today,")},
    ],
)
def test_what_is_another_row(train: Columns) -> None:
    assert kinds(train, ROW) == []


def test_a_long_text_may_stand_inside_a_sentence() -> None:
    long = " ".join(f"word{n}" for n in range(30))
    assert kinds({"text": f"so {long} it is"}, {"text": long}) == ["contained"]
    short = " ".join(f"word{n}" for n in range(20))
    assert kinds({"text": f"so {short} it is"}, {"text": short}) == ["near"]
    assert kinds({"text": f"so. {short}. it is"}, {"text": short}) == ["contained"]


def test_short_rows_are_told_by_all_their_signs() -> None:
    assert kinds({"prompt": "5-3", "completion": "2"}, {"prompt": "5/3", "completion": "2"}) == []
    assert (
        kinds({"text": "What is 2 + 3 times four", "label": 1}, {"text": "What is 2 < 3 times four", "label": 1}) == []
    )
    assert kinds({"text": ":)", "label": 1}, {"text": ":(", "label": 1}) == []
    cheap = {"prompt": "Which products of the shop cost less than 1.5 euros", "completion": "price < 1.5"}
    dear = {name: text.replace("1.5", "15") for name, text in cheap.items()}
    assert kinds(cheap, dear) == kinds(dear, cheap) == []
    assert kinds(cheap, {**cheap, "prompt": f"{cheap['prompt']}?"}) == ["folded"]
    code = {"prompt": "Copy the code |leaf|phone-", "chosen": "|leaf|phone-", "rejected": "The answer is |leaf|phone-."}
    other = {
        "prompt": "Copy the code #leaf,phone}",
        "chosen": "#leaf,phone}",
        "rejected": "The answer is #leaf,phone}.",
    }
    assert kinds(code, other) == []
    assert kinds({"prompt": "Hi", "completion": "Hello!"}, {"prompt": "Hi", "completion": "Hello"}) == ["prompt"]


def test_labels_tell_rows_apart_but_for_equal_texts() -> None:
    text = "I still have not received my new card, it is over a week now"
    assert kinds({"text": text, "label": "a"}, {"text": text, "label": "b"}) == ["row"]
    assert kinds({"text": f"{text}!", "label": "a"}, {"text": text, "label": "a"}) == ["folded"]
    assert kinds({"text": f"{text}!", "label": "b"}, {"text": text, "label": "a"}) == []
    assert kinds({"text": f"{text} or two", "label": "a"}, {"text": text, "label": "a"}) == ["near"]
    assert kinds({"text": f"{text} or two", "label": "b"}, {"text": text, "label": "a"}) == []
    assert kinds({"tokens": text.split(), "tags": []}, {"tokens": text.upper().split(), "tags": []}) == ["row"]


def test_prompts_without_answers_and_only_the_last_answer_count() -> None:
    assert kinds(ROW, {"prompt": QUESTION}) == ["prompt"]
    assert kinds(ROW, {"messages": said("Else?", "Yes.", QUESTION, ANSWER)}) == []
    assert kinds({"messages": said("Else?", "Yes.", QUESTION, ANSWER)}, ROW) == ["row"]
    assert kinds({"text": "Once upon a time"}, {"text": "once  upon a TIME "}) == ["row"]
    assert looked([], ROW).found == []
    assert looked([ROW]).found == []


def test_texts_of_one_template_that_contain_each_other_are_their_nature() -> None:
    """Signed and unsigned: as many training rows stand in another as held-out rows do."""
    draw = random.Random(0)

    def letter() -> str:
        words = " ".join(draw.choice(("red", "blue", "old", "new", "fast", "slow")) for _ in range(12))
        return f"Dear all, the {words} machine is broken."

    texts = [text for _ in range(300) for one in (letter(),) for text in (one, f"{one} Thank you, Anna.")]
    draw.shuffle(texts)
    columns = [{"text": text} for text in texts]
    found = looked(columns[:500], *columns[500:])
    assert len(found.of(Kind.contained)) > 10
    assert found.common[Kind.contained][0] > 100
    assert Kind.contained not in found.proven
    alone = looked([{"text": f"{letter()} Thank you."}, *({"text": letter()} for _ in range(50))], ROW)
    assert Kind.contained in alone.proven


# ---------------------------------------------------------------- the checks


def findings(check: Callable[[Subject], Iterable[Finding]], train: Sequence[Row], test: Sequence[Row]) -> list[Finding]:
    run: Any = SimpleNamespace(seed=0)
    sets = [HeldOut("t", "test", "target", test), HeldOut("clean", "validation", "target", rows("v", [{"text": "x"}]))]
    return list(check(Subject(run, train, sets, run)))


def test_findings_name_every_row_and_what_to_do() -> None:
    train = rows("train.jsonl", [{"prompt": f"Question number {n}?", "completion": f"It is {n}"} for n in range(40)])
    given = [dict(row.columns) for row in train[:12]] + [{"prompt": "Question number 30?", "completion": "No idea"}]
    test = rows("test.jsonl", [*given, {"prompt": "Anything else?", "completion": "No"}])
    (found,) = findings(leakage.check, train, test)
    assert (found.severity, found.count, found.of) == (Severity.error, 12, 14)
    assert found.text == "12 of 14 rows of test.t stand in the training data: 12 equal"
    assert len(found.rows) == 10
    assert len(found.places) == 12
    assert found.places[11] == {
        "set": "test.t", "held_out": "test.jsonl:12", "training": "train.jsonl:12", "kind": "row",
    }  # fmt: skip
    assert "audit.fail_on=[]" in found.action
    (found,) = findings(shared_prompts.check, train, test)
    assert (found.severity, found.count, found.rows[0].place) == (Severity.warning, 1, "test.jsonl:13")
    for check in (leakage.check, near_leakage.check, shared_prompts.check):
        (found,) = findings(check, train, test[-1:])
        assert found.severity is Severity.ok
        assert found.of == 2


def test_near_rows_are_a_warning_where_training_rows_are_not_as_near() -> None:
    train = rows("train.jsonl", [ROW])
    test = rows("test.jsonl", [{"prompt": QUESTION.replace("set up", "install"), "completion": ANSWER}])
    (found,) = findings(near_leakage.check, train, test)
    assert found.severity is Severity.warning
    assert found.text.startswith("1 of 2 held-out rows are nearly training rows: 1 in nearly the same words; 0 of 1 tr")
    assert "audit.fail_on=[leakage,near_leakage]" in found.action
    again = [*train, *rows("more.jsonl", [{"prompt": f"{QUESTION} Thanks.", "completion": ANSWER}])]
    (found,) = findings(near_leakage.check, again, test)
    assert found.severity is Severity.info
    assert found.text.endswith("2 of 2 training rows are nearly another, so this is what the data is like")


# ---------------------------------------------------------------- real sets


def gsm8k(shared: Path) -> list[Row]:
    with gzip.open(shared / "data/gsm8k/train.jsonl.gz", "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    return rows("gsm8k", ({"prompt": r["question"], "completion": r["answer"]} for r in found[:900]))


def alpaca(shared: Path) -> list[Row]:
    found = json.loads((shared / "data/alpaca_demo/alpaca_en_demo.json").read_text(encoding="utf-8"))
    texts = {(f"{r['instruction']}\n\n{r['input']}".strip(), r["output"]) for r in found}
    long = sorted(pair for pair in texts if len(" ".join(pair).split()) >= 20)
    return rows("alpaca", ({"prompt": prompt, "completion": answer} for prompt, answer in long))


@pytest.mark.shared
@pytest.mark.parametrize("real", [gsm8k, alpaca])
def test_a_hundred_planted_rows_in_five_disguises(shared: Path, real: Callable[[Path], list[Row]]) -> None:
    every = real(shared)
    random.Random(1).shuffle(every)
    test, train = every[:150], every[150:]
    clean = leaks(train, [HeldOut("t", "test", "target", test)])
    assert clean.of(*clean.proven) == []
    planted = [
        replace(disguise(test[20 * n + at]), file=disguise.__name__, line=20 * n + at)
        for n, disguise in enumerate(DISGUISES)
        for at in range(20)
    ]
    found = leaks([*train, *planted], [HeldOut("t", "test", "target", test)])
    by = Counter((leak.train_place.split(":")[0], leak.kind) for leak in found.found)
    assert by == {(disguise.__name__, kind): 20 for disguise, kind in DISGUISES.items()}
    assert all(int(leak.train_place.split(":")[1]) < 100 for leak in found.found)
    assert found.proven == (Kind.row, Kind.folded, Kind.contained)
    assert found.telling(Kind.near)


def test_near_rows_are_the_same_whatever_the_training_rows_that_are_looked_at_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = random.Random(1)
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("an", "or", "ist", "ull", "ek", "om")]
    texts = [[draw.choice(words) for _ in range(30)] for _ in range(90)]
    train = [Row(columns={"text": " ".join(text)}, line=n) for n, text in enumerate(texts)]
    sought = [Row(columns={"text": " ".join([*text[:28], "other", "words"])}) for text in texts[::3]]
    whole = list(alike(Hashed(train), sought, 0))
    monkeypatch.setattr(hashed, "BLOCK", 25)
    assert list(alike(Hashed(train), sought, 0)) == whole
    assert [(number, at) for number, at, _ in whole] == [(n, 3 * n) for n in range(30)]
