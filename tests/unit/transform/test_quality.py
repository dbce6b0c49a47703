"""Signals of published rules, each with a text that is just out of bounds, and which texts they judge."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.transform.real import real_rows
from tuneforge.composition import compose_config
from tuneforge.rows import Rejected, Row
from tuneforge.transform.cleaning.signals import C4, FineWeb, GopherQuality, GopherRepetition, Texts
from tuneforge.transform.quality import Quality, Rule

PROSE = (
    "The river rises in the hills to the north and runs for ninety miles before it meets the sea. Along its banks"
    " stand old mills that have ground corn since the middle ages, most of them still owned by the same families. In"
    " spring the water floods the lower meadows, which farmers welcome because it leaves rich soil behind.\n"
    "Further down a stone bridge of five arches carries the road. It was built by monks, who took tolls of carts.\n"
    "Today the toll house is a museum with a small collection of maps, coins and letters from that time.\n"
)
WORDS = PROSE.split()


def judged(columns: dict[str, Any], *rules: str, **settings: Any) -> str:
    part = Quality(rules=[Rule(rule) for rule in rules], **settings)
    (found,) = part.apply([Row(columns=columns)], SimpleNamespace(counts=Counter()))  # type: ignore[arg-type]
    return found.reason if isinstance(found, Rejected) else ""


@pytest.mark.parametrize("rule", Rule)
def test_good_prose_passes(rule: Rule) -> None:
    assert judged({"text": PROSE}, rule) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" ".join(WORDS[:49]), "gopher_quality words: 49, at least 50; text"),
        (PROSE + " w" * 100_000, "gopher_quality words: 1e+05, at most 100000; text"),
        ("of the a to " * 30, "gopher_quality mean word length: 2, at least 3; text"),
        (PROSE + "extraordinarinesses " * 150, "gopher_quality mean word length: 1"),
        (PROSE + "# " * 20, "gopher_quality hash signs per word: 0.1"),
        (PROSE + "so... " * 20, "gopher_quality ellipses per word: 0.1"),
        ("\n".join(f"- {word} and the other" for word in WORDS), "gopher_quality lines with a bullet: 1, at most 0.9"),
        ("\n".join([*(f"the cat and {w} …" for w in WORDS[:9]), *(f"{w} of the lake and more" for w in WORDS[:20])]),
         "gopher_quality lines with an ellipsis: 0.31, at most 0.3"),
        (PROSE + "4711 " * 40, "gopher_quality words with a letter: 0.7"),
        ("Wasser fließt langsam " * 20, "gopher_quality stop words: 0, at least 2"),
    ],
)  # fmt: skip
def test_gopher_quality(text: str, reason: str) -> None:
    assert judged({"text": text}, "gopher_quality").startswith(reason)


def test_gopher_repetition() -> None:
    def names(text: str) -> list[str]:
        return [signal.name for signal in GopherRepetition().signals(text)]

    assert names(PROSE) == []
    assert names("again and again " * 10) == []  # under 50 words
    lines = [f"line {n} has words of its own, as {WORDS[n]}" for n in range(7)]
    assert "repeated lines" in names("\n".join([*lines, *["the very same"] * 5]))
    assert "characters in repeated lines" in names("\n".join([*lines, *[PROSE[:90]] * 3]))
    assert "characters in the top 2 words" in names(PROSE + "very good " * 20)
    assert "characters in repeated 10 words" in names(f"{PROSE} {PROSE}")
    assert "repeated paragraphs" in names("\n\n".join([PROSE, PROSE, PROSE]))


def test_runs_of_words_are_counted_as_by_hand() -> None:
    words = [f"w{n:02}" for n in range(60)]
    text = " ".join([*words, *words[:6]])  # 6 of 66 words, of equal length, stood there before
    strict = GopherRepetition(repeated_5=0.0899)
    assert [(s.name, round(s.value, 4)) for s in strict.signals(text)][:2] == [
        ("characters in repeated 5 words", 0.0909),
        ("characters in repeated 6 words", 0.0909),
    ]
    twice = GopherRepetition(top_2=0.0, repeated_5=1)
    assert [(s.name, round(s.value, 4)) for s in twice.signals(text)][:1] == [
        ("characters in the top 2 words", round(4 / 66, 4)),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{PROSE}\nLorem ipsum dolor sit amet.", "lorem ipsum"),
        (f"{PROSE}\nfunction() {{}}", "curly brackets"),
        ("Home\nNews\nThis site needs JavaScript to run, please turn it on.\nOne whole sentence stands here now.",
         "sentences in whole lines"),
    ],
)  # fmt: skip
def test_c4(text: str, name: str) -> None:
    assert [signal.name for signal in C4().signals(text)] == [name]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\n".join(f"a menu entry of the page with number {n}" for n in range(9)), "lines that end with a mark"),
        ("\n".join([PROSE, *["This line of text is repeated here."] * 5]), "characters in repeated lines"),
        ("\n".join(f"Short {n}." for n in range(9)), "lines under 30 characters"),
    ],
)
def test_fineweb(text: str, name: str) -> None:
    assert [signal.name for signal in FineWeb().signals(text)] == [name]


def test_boilerplate() -> None:
    said = "I\u2019m sorry, but as an AI language model I cannot eat."
    assert judged({"prompt": "Eat!", "completion": said}, "boilerplate") == (
        "boilerplate phrases of assistants: 1, at most 0; completion"
    )
    assert judged({"prompt": said, "completion": "Very well."}, "boilerplate") == ""
    assert judged({"prompt": "x", "chosen": "Very well.", "rejected": said}, "boilerplate") == ""
    page = f"{PROSE} Click here. All rights reserved."
    assert judged({"text": page}, "boilerplate") == "boilerplate phrases of pages: 2, at most 1; text"
    assert judged({"text": f"{PROSE} Click here."}, "boilerplate") == ""


def test_documents_rules_do_not_judge_answers_and_labelled_texts() -> None:
    short = {"prompt": "2 + 2?", "completion": "4"}
    assert judged(short, *Rule) == ""
    assert judged({"text": "4", "label": "x"}, *Rule) == ""
    told = judged(short, "gopher_quality", gopher_quality=GopherQuality(judged=Texts.answers))
    assert told == "gopher_quality words: 1, at least 50; completion"
    turns = {"messages": [{"role": "user", "content": "4"}, {"role": "assistant", "content": PROSE},
                          {"role": "user", "content": "4"}, {"role": "assistant", "content": "4"}]}  # fmt: skip
    told = judged(turns, "gopher_quality", gopher_quality=GopherQuality(judged=Texts.both))
    assert told == "gopher_quality words: 1, at least 50; messages[3]"


def test_thresholds_are_set_from_the_command_line() -> None:
    run = compose_config(
        ["transform=quality", "transform.quality.rules=[fineweb]", "transform.quality.fineweb.max_short_lines=0.9",
         "transform.quality.gopher_quality.judged=both"]
    ).run  # fmt: skip
    part = run.transform["quality"]
    assert isinstance(part, Quality)
    assert (part.rules, part.fineweb.max_short_lines, part.gopher_quality.judged) == ([Rule.fineweb], 0.9, Texts.both)
    assert next(iter(Quality(rules=[]).check(run))).startswith("rules=[] judges nothing")


@pytest.mark.shared
def test_real_sets(shared: Path) -> None:
    def dropped(name: str) -> Counter[str]:
        found = Quality().apply(real_rows(shared, name), SimpleNamespace(counts=Counter()))  # type: ignore[arg-type]
        return Counter(item.reason.partition(":")[0] for item in found if isinstance(item, Rejected))

    assert dropped("gsm8k") == dropped("banking") == dropped("cypher") == {}
    assert dropped("alpaca") == {"boilerplate phrases of assistants": 13}
    found = dropped("c4")
    assert found["gopher_quality words"] == 27
    assert found["boilerplate phrases of pages"] == 2
