"""Whether training is about what the target is about: shares of clusters of both."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tuneforge.audit.excerpt import excerpt
from tuneforge.audit.finding import Finding, Severity, Shown
from tuneforge.audit.subject import Subject
from tuneforge.preparation.features import dense, hashed, weighted
from tuneforge.preparation.features import subject as about
from tuneforge.rows import HeldOut, Row

if TYPE_CHECKING:
    from numpy import ndarray

FEWEST = 50
"""Rows of a target set below which nothing can be said."""

ROWS = 20
"""Target rows per cluster on average, at least."""

CLUSTERS = 20
"""Most clusters."""

CERTAIN = 0.001
"""Chance of such shares in random halves of one set, below which they are different."""

THIN = 0.25
"""Share in training over the share in the target below which a cluster is thin."""

DRAWS = 2000
"""Random splits of the union that the distance is compared with."""


class Texts(NamedTuple):
    """What rows are about, with the counts of their words, made once for all sets."""

    texts: list[str]
    counts: Any
    """As `features.hashed` makes them."""
    sources: list[str]
    """Where each row comes from."""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Texts:
        """Of some rows."""
        texts = [about(row.columns) for row in rows]
        return cls(texts, hashed(texts), [row.source for row in rows])


@dataclass(frozen=True)
class Shares:
    """Rows of each cluster."""

    train: ndarray
    """(clusters,) int."""
    target: ndarray
    """(clusters,) int."""
    names: list[str]
    """The words that weigh most in each cluster."""
    of_target: ndarray
    """(target rows,) int: each one's cluster."""
    whose: str = "training"
    """What of training `train` counts: all of it, or the source that is nearest to the target."""

    @property
    def distance(self) -> float:
        """Total variation distance of the shares: 0 for equal ones, 1 for clusters that are not shared."""
        return float(abs(self.train / self.train.sum() - self.target / self.target.sum()).sum() / 2)


def check(subject: Subject) -> Iterable[Finding]:
    """Each target set against the training rows; costly, so of a sample of both."""
    sets = [held for held in subject.held_out if held.role == "target" and len(held.rows) >= FEWEST]
    if not sets or len(subject.sample) < FEWEST:
        text = f"not compared: no target set of {FEWEST} rows or more, or fewer training rows than that"
        yield Finding(check="coverage", severity=Severity.ok, text=text, of=len(subject.sample))
    else:
        train = Texts.of(subject.sample)
        for held in sets:
            yield from _of_set(held, train, subject)


def _of_set(held: HeldOut, train: Texts, subject: Subject) -> Iterator[Finding]:
    rows = _drawn(held.rows, subject.run.audit.sample, subject.run.seed)
    found = compared(train, Texts.of(rows), subject.run.seed)
    typical, chance = null(found, subject.run.seed)
    thin = thin_clusters(found) if chance <= CERTAIN else []
    name = f"{held.split}.{held.name}"
    text = (
        f"{name} and {found.whose} are about different things by {found.distance:.0%} (total variation of their "
        f"shares of {len(found.names)} clusters; random splits of one set: below {typical:.0%} in 95 of 100)"
    )
    if thin:
        text += f"; thin in {found.whose}: " + "; ".join(_said(found, cluster) for cluster in thin[:3])
    yield Finding(
        check="coverage",
        severity=Severity.warning if thin else Severity.ok if chance > CERTAIN else Severity.info,
        text=text,
        count=int(found.target[thin].sum()),
        of=len(rows),
        action="add training rows about the same as these, not these; of many rows that you have, +transform=select "
        "transform.select.method=coverage keeps those like a validation file (docs/selection.md)" if thin else "",
        rows=_examples(rows, found, thin),
        numbers={"distance": found.distance, "random": typical, "chance": chance},
        bars=_bars(found),
    )  # fmt: skip


def _bars(found: Shares) -> list[tuple[str, float]]:
    """The largest clusters of the target with their share there."""
    largest = (-found.target).argsort(kind="stable")[:10]
    shares = [(c, found.train[c] / found.train.sum(), found.target[c] / found.target.sum()) for c in largest]
    return [(f"{found.names[c]}: training {train:.0%}, target", float(target)) for c, train, target in shares]


def _said(found: Shares, cluster: int) -> str:
    target, train = (counts[cluster] / counts.sum() for counts in (found.target, found.train))
    return f"'{found.names[cluster]}' {target:.0%} of the set, {train:.1%} of {found.whose}"


def _drawn(rows: Sequence[Row], limit: int, seed: int) -> Sequence[Row]:
    return rows if len(rows) <= limit else random.Random(seed).sample(rows, limit)


def _examples(rows: Sequence[Row], found: Shares, thin: Sequence[int]) -> list[Shown]:
    each = max(1, 10 // max(1, len(thin)))
    shown: list[Shown] = []
    for cluster in thin:
        members = [row for row, c in zip(rows, found.of_target, strict=True) if c == cluster]
        shown += [excerpt(row, found.names[cluster]) for row in members[:each]]
    return shown[:10]


def compared(train: Texts, target: Texts, seed: int) -> Shares:
    """Clusters of both together (n-grams in 64 dimensions, mini-batch k-means: Sculley 2010), counted apart."""
    import numpy as np
    from scipy.sparse import vstack
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    count = max(2, min(CLUSTERS, len(target.texts) // ROWS))
    with threadpool_limits(1):  # on matrices as small as these, threads that wait cost more than the work
        made = dense(weighted(vstack([train.counts, target.counts], format="csr")), seed)
        means = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=2048)
        labels = means.fit_predict(made)
    mine, theirs = labels[: len(train.texts)], labels[len(train.texts) :]
    named, target_counts = names([*train.texts, *target.texts], labels, count), np.bincount(theirs, minlength=count)
    parts = {"training": mine, **_by_source(train.sources, mine)}
    shares = [Shares(np.bincount(p, minlength=count), target_counts, named, theirs, name) for name, p in parts.items()]
    return min(shares, key=lambda one: one.distance)


def _by_source(sources: Sequence[str], labels: ndarray) -> dict[str, ndarray]:
    """The labels of each source's rows where there are several: replay is not about the target, and need not be."""
    import numpy as np

    places = np.array(sources)
    found = {str(source): labels[places == source] for source in np.unique(places)}
    return {source: own for source, own in found.items() if len(found) > 1 and len(own) >= FEWEST}


def null(found: Shares, seed: int) -> tuple[float, float]:
    """(95th percentile, chance): distances of random splits of the union, and how often one is as large.

    A permutation test: the clusters are held fixed, the rows' sides drawn (multivariate hypergeometric).
    """
    import numpy as np

    union = found.train + found.target
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(union, int(found.target.sum()), size=DRAWS)
    rest = union - drawn
    apart = abs(drawn / drawn.sum(axis=1, keepdims=True) - rest / rest.sum(axis=1, keepdims=True)).sum(axis=1) / 2
    chance = (1 + int((apart >= found.distance - 1e-12).sum())) / (1 + DRAWS)
    return float(np.quantile(apart, 0.95)), chance


def thin_clusters(found: Shares) -> list[int]:
    """Clusters of 2 % of the target or more with less than a quarter of that share in training, thinnest first."""
    target, train = found.target / found.target.sum(), found.train / found.train.sum()
    thin = [c for c in range(len(target)) if target[c] >= 0.02 and train[c] < THIN * target[c]]
    return sorted(thin, key=lambda c: (train[c] - target[c], c))


def names(texts: Sequence[str], labels: ndarray, count: int) -> list[str]:
    """For each cluster the three words that are most frequent in it beyond their frequency in all texts."""
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    words = CountVectorizer(binary=True, stop_words="english", max_features=5000, token_pattern=r"(?u)\b[^\W\d]{2,}\b")
    try:
        seen = words.fit_transform(texts)
    except ValueError:  # not one word in them
        return [f"cluster {c + 1}" for c in range(count)]
    terms = words.get_feature_names_out()
    everywhere = np.asarray(seen.mean(axis=0)).ravel()
    found = []
    for c in range(count):
        here = np.asarray(seen[labels == c].mean(axis=0)).ravel() if (labels == c).any() else everywhere
        top = (here * np.log((here + 1e-3) / (everywhere + 1e-3))).argsort(kind="stable")[::-1][:3]
        found.append(", ".join(terms[i] for i in top))
    return found
