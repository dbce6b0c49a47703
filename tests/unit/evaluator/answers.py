"""Answers and references for the tests of text metrics: drawn at random, real, and odd."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuneforge.components import Evaluator
from tuneforge.rows import Answer, HeldOut, Row, content_hash

WORDS = [
    *("the", "a", "an", "of", "cat", "dog", "runs", "Running", "ran,", "red.", "blue!", "3,000", "-5", "don't"),
    *("naïve", "Straße", "Ærø", "日本", "語", "مرحبا", "👍🏽", "e\u0301"),
]
ODD = ["", " ", "\n\n", "the", "...", "👍👍", "مرحبا بالعالم", "日本語です", "a\u200bb"]
"""Empty, blank, an article, punctuation, emoji, from right to left, without spaces, zero width."""


class Notes:
    """A context that keeps what is said."""

    train: Sequence[Row] = ()
    held_out: Sequence[HeldOut] = ()

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str, **numbers: float) -> None:
        self.notes.append(text)


class Speaker:
    """An LM that answers as told, in the order of the rows."""

    variant = "tuned"

    def __init__(self, *answers: Answer | str) -> None:
        self.answers = [one if isinstance(one, Answer) else Answer(one) for one in answers]
        self.limits: list[int] = []

    def generate(self, rows: Sequence[Row], max_tokens: int) -> list[Answer]:
        self.limits.append(max_tokens)
        return self.answers[: len(rows)]


def asked(*right: str, line: int = 1, **columns: Any) -> Row:
    """A row with these references."""
    made = {"prompt": "q", "completion": right[0] if right else "", "references": list(right), **columns}
    return Row(columns=made, id=content_hash(made), source="test.job", file="job.jsonl", line=line)


def sentence(draw: random.Random, longest: int = 14) -> str:
    """Words at random, now and then on several lines."""
    words = draw.choices(WORDS, k=draw.randint(0, longest))
    return "".join(word + draw.choice(["  ", " ", " ", " ", "\n"]) for word in words)


def pairs(seed: int, count: int = 200) -> list[tuple[str, list[str]]]:
    """(answer, references): answers that resemble a reference, others, and odd ones."""
    draw, found = random.Random(seed), []
    for number in range(count):
        right = [sentence(draw) for _ in range(draw.randint(1, 3))]
        near = " ".join(w for w in draw.choice(right).split() if draw.random() < 0.8)
        found.append((draw.choice([near, near, sentence(draw)]), right))
        if number % 10 == 0:
            found.append((draw.choice(ODD), [draw.choice(ODD)]))
    return found


def real(shared: Path, count: int = 60) -> list[tuple[str, list[str]]]:
    """Answers of alpaca rows against those of the rows beside them, which are alike in kind."""
    rows = json.loads((shared / "data/alpaca_demo/alpaca_en_demo.json").read_text(encoding="utf-8"))[: count + 2]
    outputs = [row["output"] for row in rows]
    return [(outputs[i][: len(outputs[i + 1])] + outputs[i + 1][:80], outputs[i : i + 2]) for i in range(count)]


def whole(evaluator: Evaluator, cases: Sequence[tuple[str, list[str]]]) -> tuple[list[Any], dict[str, Any]]:
    """Statistics of each row, and the metrics of all."""
    stats = [evaluator.score(asked(*right), Answer(text)) for text, right in cases]
    arrays = {name: np.array([one[name] for one in stats]) for name in stats[0]}
    return stats, dict(evaluator.aggregate(arrays))
