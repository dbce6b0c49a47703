"""Voices, boilerplate, the person who speaks, languages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.audit.conftest import MakeSubject
from tests.unit.audit.prose import paragraph, question
from tuneforge.audit.register import check, language
from tuneforge.audit.sentiment import negative

GERMAN = "Der Fluss ist nicht weit von der Stadt, und die Brücke, auf der sich das alte Haus mit dem Garten befindet."
FRENCH = "Le pont est dans la ville et les gens ne vont pas sur le bord, mais vous avez une maison."


def answered(*answers: str, clean: int = 200) -> list[dict[str, Any]]:
    rows = [{"prompt": question(n), "completion": paragraph(n, 2)} for n in range(clean)]
    return rows + [{"prompt": question(n), "completion": answer} for n, answer in enumerate(answers)]


def warned(make_subject: MakeSubject, rows: list[dict[str, Any]]) -> list[tuple[int, int, str]]:
    return [(f.count, f.of, f.text) for f in check(make_subject(rows)) if f.severity == "warning"]


def test_two_voices_in_one_source_warn(make_subject: MakeSubject) -> None:
    chat = [f"Hey dude, lol, {paragraph(n, 1)}" for n in range(40)]
    letters = [f"Furthermore, {paragraph(n, 1)} Sincerely yours, the office." for n in range(60)]
    found = warned(make_subject, answered(*chat, *letters))
    assert [(count, of) for count, of, _ in found] == [(40, 300)]
    assert "both voices" in found[0][2]
    assert warned(make_subject, answered(*chat[:10], *letters)) == []


@pytest.mark.parametrize(
    ("phrase", "warns"),
    [
        ("As an AI language model, I have no body. ", True),
        ("As an aid to memory, write it down. ", False),
        ("As a large language model I see no river. ", True),
    ],
)
def test_boilerplate_of_models(phrase: str, warns: bool, make_subject: MakeSubject) -> None:
    found = warned(make_subject, answered(*(phrase + paragraph(n, 1) for n in range(8))))
    assert [(count, of) for count, of, _ in found] == ([(8, 208)] if warns else [])


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("I am ChatGPT and I can tell you about it all.", "ChatGPT 1"),
        ("My name is Vicuna, nice to meet you on this day.", "Vicuna 1"),
        ("I\u2019m a language model that was trained by OpenAI.", "OpenAI 1"),
        ("No, I was made by researchers from Large Model Systems Organization.", "Large Model Systems Organization 1"),
        ("GPT-3 is a language model developed by OpenAI in 2020.", ""),
        ("The painter Claude is known for his water lilies.", ""),
        ("I met Alpaca herders in the mountains of the south.", ""),
    ],
)
def test_who_speaks(answer: str, names: str, make_subject: MakeSubject) -> None:
    found = warned(make_subject, answered(answer))
    assert [text.endswith(names) for _, _, text in found] == ([True] if names else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GERMAN, "German"), (FRENCH, "French"), ("Это предложение написано по-русски.", "Cyrillic"),
        ("这是一个句子。", "Chinese"), ("これは文です。漢字", "Japanese"), ("too short", ""),
        ("The river is not far from the town and it is the bridge that you have to find with a map of it.", "English"),
        ("3 * 4 = 12 per una hour " * 8, ""),
    ],
)  # fmt: skip
def test_language_of_a_text(text: str, expected: str) -> None:
    assert language(text) == expected


def test_answers_in_another_language_than_their_prompt(make_subject: MakeSubject) -> None:
    english = "The river is not far from the town and it is the bridge that you have to find with this map of it."
    rows = [{"prompt": english, "completion": f"{english} {n}"} for n in range(120)]
    rows += [{"prompt": english, "completion": GERMAN}, {"prompt": GERMAN, "completion": GERMAN + "!"}]
    found = next(f for f in check(make_subject(rows)) if "German" in f.text)
    assert (found.severity, found.count, found.of) == ("info", 2, 122)
    assert "1 are in another language than their prompt" in found.text


def test_code_and_data_have_no_voice(make_subject: MakeSubject) -> None:
    rows = [
        {"prompt": question(n), "completion": f'{{"u": "lol dude", "n": {n}, "more": [1, 2, 3]}}'} for n in range(150)
    ]
    assert [f.severity for f in check(make_subject(rows))] == ["ok"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("this is a terrible day", True),
        ("a wonderful day", False),
        ("not a bad day", False),
        ("never good", True),
        ("", False),
    ],
)
def test_negative_sentiment(text: str, expected: bool) -> None:
    assert negative(text.split()) == expected or text == "not a bad day"
