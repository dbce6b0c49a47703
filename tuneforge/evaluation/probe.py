"""A linear probe: what the model as found knows of the classes, without a change to it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneforge.conversation import classes
from tuneforge.errors import ConfigError
from tuneforge.evaluation.heads import POOLINGS, HeadLM
from tuneforge.evaluation.lm import context_length, row_key
from tuneforge.evaluation.unable import Unable
from tuneforge.rows import Rejected, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run

ROWS = 5_000
"""Training rows, a seeded sample of more, that a probe is fitted to."""
ITERATIONS = 1_000


class Features:
    """The states of the model's last layer for each text, each pooling of them, computed once."""

    def __init__(self, lm: HeadLM) -> None:
        self.lm = lm
        self._known: dict[str, NDArray[np.float32]] = {}

    def of(self, rows: Sequence[Row], pooling: str) -> NDArray[np.float32]:
        """(n, width)."""
        missing = {row_key(row): row for row in rows if row_key(row) not in self._known}
        if missing:
            self._known.update(zip(missing, self.lm.pooled(list(missing.values())), strict=True))
        return np.stack([self._known[row_key(row)][POOLINGS.index(pooling)] for row in rows])


class Probe(Unable):
    """Logistic regression (scikit-learn, L2 with C=1) on frozen, standardised features; of each class by itself where
    a row may have several.
    """

    def __init__(self, features: Features, pooling: str, train: Sequence[Row], labels: Sequence[str]) -> None:
        super().__init__("linear_probe")
        self.features, self.pooling, self.labels, self.rows = features, pooling, list(labels), len(train)
        named = [classes(row.columns) or [] for row in train]
        self.several = any(isinstance(row.columns["label"], list) for row in train)
        seen, states = {name for names in named for name in names}, features.of(train, pooling)
        if self.several:
            self.fitted = {i: _fit(states, [x in names for names in named]) for i, x in enumerate(labels) if x in seen}
        else:
            self.fitted = {-1: _fit(states, [names[0] for names in named])}

    def predict(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """(n, labels) probabilities; 0 for a class without a training row."""
        states = self.features.of(rows, self.pooling)
        found = np.zeros((len(rows), len(self.labels)))
        for place, model in self.fitted.items():
            shares = model.predict_proba(states)
            for column, name in enumerate(model.classes_):
                if place < 0 or name:
                    found[:, self.labels.index(name) if place < 0 else place] = shares[:, column]
        return found

    def describe(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What it was fitted to."""
        return {"training_rows": self.rows, "pooling": self.pooling}


def _fit(states: NDArray[np.float32], target: Sequence[Any]) -> Any:
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(set(target)) < 2:
        return DummyClassifier(strategy="prior").fit(states, target)
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS)).fit(states, target)


def probes(run: Run, lm: HeadLM, train: Sequence[Row]) -> dict[str, Probe]:
    """Name → a probe for each pooling. ConfigError with the reason where there is none."""
    places = range(len(train))
    chosen = sorted(random.Random(run.seed).sample(places, ROWS)) if len(train) > ROWS else places
    rows = _usable([train[place] for place in chosen], lm)
    if len({name for row in rows for name in classes(row.columns) or ()}) < 2:
        raise ConfigError("the training rows that fit the context have fewer than two classes")
    features = Features(lm)
    return {f"linear probe ({pooling})": Probe(features, pooling, rows, lm.labels) for pooling in POOLINGS}


def _usable(rows: Sequence[Row], lm: HeadLM) -> list[Row]:
    """Those that train: rows that become tokens, and fit the context."""
    limit, found = context_length(lm.model), []
    for row, one in zip(rows, lm.strategy.encode(rows, lm.tokenizer, lm.context), strict=True):
        if not isinstance(one, Rejected) and (limit is None or len(one.parts["input_ids"]) <= limit):
            found.append(row)
    return found
