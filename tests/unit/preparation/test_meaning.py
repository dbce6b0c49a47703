"""What a changed text has to keep."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tuneforge.preparation import meaning
from tuneforge.preparation.sentences import pieces, reordered, split
from tuneforge.preparation.thesaurus import ENGLISH_LIST, read


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("I can pay now", "I  CAN pay now", "unchanged"),
        ("I can pay now", "I can't pay now", "negation"),
        ("He did not come", "He came", "negation"),
        ("It never fails here", "It works here", "negation"),
        ("Pay 15 euros", "Pay 51 euros", "number"),
        ("Pay 1,500.50 now", "Pay 1,500 now", "number"),
        ("Two dogs ran", "Three dogs ran", "number"),
        ("We met in Paris", "We met in Rome", "name"),
        ("We met Paul", "We met someone", "name"),
        ("Use the iPhone", "Use the telephone", "name"),
        ("All rows are kept", "Some rows are kept", "limit"),
        ("Call before noon", "Call after noon", "limit"),
        ("Do it if it rains", "Do it when it rains", "limit"),
        ("Is it here?", "It is here.", "question"),
        ("Run `ls -l` here now", "Run `ls -a` here now", "code"),
        ("See https://a.org/x please", "See https://a.org/y please", "code"),
        ("Dear {name}, hello", "Dear {title}, hello", "code"),
        ("The film was good", "The movie was bad", "opposite"),
        ("Prices increased again", "Prices decreased again", "opposite"),
        ("My card payment failed", "My payment of the bill failed", "label or answer"),
        ("The movie was lovely", "The film was beautiful", ""),
        ("London is big, I'm told", "London is large, I'm told", ""),
    ],
)
def test_what_is_lost(before: str, after: str, what: str) -> None:
    assert meaning.lost(before, after, {"card"}) == what


def test_names_are_capitalised_words_amid_a_sentence() -> None:
    text = 'Now I meet Ann. The IBM office, I\'m told, is in "Paris": See McDonald. - Fine\nGood'
    assert meaning.names(text) == Counter(["Ann", "IBM", "McDonald"])


def test_likeness_is_dices_coefficient() -> None:
    assert meaning.likeness("Same text", "same  TEXT") == 1
    assert meaning.likeness("abc", "xyz") < 0.5
    one, two = "  ab  ", "  ac  "
    grams = [{t[i : i + 3] for i in range(len(t) - 2)} for t in (one, two)]
    assert meaning.likeness("ab", "ac") == 2 * len(grams[0] & grams[1]) / (len(grams[0]) + len(grams[1]))


def test_the_english_list_keeps_meaning_by_its_own_guard() -> None:
    found = read(ENGLISH_LIST)
    assert len(found) > 300
    for word, synonyms in found.items():
        assert word not in synonyms
        for synonym in synonyms:
            assert meaning.lost(f"we saw the {word} thing", f"we saw the {synonym} thing") == "", (word, synonym)


def test_free_parts_and_protected_ones_are_the_text() -> None:
    text = "Say `x` to {who}\n```py\nbig = 1\n```\n    indented big\nand <b>big</b> a@b.org end"
    found = "".join(text[a:b] for a, b in meaning.free(text))
    assert "big = 1" not in found
    assert "indented" not in found
    assert "who" not in found
    assert "b.org" not in found
    assert " ".join(found.split()[-3:]) == "and big end"
    assert "".join(piece for piece, _ in pieces(text)) == text
    assert [piece for piece, prose in pieces("Hi there. See Dr. Who!\n\nBye. `x`") if prose] == [
        "Hi there.", "See Dr. Who!", "Bye."
    ]  # fmt: skip


def test_sentences() -> None:
    text = "I met Dr. No at 5 p.m. sharp. Was it e.g. Aug. 16?  Yes (really!) it was. U.S. law says so."
    found, gaps = split(text)
    assert found == [
        "I met Dr. No at 5 p.m. sharp.",
        "Was it e.g. Aug. 16?",
        "Yes (really!) it was.",
        "U.S. law says so.",
    ]
    assert gaps == [" ", "  ", " "]


PLAIN = "Rooms are quiet. Breakfast costs ten euros. Dogs may stay. Parking is free. It is near. What do you think?"


def test_reordering_moves_sentences_that_stand_alone() -> None:
    seen = {reordered(PLAIN, random.Random(seed)) for seed in range(40)}
    assert len(seen) > 3
    for text in seen:
        assert sorted(text.replace("?", ".").split(". ")) == sorted(PLAIN.replace("?", ".").split(". "))
        assert text != PLAIN
        assert text.startswith("Rooms are quiet. ")
        assert text.endswith("What do you think?")
        assert "Parking is free. It is near." in text, "a pronoun stays behind what it stands for"


@pytest.mark.parametrize(
    "text",
    [
        "One. Two.",
        "- Rooms are quiet. Dogs may stay. Cats may not.",
        "1. Open it. Close it. Leave it alone.",
        "First open it. Wait a bit. Close it.",
        '"Go," said Ann. Bob went. Ann stayed.',
        "Once upon a time there was Ann. Ann ran. Bob sat. Cy slept.",
        "```\nOne is. Two are. Three be. Four go.\n```",
        "Ann has a dog. The dog barks. She likes it.",
    ],
)
def test_what_is_not_reordered(text: str) -> None:
    assert reordered(text, random.Random(1)) == text


def test_paragraphs_are_reordered_each_by_itself() -> None:
    text = f"{PLAIN}\n\n* a list. B is. C is.\n{PLAIN}"
    made = reordered(text, random.Random(3)).split("\n")
    assert made[1:3] == ["", "* a list. B is. C is."]
    assert made[0] != PLAIN != made[3]
    assert sorted(made[0]) == sorted(PLAIN) == sorted(made[3])
