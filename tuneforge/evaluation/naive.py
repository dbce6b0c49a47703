"""What a tuned model has to beat where the base model has no head for the job: rules that look at no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneforge.conversation import answer_text, classes
from tuneforge.evaluation.unable import Unable
from tuneforge.rows import Row


class Majority(Unable):
    """Each text has each class with the share that the class has of the training rows: the most frequent one wins."""

    def __init__(self, train: Iterable[Row], labels: Sequence[str]) -> None:
        super().__init__("majority")
        self.labels = list(labels)
        named = [classes(row.columns) or () for row in train]
        counts = Counter(name for found in named for name in found)
        self.shares = np.array([counts[label] / max(len(named), 1) for label in self.labels])

    def predict(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """(n, labels) the same shares for every row."""
        return np.tile(self.shares, (len(rows), 1))

    def describe(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The most frequent class with its share."""
        best = int(self.shares.argmax())
        return {"class": self.labels[best], "share": float(self.shares[best])}


class Lexicon(Unable):
    """Each word has the tag that it has most often in the training rows; an unknown word the most frequent tag.

    Of equally frequent tags the first in the alphabet.
    """

    def __init__(self, train: Iterable[Row]) -> None:
        super().__init__("lexicon")
        by_word: dict[str, Counter[str]] = {}
        overall: Counter[str] = Counter()
        for row in train:
            for word, tag in zip(row.columns.get("tokens") or (), row.columns.get("tags") or (), strict=True):
                by_word.setdefault(word, Counter())[tag] += 1
                overall[tag] += 1
        self.tags = {word: _most(tags) for word, tags in by_word.items()}
        self.other = _most(overall)

    def tag(self, rows: Sequence[Row]) -> list[list[str]]:
        """The tag of each word by itself."""
        return [[self.tags.get(word, self.other) for word in row.columns["tokens"]] for row in rows]

    def describe(self, rows: Sequence[Row]) -> dict[str, Any]:
        """How many words it knows."""
        return {"words": len(self.tags), "other": self.other}


class Longer(Unable):
    """The longer answer is the better one, by its characters."""

    def __init__(self) -> None:
        super().__init__("longer")

    def reward(self, rows: Sequence[Row], column: str) -> NDArray[np.float64]:
        """(n,) characters of the answer."""
        return np.array([len(answer_text(row.columns, column)) for row in rows], dtype=np.float64)

    def describe(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What it counts."""
        return {"unit": "characters"}


def _most(counts: Counter[str]) -> str:
    return min(counts, key=lambda name: (-counts[name], name), default="")
