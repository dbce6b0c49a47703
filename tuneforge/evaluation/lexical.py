"""What an embedding model has to beat: retrieval by the words that two texts share."""

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
        self.weights = {word: math.sqrt(math.log1p((n - k + 0.5) / (k + 0.5))) for word, k in held.items()}
        many = len(self.weights) > WIDTH
        self.places = {w: zlib.crc32(w.encode()) % WIDTH if many else i for i, w in enumerate(self.weights)}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, words of the corpus) float32; words that no candidate holds count for nothing."""
        found = np.zeros((len(texts), min(len(self.weights), WIDTH)), dtype=np.float32)
        for row, text in zip(found, texts, strict=True):
            words = _words(text)
            base = K1 * (1 - B + B * len(words) / max(self.mean, 1e-9))
            for word, count in Counter(words).items():
                if word in self.weights:
                    row[self.places[word]] += self.weights[word] * count * (K1 + 1) / (count + base)
        return found

    def describe(self, rows: Sequence[Any]) -> dict[str, Any]:
        """How many words the candidates hold."""
        return {"words": len(self.weights)}


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())
