"""What is repeated of training rows."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluation import subjects
from tests.unit.evaluator.rules import Rule, context, metrics, row
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.measure import measure
from tuneforge.evaluation.tidy import rows as tidy
from tuneforge.evaluation.verdict import decide
from tuneforge.evaluator.verbatim import Verbatim, _begun
from tuneforge.rows import Answer
from tuneforge.settings import Run
from tuneforge.strategy.classification import Classification
from tuneforge.training.text.render import Rendered, plain

REST = "and then the old sailor told them about the island where the wind had carried him many years before."
SECRET = row(text=f"{'One two three four five six seven eight nine ten. ' * 2}{REST}")


def answered(text: str, tokens: int = 50, finish: str = "length", error: str = "") -> Any:
    return Answer(text, error, finish, 9, tokens)


@pytest.mark.parametrize(
    ("answer", "repeated", "longest"),
    [
        (answered(REST[:80]), 1, 80),
        (answered(REST[:80] + "\ufffd"), 1, 80),
        (answered(f"  {REST.replace(' ', '  ')} And more."), 1, len(REST)),
        (answered(REST, 22, "stop"), 1, len(REST)),
        (answered(REST[:80], 40, "stop"), 0, 80),
        (answered(REST[:40] + "x" * 40), 0, 40),
        (answered("", 50), 0, 0),
        (answered(REST, 50, "length", "no room"), 0, len(REST)),
    ],
)
def test_fifty_tokens_or_the_whole_rest(answer: Answer, repeated: int, longest: int, tmp_path: Path) -> None:
    rows = [row(prompt="Tell me.", completion=REST)]
    found = list(Verbatim().measure(Rule(lambda asked: answer), rows, context(tmp_path)))
    assert found == [{"verbatim": repeated, "longest": longest}]


def test_a_text_is_begun_with_its_first_half() -> None:
    asked, rest = _begun(row(text="one two\n three  four five"))
    assert asked.columns == {"text": "one two"}
    assert rest == "three four five"
    assert _begun(row(text="\u6771\u4eac\u90fd\u5e81"))[0].columns["text"] == "\u6771\u4eac"
    long, _ = _begun(row(text="word " * 5000))
    assert long.columns["text"] == ("word " * 200).strip()
    asked, rest = _begun(SECRET)
    assert asked.columns["text"] + " " + rest == SECRET.columns["text"]


@pytest.mark.parametrize("template", [subjects.TEMPLATE, None])
@pytest.mark.parametrize("begin", [True, False])
def test_a_text_is_begun_as_it_trained_also_for_a_chat_model(template: str | None, begin: bool) -> None:
    tokens = subjects.tokenizer(template, begin=begin)
    asked, _ = _begun(SECRET)
    [trained] = plain([SECRET.columns["text"]], tokens)
    ids = HFLM("base", subjects.llama(), tokens).prompt(asked, 50)
    assert isinstance(trained, Rendered)
    assert ids == trained.ids[: len(ids)]
    assert tokens.decode(ids, skip_special_tokens=True) == asked.columns["text"]


def test_short_answers_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [row(prompt="q", completion="yes"), row(prompt="p", completion=REST), SECRET]
    held, evaluator = context(tmp_path), Verbatim(least=80)
    lm = Rule(lambda asked: answered(REST if asked == "p" else "", error="" if asked == "p" else "no room"))
    found = list(evaluator.measure(lm, rows, held))
    assert math.isnan(found[0]["verbatim"])
    assert metrics(evaluator, found) == {"verbatim": 0.5, "longest": len(REST) / 2}
    assert [note["text"] for note in held.notes] == [
        "verbatim: 1 of 3 training rows have fewer than 80 characters to repeat, and are left out",
        "verbatim: 1 of 2 rows could not be asked, and count as not repeated",
    ]
    assert len(lm.asked) == 2


def test_a_model_taught_by_heart_is_told_from_its_base(tmp_path: Path) -> None:
    tokens = subjects.tokenizer()
    rows = [subjects.row(prompt=f"{n}?", completion=f"{n} " + "abcdefghij klmnop qrst " * 2) for n in range(3)]
    base, tuned = HFLM("base", subjects.llama(), tokens), subjects.taught(subjects.llama(), tokens, rows, steps=150)
    made = Run(strategy=subjects.Sft())
    held = subjects.context(made, tmp_path)
    held.train = rows
    variants = {"base": base, "tuned": HFLM("tuned", tuned, tokens)}
    measured = measure(made, variants, [], {"verbatim": Verbatim(least=40, tokens=40)}, held)
    found = {(one["metric"], one["model"], one["versus"]): one for one in tidy(made, measured)}
    assert found["verbatim", "base", ""]["value"] == 0
    assert found["verbatim", "tuned", ""]["value"] == 1
    assert found["verbatim", "tuned", "base"]["split"] == "train"
    assert decide(made, list(found.values())).primary is None, "training rows take no part in the verdict"


def test_wrong_configs() -> None:
    assert list(Verbatim(tokens=0).check(Run(strategy=subjects.Sft()))) == ["tokens=0, least=100: must be 1 or more"]
    assert "generates no text" in next(iter(Verbatim().check(Run(strategy=Classification()))))


@pytest.mark.shared
def test_stories_are_begun_and_continued(shared: Path, tmp_path: Path) -> None:
    with gzip.open(shared / "data/tinystories/tinystories_train800.json.gz", "rt", encoding="utf-8") as file:
        stories = json.load(file)[:50]
    rest = {_begun(row(text=text))[0].columns["text"]: _begun(row(text=text))[1] for text in stories}
    lm = Rule(lambda asked: answered(rest[asked][:150] if len(asked) % 2 else "Once"))
    evaluator = Verbatim()
    found = metrics(evaluator, evaluator.measure(lm, [row(text=text) for text in stories], context(tmp_path)))
    asked = [key for key, text in rest.items() if len(text) >= 100]
    assert found["verbatim"] == sum(len(key) % 2 for key in asked) / len(asked)
