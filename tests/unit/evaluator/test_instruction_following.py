"""Instructions that a program verifies: each kind on answers that follow it and that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuneforge.errors import ConfigError
from tuneforge.evaluation.instructions.checks import CHECKS
from tuneforge.evaluator.instruction_following import InstructionFollowing
from tuneforge.rows import Answer, Row

ENGLISH = "The weather in London is often rainy, but people enjoy walking in the parks anyway"
GERMAN = "Das Wetter in Berlin ist heute sehr schön, und viele Leute gehen im Park spazieren"
AT_LEAST, LESS = "at least", "less than"

CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["mom", "Mother"]}, ["Moms and mother"], ["mom", "mother"]),
    (
        "keywords:frequency",
        {"relation": AT_LEAST, "keyword": "war", "frequency": 2},
        ["War and wars", "war war war"],
        ["war"],
    ),
    ("keywords:frequency", {"relation": LESS, "keyword": "a.b", "frequency": 1}, ["axb"], ["A.B"]),
    ("keywords:forbidden_words", {"forbidden_words": ["rock", "C++"]}, ["rocket, C+"], ["It is a Rock.", "I like c++"]),
    (
        "keywords:letter_frequency",
        {"let_relation": AT_LEAST, "letter": "!", "let_frequency": 2},
        ["Hi! Ho!"],
        ["Hi!", "Hi"],
    ),
    ("keywords:letter_frequency", {"let_relation": LESS, "letter": "e", "let_frequency": 2}, ["Ed"], ["Eel", "tree"]),
    ("language:response_language", {"language": "de"}, [GERMAN], [ENGLISH]),
    ("language:response_language", {"language": "ko"}, ["오늘 날씨가 아주 좋아서 공원에 갔습니다"], [ENGLISH]),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "a *** b\n***\n", "***\na\n***\nb"],
        ["a", "a\n\nb", "a\n***\n\n***\nb", "a\n***\nb\n***\nc"],
    ),
    ("length_constraints:number_words", {"relation": AT_LEAST, "num_words": 3}, ["one, two - three"], ["one - two"]),
    ("length_constraints:number_words", {"relation": LESS, "num_words": 3}, ["one two."], ["one two three"]),
    (
        "length_constraints:number_sentences",
        {"relation": AT_LEAST, "num_sentences": 3},
        [
            "One. Two! Three?",
            "one. two... three",
            'He said "No." Then he left. He did.',
            "一。二。三。",
            "A\nb.\nSee. d.",
        ],
        ["Dr. Smith met e.g. Mr. Jones. He paid 3.50 dollars", "1. One thing.\n2. Another", "Hello", "a. "],
    ),
    ("length_constraints:number_sentences", {"relation": LESS, "num_sentences": 2}, ["One thing"], ["One. Two."]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Weekend"},
        ["Hi.\n\nweekend is near", 'Hi.\n\n"Weekend", he said', "Hi\n\n\n\n**Weekend**: x"],
        ["weekend\n\nHi", "Hi\n\nWeekends", "Hi\n\nweekend\n\nHo", "weekend"],
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        ["[a] and [b c]", "[a][b][c]"],
        ["[a]", "[a b"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        ["Bye\nP.P.S. me too", "p. p. s hi"],
        ["P.S. hi", "apps"],
    ),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Bye.\n\nP.S. hi"], ["PS hi", "Bye"]),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n* b", "Two:\n- a\n  - b\n---\n**bold**"],
        ["* a", "* a\n* b\n- c", "** a **\n* b"],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is yes.", " My answer is maybe.\n"],
        ["Yes.", "My answer"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and **b c**", "**a** b **c**"],
        ["*a*", "**a** b", "* a\n* b", "** ** and *a*"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        ["SECTION 1\na\nSECTION 2\nb", "SECTION1 SECTION 2 SECTION 3"],
        ["SECTION 1\na", "Section 1\nSection 2"],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": 1}', "```json\n[1]\n```", "```\n{}\n```"],
        ["{a: 1}", "so: {}", "```\n{}"],
    ),
    ("detectable_format:title", {}, ["<<A title>>\nx"], ["<A title>", "<<>>", "<< >>", "<<a\nb>>"]),
    (
        "combination:two_responses",
        {},
        ["a\n******\nb", "******\na ****** b\n******"],
        ["a", "a ****** a", "a******b******c", "a***b", "a ****** ****** b"],
    ),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi. "}, ["say hi. Hi!"], ["Hi! Say hi.", "Say"]),
    ("startend:end_checker", {"end_phrase": "Peace!"}, ["So be it. peace!\n", '"So. Peace!"'], ["Peace! Bye", "peace"]),
    ("startend:quotation", {}, ['"Hi"', ' "a "b" c"\n'], ['"', '"Hi', "'Hi'", 'x "Hi"']),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": AT_LEAST, "capital_frequency": 2},
        ["THE end is NEAR", "WELL-KNOWN U.S. law"],
        ["The End", "NEAR Well-KNOWN", "12 345 A"],
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": LESS, "capital_frequency": 1},
        ["Oh dear"],
        ["OH dear"],
    ),
    ("change_case:english_capital", {}, [ENGLISH.upper()], [ENGLISH, GERMAN.upper(), "12"]),
    ("change_case:english_lowercase", {}, [ENGLISH.lower()], [ENGLISH, GERMAN.lower(), "12"]),
    ("punctuation:no_comma", {}, ["a; b"], ["a, b"]),
]


def asked(*instructions: tuple[str, dict[str, Any]], **fields: Any) -> Row:
    kept = {"instruction_id_list": [i for i, _ in instructions], "kwargs": [k for _, k in instructions]}
    return Row(columns={"prompt": "q"}, source="test.ifeval", file="a.jsonl", line=7, fields=kept | fields)


def score(row: Row, text: str) -> dict[str, float]:
    return dict(InstructionFollowing().score(row, Answer(text)))


@pytest.mark.parametrize(("kind", "kwargs", "followed", "missed"), CASES, ids=[c[0] for c in CASES])
def test_each_kind(kind: str, kwargs: dict[str, Any], followed: list[str], missed: list[str]) -> None:
    assert [t for t in followed if not follows(kind, kwargs, t)] == []
    assert [t for t in missed if follows(kind, kwargs, t)] == []


def follows(kind: str, kwargs: dict[str, Any], text: str) -> bool:
    return score(asked((kind, kwargs)), text)["prompt_strict"] == 1


def test_every_kind_is_tried() -> None:
    assert {case[0] for case in CASES} == CHECKS.keys()
    assert len(CHECKS) == 25


def test_loose_looks_at_the_answer_without_what_stands_around_it() -> None:
    row = asked(("startend:quotation", {}), ("punctuation:no_comma", {}))
    assert score(row, 'Sure, here it is:\n"No."') == {
        "instructions": 2, "prompt_strict": 0, "followed_strict": 0, "prompt_loose": 1, "followed_loose": 2,
    }  # fmt: skip
    assert score(row, '**"No."**')["prompt_loose"] == 1
    assert score(row, "")["followed_loose"] == 0
    assert dict(InstructionFollowing().score(row, Answer('"No."', error="no room")))["followed_loose"] == 0


def test_instructions_are_averaged_over_instructions_and_prompts_over_rows() -> None:
    comma, title = ("punctuation:no_comma", {}), ("detectable_format:title", {})
    rows = [asked(comma, title, ("startend:quotation", {})), asked(comma)]
    found = [score(row, text) for row, text in zip(rows, ["plain", "plain"], strict=True)]
    stats = {key: np.array([one[key] for one in found]) for key in found[0]}
    assert InstructionFollowing().aggregate(stats) == {
        "prompt_strict": 0.5, "prompt_loose": 0.5, "instruction_strict": 0.5, "instruction_loose": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (asked(("punctuation:no_coma", {})), "a.jsonl:7: no instruction 'punctuation:no_coma'. Did you mean"),
        (
            asked(("punctuation:no_comma", {}), kwargs=[]),
            "a.jsonl:7: instruction_id_list and kwargs must be .*: 1 and 0",
        ),
        (asked(("punctuation:no_comma", {}), kwargs="{}"), "1 and a str here"),
        (asked(("punctuation:no_comma", {"n": 1})), "kwargs of punctuation:no_comma are none, not n"),
        (asked(("detectable_format:number_bullet_lists", {})), "number_bullet_lists are num_bullets, not none"),
        (
            asked(("detectable_format:number_bullet_lists", {"num_bullets": "3"})),
            "num_bullets='3' must be a whole number",
        ),
        (asked(("keywords:existence", {"keywords": "a"})), "keywords='a' must be a list of texts"),
        (asked(("keywords:frequency", {"relation": "most", "keyword": "a", "frequency": 1})), "at least or less than"),
        (asked(("language:response_language", {"language": "xx"})), "'xx' is no code of a known language"),
        (Row(columns={"prompt": "q"}, source="test.x", fields={"kwarg": 1}), r"test.x: no row has a kept column 'ins"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_before_anything_is_generated(row: Row, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        list(InstructionFollowing().measure(None, [row], None))  # type: ignore[arg-type]


def test_absent_keys_may_be_null() -> None:
    row = asked(("punctuation:no_comma", {"num_bullets": None}), ("startend:quotation", None))  # type: ignore[arg-type]
    assert score(row, '"a"')["followed_strict"] == 2


@pytest.mark.shared
def test_every_row_of_ifeval_is_understood(shared: Path) -> None:
    lines = (shared / "data/ifeval/input_data.part1.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [
        Row(columns={"prompt": one["prompt"]}, fields={k: one[k] for k in ("instruction_id_list", "kwargs")})
        for one in map(json.loads, lines)
    ]
    found = list(InstructionFollowing().judge(rows, [Answer("hello there")] * len(rows), None))  # type: ignore[arg-type]
    assert len(found) == 300
    assert sum(one["instructions"] for one in found) == sum(len(row.fields["kwargs"]) for row in rows)
    assert 0 < sum(one["followed_strict"] for one in found) < sum(one["instructions"] for one in found)
