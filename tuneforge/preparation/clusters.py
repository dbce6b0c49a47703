"""Groups of like texts, named by their words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from tuneforge.preparation.features import LENGTH

WORDS = 3
"""Words in the name of a cluster."""

TERMS = 20_000
"""Most frequent words that are looked at."""


class Clusters:
    """k-means over TF-IDF of words (MacQueen 1967), deterministic for a seed; fewer where texts have the same words."""

    def __init__(self, texts: Sequence[str], count: int, seed: int) -> None:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words = TfidfVectorizer(
            max_features=TERMS, stop_words="english", sublinear_tf=True, token_pattern=r"(?u)\b[^\W\d]{2,}\b"
        )
        self.names: list[str] = [""]
        """The words that weigh most in each, as `unit, convert, celsius`."""
        try:
            matrix = self._words.fit_transform(t[:LENGTH] for t in texts)
        except ValueError:  # not one word in them
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._means = KMeans(min(count, len(texts)), random_state=seed, n_init=3, max_iter=100).fit(matrix)
        terms = self._words.get_feature_names_out()
        tops = [centre.argsort(kind="stable")[::-1][:WORDS] for centre in self._means.cluster_centers_]
        self.names = [", ".join(terms[i] for i in top) for top in tops]

    def of(self, texts: Sequence[str]) -> list[str]:
        """The name of each text's cluster; empty for a text that has none of their words."""
        if self.names == [""] or not texts:
            return [""] * len(texts)
        matrix: Any = self._words.transform(t[:LENGTH] for t in texts)
        known = matrix.getnnz(axis=1)
        found = zip(self._means.predict(matrix), known, strict=True)
        return [self.names[cluster] if words else "" for cluster, words in found]
