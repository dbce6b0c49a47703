"""Where a model fails: slices of a test set by class or topic, beside how much of the training data stands there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneforge.evaluation.statistics import wilson

FEWEST = 10
"""Rows from which a slice is looked at."""
MOST_CLASSES = 100
TERMS = 4
"""Words that name a topic."""
LONGEST = 200
"""Characters of an example."""


@dataclass(frozen=True)
class Slice:
    """Rows of one class or topic."""

    name: str
    n: int
    value: float
    """Share of rows that are right."""
    low: float
    high: float
    test_share: float
    train_share: float
    weak: bool
    """Proven worse than all rows together."""
    thin: bool
    """Its share of the training rows is below half of its share of the test rows."""
    example: str


def slices(
    samples: Sequence[Mapping[str, Any]], scores: Sequence[float], train: Sequence[tuple[str, str]]
) -> list[Slice]:
    """Slices of rows that are right (1) or wrong (0), the weakest first.

    `train` holds prompt and answer of each training row. The slices are the references where they are few, else topics:
    k-means (seeded) over TF-IDF of the prompts.
    """
    names, of_train = _assigned(samples, train)
    counts, trained = Counter(names), Counter(of_train)
    overall = sum(scores) / max(len(scores), 1)
    found = []
    for name, n in counts.items():
        if n < FEWEST:
            continue
        own = [i for i, place in enumerate(names) if place == name]
        value, low, high = wilson(sum(scores[i] for i in own), n)
        shares = n / len(names), trained[name] / max(len(of_train), 1)
        wrong = next((_text(samples[i].get("prompt")) for i in own if not scores[i]), "")
        weak, thin = high < overall, shares[1] < shares[0] / 2
        found.append(Slice(name, n, value, low, high, *shares, weak, thin, wrong[:LONGEST]))
    return sorted(found, key=lambda one: (one.value, one.name))


def _assigned(samples: Sequence[Mapping[str, Any]], train: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """The slice of every test row and of every training row."""
    references = [str(s.get("reference")) for s in samples]
    distinct = set(references)
    if len(distinct) <= MOST_CLASSES and len(distinct) * FEWEST <= len(references):
        return references, [answer for _, answer in train]
    return _topics([_text(s.get("prompt")) or str(s.get("reference")) for s in samples], [p or a for p, a in train])


def _topics(texts: Sequence[str], train: Sequence[str]) -> tuple[list[str], list[str]]:
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    count = int(np.clip(len(texts) // 40, 1, 12))
    vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True, max_features=20_000)
    try:
        matrix = vectorizer.fit_transform(texts)
    except ValueError:  # not a single word that is no stop word
        return ["all rows"] * len(texts), ["all rows"] * len(train)
    found = KMeans(n_clusters=count, n_init=4, random_state=0).fit(matrix)
    terms = vectorizer.get_feature_names_out()
    names = [", ".join(terms[i] for i in np.argsort(-centre)[:TERMS]) for centre in found.cluster_centers_]
    of_train = found.predict(vectorizer.transform(train)) if train else []
    return [names[i] for i in found.labels_], [names[i] for i in of_train]


def _text(prompt: Any) -> str:
    """The last thing said in a prompt."""
    if isinstance(prompt, list):
        return str(prompt[-1].get("content") or "") if prompt else ""
    return str(prompt or "")
