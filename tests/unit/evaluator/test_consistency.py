"""The same question in other words: the words, the agreement, and who is right in all."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tests.unit.evaluation import subjects
from tests.unit.evaluator.rules import Rule, Wise, context, metrics, row
from tuneforge.errors import ConfigError
from tuneforge.evaluation.behaviour.paraphrase import by_rules, by_teacher, contracted, form
from tuneforge.evaluator.consistency import Consistency, Phrasings
from tuneforge.evaluator.token_f1 import TokenF1
from tuneforge.rows import Answer
from tuneforge.settings import Run


def test_rules_keep_words_numbers_and_lines() -> None:
    assert by_rules("What is the sum of 2 and 3?", 9) == [
        "Please help me with this. What is the sum of 2 and 3?",
        "Question: What is the sum of 2 and 3?",
        "What's the sum of 2 and 3?",
        "What is the sum of 2 and 3",
        "What is the sum of 2 and 3? Thank you.",
    ]
    assert by_rules("Name three\nx is not y", 2) == [
        "Please help me with this.\n\nName three\nx is not y",
        "Task:\n\nName three\nx is not y",
    ]
    assert "x isn't y" not in " ".join(by_rules("Name three\nx is not y", 9))
    assert (contracted("I'm here and it's late"), contracted("Cannot see")) == ("I am here and it's late", "Can't see")


def test_forms_tell_answers_apart_by_their_words_alone() -> None:
    assert form(" Paris.\n") == form("paris") == form('"\uff30aris"')
    assert form("5") != form("-5")
    assert form("3.5") != form("35")


PARIS = {"Where is it?": "Paris", "Please help me with this. Where is it?": "paris.", "Question: Where is it?": "Rome"}
"""Two of the three pairs of answers disagree."""


def test_agreement_is_worked_out_by_hand(tmp_path: Path) -> None:
    rows = [row(prompt="Where is it?", completion="Paris"), row(prompt="Always?", completion="Yes")]
    evaluator = Consistency(count=2)
    found = list(evaluator.measure(Rule(lambda asked: PARIS.get(asked, "No")), rows, context(tmp_path)))
    assert [one["consistency"] for one in found] == [pytest.approx(1 / 3), 1.0]
    assert [(one["right"], one["right_in_all"]) for one in found] == [(1, 0), (0, 0)]
    assert metrics(evaluator, found) == {"consistency": pytest.approx(2 / 3), "right_in_all": 0, "right": 0.5}


def test_nothing_agrees_with_an_empty_answer_or_an_error(tmp_path: Path) -> None:
    for said in ("", "...", Answer("Paris", "no room", "length")):
        rows = [row(prompt="Where is it?", completion="Paris")]
        found = next(iter(Consistency(count=2).measure(Rule(lambda asked, said=said: said), rows, context(tmp_path))))  # type: ignore[misc]
        assert found == {"consistency": 0, "right_in_all": 0, "right": 0}


def test_phrasings_of_a_field(tmp_path: Path) -> None:
    rows = [row({"other": ["Which town?", "Say the town."]}, prompt="Where?", completion="Paris")]
    rows.append(row({"other": []}, prompt="When?", completion="Now"))
    held, evaluator = context(tmp_path), Consistency(phrasings=Phrasings.field, field="other")
    lm = Rule(lambda asked: "Paris")
    found = list(evaluator.measure(lm, rows, held))
    assert lm.asked == ["Where?", "Which town?", "Say the town.", "When?"]
    assert (found[0]["consistency"], found[0]["right_in_all"]) == (1, 1)
    assert all(math.isnan(value) for value in found[1].values())
    assert held.notes[0]["text"] == "consistency: 1 of 2 rows have no other phrasing, and are left out"
    odd = [
        row({"other": other}, prompt="Who?", completion="Paris") for other in (None, "", ["Who?", None], ["He?"] * 2)
    ]
    lm = Rule(lambda asked: "Paris")
    told = list(Consistency(phrasings=Phrasings.field, field="other").measure(lm, odd, held))
    assert lm.asked == ["Who?", "Who?", "Who?", "Who?", "He?"]
    assert [one["consistency"] == 1 for one in told] == [False, False, False, True]
    with pytest.raises(ConfigError, match=r"evaluator\.consistency\.field=othr: .*Did you mean 'other'"):
        list(Consistency(phrasings=Phrasings.field, field="othr").measure(lm, rows, held))


def test_rows_of_a_group_are_phrasings_of_one_question(tmp_path: Path) -> None:
    rows = [row(group="a", prompt=text, completion="Paris") for text in ("Where?", "Which town?", "Say it.")]
    rows.append(row(prompt="When?", completion="Now"))
    lm = Rule(lambda asked: "Rome" if asked == "Say it." else "Paris")
    found = list(Consistency(phrasings=Phrasings.group).measure(lm, rows, context(tmp_path)))
    assert [one["consistency"] for one in found[:3]] == [0.5, 0.5, 0]
    assert [one["right_in_all"] for one in found[:3]] == [0, 0, 0]
    assert [one["right"] for one in found[:3]] == [1, 1, 0]
    assert math.isnan(found[3]["consistency"])


def test_a_teacher_finds_the_words_and_useless_ones_are_counted(tmp_path: Path) -> None:
    said = iter(["How much is 2 and 3 together?", "What is 2 plus 3?", "Add two and three.", Answer("", "timeout")])
    teacher = Wise(lambda text: next(said))
    question = row(prompt="What is 2 plus 3?", completion="5")
    held = context(tmp_path, teacher=teacher)
    lm = Rule(lambda asked: str(sum(map(int, re.findall(r"\d", asked)))))
    found = list(Consistency(phrasings=Phrasings.teacher, teacher="wise", count=4).measure(lm, [question], held))
    assert lm.asked == ["What is 2 plus 3?", "How much is 2 and 3 together?"]
    assert found == [{"consistency": 1, "right_in_all": 1, "right": 1}]
    assert held.notes[0]["text"] == "teacher.wise: 3 wordings were of no use"


def test_wordings_come_back_to_their_rows(tmp_path: Path) -> None:
    rows = [row(prompt=f"Say {name}", completion=name) for name in "abc"]
    teacher = Wise(lambda text: f"Please utter {text[-1]}")
    found, lost = by_teacher(rows, 2, "wise", context(tmp_path, teacher=teacher))
    assert found == [["Please utter a"], ["Please utter b"], ["Please utter c"]]
    assert lost == 3, "the second wording of each is the first"


def test_answers_may_agree_by_a_score(tmp_path: Path) -> None:
    rows = [row(prompt="Where is it?")]
    lm = Rule(lambda asked: "in Paris" if asked.startswith("Question") else "Paris")
    held = context(tmp_path, f1=TokenF1())
    found = list(Consistency(count=2, agree="f1").measure(lm, rows, held))
    assert found[0]["consistency"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert math.isnan(found[0]["right_in_all"]), "there is no reference"


def test_wrong_configs() -> None:
    run = Run(strategy=subjects.Sft())
    assert list(Consistency(field="x").check(run)) == [
        "field=x is not read with phrasings=rules; set phrasings=field"
    ]  # fmt: skip
    assert list(Consistency(phrasings=Phrasings.field).check(run)) == ["phrasings=field needs field"]
    assert "no such teacher" in next(iter(Consistency(phrasings=Phrasings.teacher, teacher="x").check(run)))
    assert list(Consistency(count=0).check(run)) == ["count=0: must be 1 or more"]
    assert "agree=perplexity: its bits_per_byte is better when lower" in next(
        iter(Consistency(agree="perplexity").check(run))
    )
