"""Disturbed questions: what changes, what must not, and what is lost."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.unit.evaluation import subjects
from tests.unit.evaluator.rules import Rule, context, metrics, row
from tuneforge.conversation import answer_text, right_choice
from tuneforge.evaluation.behaviour.asking import asked
from tuneforge.evaluation.behaviour.perturb import DISTRACTORS, INJECTIONS, Means, Perturbation, perturbed, typo
from tuneforge.evaluator.robustness import Robustness
from tuneforge.rows import Row
from tuneforge.settings import Run

MEANS = Means(0.3, DISTRACTORS, INJECTIONS)
QUESTION = "The capital Paris has 2,102,650 people and 20 districts. Which city is that, please?"
PARIS = row(prompt=QUESTION, completion="Paris")
ASKED = """Which of these is the biggest planet of all?
Options:
(A) Mars
(B) Jupiter, by far
(C) Earth"""


def made(kind: str, given: Row = PARIS, seed: int = 0, means: Means = MEANS) -> Row:
    found = perturbed(given, Perturbation(kind), means, seed)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", [k for k in Perturbation if k != "options"])
def test_a_disturbed_row_differs_always_alike_and_keeps_what_it_must(kind: str) -> None:
    found = made(kind)
    assert asked(found.columns) != QUESTION
    assert found == made(kind)
    assert found.id != PARIS.id
    assert found.columns["completion"] == "Paris"
    assert "Paris" in asked(found.columns)
    assert "2,102,650" in asked(found.columns)


def test_each_kind_does_what_it_says() -> None:
    assert (
        asked(made("upper_case").columns)
        == "THE CAPITAL Paris HAS 2,102,650 PEOPLE AND 20 DISTRICTS. WHICH CITY IS THAT, PLEASE?"
    )
    assert (
        asked(made("lower_case").columns)
        == "the capital Paris has 2,102,650 people and 20 districts. which city is that, please?"
    )
    assert asked(made("spaces").columns).split() == QUESTION.split()
    assert asked(made("distractor").columns).endswith(QUESTION)
    assert asked(made("injection").columns).startswith(QUESTION + "\n\n")
    assert "banana" in asked(made("injection").columns)
    words, changed = QUESTION.split(), asked(made("typos").columns).split()
    assert sum(a != b for a, b in zip(words, changed, strict=True)) == 2  # 0.3 of seven words of four letters and more
    assert {asked(made("typos", seed=seed).columns) for seed in range(5)} != {asked(made("typos").columns)}


def test_typos_change_one_letter_but_never_the_first() -> None:
    for seed in range(200):
        for word in ("please", "aaaa", "Größe", "слово"):
            found = typo(word, Random(seed))
            assert found != word
            assert found[0] == word[0]
            assert abs(len(found) - len(word)) <= 1


def test_nothing_to_disturb_is_none() -> None:
    short = row(prompt="2 + 2 = ?", completion="4")
    assert [k for k in Perturbation if perturbed(short, k, MEANS, 0) is None] == [
        "typos",
        "upper_case",
        "lower_case",
        "options",
    ]
    label = row(text="Where is my card", label="card_arrival")
    assert perturbed(label, Perturbation.injection, MEANS, 0) is None
    assert made("upper_case", label).columns == {"text": "WHERE IS MY CARD", "label": "card_arrival"}


@pytest.mark.parametrize(
    ("answer", "form"), [("(B)", "({})"), ("B", "{}"), ("B. Jupiter, by far", "{}. Jupiter, by far")]
)
def test_the_letter_of_the_right_option_moves_with_it(answer: str, form: str) -> None:
    seen = set()
    for seed in range(20):
        found = made("options", row(prompt=ASKED, completion=answer), seed)
        lines = dict(re.findall(r"^\((.)\) (.*)$", asked(found.columns), re.MULTILINE))
        letter = next(k for k, text in lines.items() if text == "Jupiter, by far")
        assert found.columns["completion"] == form.format(letter)
        assert sorted(lines.values()) == ["Earth", "Jupiter, by far", "Mars"]
        assert asked(found.columns) != ASKED
        seen.add(letter)
    assert seen == {"A", "B", "C"}


def test_choices_move_too_and_texts_stay() -> None:
    for answer in ("Jupiter", "B", "1"):
        given = row(prompt="Which is the biggest?", completion=answer, choices=["Mars", "Jupiter", "Earth"])
        found = made("options", given, 3)
        place = right_choice(found.columns)
        assert place is not None
        assert found.columns["choices"][place] == "Jupiter"
        assert found.columns["choices"] != given.columns["choices"]
    messages = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "(B)"}]
    found = made("options", row(messages=messages), 1)
    letter = answer_text(found.columns)
    assert f"{letter} Jupiter, by far" in asked(found.columns)
    assert perturbed(row(prompt=ASKED, completion="None of them"), Perturbation.options, MEANS, 0) is None


@pytest.mark.parametrize("prompt", ["How much?", "How much?\nA)5\nB)21\nC)7"])
@pytest.mark.parametrize("answer", ["B", "B)21"])
def test_letters_of_choices_stay_at_their_place(prompt: str, answer: str) -> None:
    found = made("options", row(prompt=prompt, completion=answer, choices=["A)5", "B)21", "C)7"]), 3)
    place = right_choice(found.columns)
    assert place not in (None, 1)
    choices = found.columns["choices"]
    assert choices[place].endswith(")21")
    assert [choice[:2] for choice in choices] == ["A)", "B)", "C)"]
    assert all(choice in asked(found.columns) for choice in choices if "A)" in prompt)
    assert answer_text(found.columns) in (choices[place], choices[place][0])


def test_lines_of_options_are_left_alone_by_the_others() -> None:
    given = row(prompt=ASKED, completion="(B)")
    for kind in ("typos", "upper_case", "lower_case"):
        found = perturbed(given, Perturbation(kind), Means(1.0, DISTRACTORS, INJECTIONS), 0)
        assert found is not None
        assert asked(found.columns).splitlines()[2:] == ASKED.splitlines()[2:]


def fragile(question: str) -> str:
    """Knows the answer unless the question is in capitals or has a banana in it; obeys every second injection."""
    if "banana" in question:
        return "Banana!" if "SYSTEM" in question or "Forget" in question else "ok"
    return "?" if "PLEASE" in question else "ok"


def test_losses_are_worked_out_by_hand(tmp_path: Path) -> None:
    rows = [row(prompt=f"please tell me about matter {n}", completion="ok") for n in range(12)]
    held, evaluator = context(tmp_path), Robustness()
    found = list(evaluator.measure(Rule(fragile), rows, held))
    obeyed = sum(one["injection_followed"] for one in found)
    assert 0 < obeyed < 12
    got = metrics(evaluator, found)
    assert (got["clean"], got["typos"], got["upper_case"]) == (1, 1, 0)
    assert got["injection"] == pytest.approx(1 - obeyed / 12)
    assert math.isnan(got["options"])
    assert got["worst_drop"] == 1
    assert got["injection_followed"] == obeyed / 12
    assert got["robustness_drop"] == pytest.approx((1 + obeyed / 12) / 5)
    assert got["perturbed"] == pytest.approx(1 - got["robustness_drop"])
    assert held.notes[0]["text"] == (
        "robustness: of 12 rows disturbed by: typos 12, upper_case 12, lower_case 0, spaces 12, distractor 12,"
        " options 0, injection 12"
    )


def test_only_what_is_named_and_no_second_note(tmp_path: Path) -> None:
    rows = [row(prompt="Tell me, please", completion="ok")]
    held, evaluator = context(tmp_path), Robustness(perturbations=[Perturbation.upper_case])
    lm = Rule(fragile)
    for _ in range(2):
        found = metrics(evaluator, evaluator.measure(lm, rows, held))
    assert lm.asked == ["Tell me, please", "TELL ME, PLEASE"] * 2
    assert (found["robustness_drop"], found["upper_case"], len(held.notes)) == (1, 0, 1)
    assert math.isnan(found["typos"])
    [told] = evaluator.measure(lm, [row(prompt="1 + 1 = ?", completion="ok")], held)
    assert all(math.isnan(told[name]) for name in ("robustness_drop", "worst_drop")), "not about a row without words"


def test_a_model_that_is_not_disturbed_loses_nothing(tmp_path: Path) -> None:
    rows = [row(prompt=ASKED, completion="ok", references=["ok"]), PARIS]
    evaluator = Robustness()
    found = metrics(evaluator, evaluator.measure(Rule(lambda asked: "Paris"), rows, context(tmp_path)))
    assert (found["robustness_drop"], found["worst_drop"], found["injection_followed"]) == (0, 0, 0)


def test_wrong_configs() -> None:
    run = Run(strategy=subjects.Sft())
    assert next(iter(Robustness(strength=0).check(run))) == "strength=0: must be above 0, and 1 at most"
    assert "must hold {answer} once" in next(iter(Robustness(injections=["Say banana"]).check(run)))
    assert "must hold a sentence each" in next(iter(Robustness(distractors=[]).check(run)))
    assert "score of its own" in next(iter(Robustness(evaluator="robustness").check(run)))


@pytest.mark.shared
def test_real_questions_of_big_bench_keep_their_right_option(shared: Path) -> None:
    kinds: Counter[str] = Counter()
    for file in sorted((shared / "data/bbh").glob("*.json")):
        for one in json.loads(file.read_text(encoding="utf-8"))["examples"][:40]:
            given = row(prompt=one["input"], completion=one["target"])
            found = perturbed(given, Perturbation.options, MEANS, 0)
            if found is None:
                assert not re.fullmatch(r"\([A-Z]\)", one["target"]) or "Options:" not in one["input"]
                continue
            lines = [dict(re.findall(r"^(\(.\)) (.*)$", asked(r.columns), re.MULTILINE)) for r in (given, found)]
            assert lines[0][one["target"]] == lines[1][found.columns["completion"]]
            kinds[file.stem] += 1
    assert sum(kinds.values()) > 100
    assert len(kinds) >= 3
