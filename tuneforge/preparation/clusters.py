"""Groups of like texts, named by their words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuneforge.preparation.features import LENGTH

WORDS = 3
"""Words in the name of a cluster."""

TERMS = 20_000
"""Most frequent words that are looked at."""


class Clusters:
    """k-means over TF-IDF of words (Lloyd 1982; MacQueen 1967), deterministic for a seed."""

    def __init__(self, texts: Sequence[str], count: int, seed: int) -> None:
        from sklearn.cluster import KMeans
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words = TfidfVectorizer(
            max_features=TERMS, stop_words="english", sublinear_tf=True, token_pattern=r"(?u)\b[^\W\d]{2,}\b"
        )
        matrix = self._words.fit_transform(t[:LENGTH] for t in texts)
        self._means = KMeans(count, random_state=seed, n_init=3, max_iter=100).fit(matrix)
        terms = self._words.get_feature_names_out()
        tops = [centre.argsort(kind="stable")[::-1][:WORDS] for centre in self._means.cluster_centers_]
        self.names: list[str] = [", ".join(terms[i] for i in top) for top in tops]
        """The words that weigh most in each, as `unit, convert, celsius`."""

    def of(self, texts: Sequence[str]) -> list[str]:
        """The name of each text's cluster."""
        matrix: Any = self._words.transform(t[:LENGTH] for t in texts)
        return [self.names[cluster] for cluster in self._means.predict(matrix)] if texts else []
