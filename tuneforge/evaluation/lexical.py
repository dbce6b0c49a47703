"""Texts found by the words that they share: what an embedding model has to beat, shots and passages."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneforge.evaluation.unable import Unable

K1, B = 1.2, 0.75
"""Saturation of a word's count, and how much a text's length counts."""
WIDTH = 2**14
"""Most dimensions; with more words, several share one."""
WORD = re.compile(r"\w+")


class Bm25(Unable):
    """BM25 (Robertson and Zaragoza 2009) as vectors: a dot product is the sum over shared words.

    Words weigh by how few of the candidates `corpus` hold them. Each side carries the root of that weight and its own
    saturated count, so that the ranking of a query in which no word stands twice is that of BM25.
    """

    head = "bm25"

    def __init__(self, corpus: Iterable[str]) -> None:
        super().__init__("bm25")
        texts = [_words(text) for text in dict.fromkeys(corpus)]
        held = Counter(word for words in texts for word in set(words))
        n = len(texts)
        self.mean = sum(map(len, texts)) / max(n, 1)
        self.weights = {word: math.sqrt(_weight(n, k)) for word, k in held.items()}
        many = len(self.weights) > WIDTH
        self.places = {w: zlib.crc32(w.encode()) % WIDTH if many else i for i, w in enumerate(self.weights)}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, words of the corpus) float32; words that no candidate holds count for nothing."""
        found = np.zeros((len(texts), min(len(self.weights), WIDTH)), dtype=np.float32)
        for row, text in zip(found, texts, strict=True):
            words = _words(text)
            for word, count in Counter(words).items():
                if word in self.weights:
                    row[self.places[word]] += self.weights[word] * _saturated(count, len(words), self.mean)
        return found

    def describe(self, rows: Sequence[Any]) -> dict[str, Any]:
        """How many words the candidates hold."""
        return {"words": len(self.weights)}


class Ranking:
    """BM25 over texts that are kept as an inverted index: which of them share most with a query.

    A word that stands twice in the query counts once.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        counts = [Counter(_words(text)) for text in texts]
        self.size = len(counts)
        mean = sum(words.total() for words in counts) / max(self.size, 1)
        held: dict[str, list[tuple[int, float]]] = {}
        for place, words in enumerate(counts):
            for word, count in words.items():
                held.setdefault(word, []).append((place, _saturated(count, words.total(), mean)))
        self.held = {
            word: (
                np.array([place for place, _ in found]),
                _weight(self.size, len(found)) * np.array([s for _, s in found]),
            )
            for word, found in held.items()
        }
        """Word → the places of the texts that hold it, and what it adds to the score of each."""

    def scores(self, query: str) -> NDArray[np.float64]:
        """(texts,) BM25 of each text."""
        found = np.zeros(self.size)
        for word in set(_words(query)) & self.held.keys():
            places, added = self.held[word]
            found[places] += added
        return found

    def top(self, query: str, count: int) -> list[int]:
        """Places of the texts with the highest scores, best first; those that share no word are none of them."""
        scores = self.scores(query)
        order = np.argsort(-scores, kind="stable")[:count]
        return [int(place) for place in order if scores[place] > 0]


def _weight(texts: int, holding: int) -> float:
    """How much a word weighs that `holding` of the texts hold."""
    return math.log1p((texts - holding + 0.5) / (holding + 0.5))


def _saturated(count: int, length: int, mean: float) -> float:
    return count * (K1 + 1) / (count + K1 * (1 - B + B * length / max(mean, 1e-9)))


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())
