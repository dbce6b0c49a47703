"""How like the training rows other rows are: the cosine to the nearest of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuneforge.evaluation.behaviour.asking import asked
from tuneforge.rows import Row

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats

MOST = 20_000
"""Training rows that are looked at, drawn at random."""
BLOCK = 256
"""Rows compared at once: their similarities to all training rows are held."""


def nearest(rows: Sequence[Row], train: Sequence[Row], seed: int) -> Floats:
    """(n,) cosine of each question to the likest training question, by TF-IDF of words and pairs of words.

    0 where it shares no word with any. Words that no training row has count too: weights are those of all questions
    together, training rows and others.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    some = random.Random(seed).sample(range(len(train)), min(len(train), MOST))
    known = [asked(train[place].columns) or str(train[place].columns.get("text") or "") for place in some]
    questions = [asked(row.columns) for row in rows]
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+")
    try:
        both = vectorizer.fit_transform([*known, *questions])
    except ValueError:  # not a single word
        return np.zeros(len(rows))
    there, here = both[: len(known)], both[len(known) :]
    blocks = [(here[i : i + BLOCK] @ there.T).max(axis=1).toarray().ravel() for i in range(0, len(rows), BLOCK)]
    found: Floats = np.concatenate(blocks or [np.zeros(0)]).astype(np.float64)
    return found


def farthest(cosines: Floats, share: float) -> list[int]:
    """Places of that share of the rows whose nearest training row is least like them; of equal ones the first."""
    count = round(share * len(cosines))
    return np.argsort(cosines, kind="stable")[:count].tolist()  # type: ignore[no-any-return]
