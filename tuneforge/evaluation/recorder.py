"""What a variant says while it is measured, kept for the samples and for comparisons in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneforge.components import LM
from tuneforge.evaluation.lm import row_key
from tuneforge.rows import Answer, Row

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats


@dataclass
class Recorder:
    """An LM that remembers the answers it gave, for the samples."""

    lm: LM
    variant: str
    answers: dict[tuple[str, str], Answer]
    said: dict[tuple[str, str, int], Answer]

    def generate(self, rows: Sequence[Row], max_tokens: int) -> list[Answer]:
        """As the LM; remembered."""
        found = self.lm.generate(rows, max_tokens)
        self.answers.update({(self.variant, row_key(row)): a for row, a in zip(rows, found, strict=True)})
        self.said.update({(self.variant, row_key(row), max_tokens): a for row, a in zip(rows, found, strict=True)})
        return found

    def log_probs(self, rows: Sequence[Row], column: str) -> Any:
        """As the LM."""
        return self.lm.log_probs(rows, column)

    def predict(self, rows: Sequence[Row]) -> Any:
        """As the LM; the class that is likeliest, or those above ½, remembered by name."""
        found = self.lm.predict(rows)
        labels = getattr(self.lm, "labels", ())
        if labels:
            texts = [_named(row, shares, labels) for row, shares in zip(rows, found, strict=True)]
            self._remember(rows, texts)
        return found

    def tag(self, rows: Sequence[Row]) -> list[list[str]]:
        """As the LM; remembered."""
        found = self.lm.tag(rows)
        self._remember(rows, [tagged(r.columns["tokens"], t) for r, t in zip(rows, found, strict=True)])
        return found

    def _remember(self, rows: Sequence[Row], texts: Sequence[str]) -> None:
        self.answers.update({(self.variant, row_key(r)): Answer(t) for r, t in zip(rows, texts, strict=True)})

    def embed(self, texts: Sequence[str]) -> Any:
        """As the LM."""
        return self.lm.embed(texts)

    def reward(self, rows: Sequence[Row], column: str) -> Any:
        """As the LM."""
        return self.lm.reward(rows, column)


def remember(lm: LM, rows: Sequence[Row], texts: Sequence[str]) -> None:
    """What a variant chose without saying a word, for the samples; an answer that it gave in words stays."""
    if isinstance(lm, Recorder):
        for row, text in zip(rows, texts, strict=True):
            lm.answers.setdefault((lm.variant, row_key(row)), Answer(text))


def _named(row: Row, shares: Floats, labels: Sequence[str]) -> str:
    if isinstance(row.columns["label"], list):
        return ", ".join(label for label, share in zip(labels, shares, strict=True) if share > 0.5)
    return labels[int(np.argmax(shares))]


def tagged(words: Sequence[str], tags: Sequence[str]) -> str:
    """`Empire/B-location State/I-location is tall`: words with those of their tags that are not `O`."""
    return " ".join(w if t == "O" else f"{w}/{t}" for w, t in zip(words, tags, strict=True))
