"""Labels that the rest of the data contradicts: confident learning (Northcutt et al. 2021, arXiv:1911.00068)."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneforge.audit.excerpt import excerpt
from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.labels import Labelled, labelled
from tuneforge.audit.subject import Subject

if TYPE_CHECKING:
    from numpy import ndarray

FOLDS = 3

EXACT = 10
"""Most classes for which the classifier is fitted to its end."""

SMALLEST = 5
"""Rows below which a class is left out."""

FEWEST = 100
"""Rows below which nothing can be said."""

SKILL = 0.4
"""Least share of the errors of the most frequent class that the classifier has to avoid for its word to count."""

MANY = 0.03
"""Share of doubtful labels from which they are warned of."""


@dataclass(frozen=True)
class Doubt:
    """What confident learning says of labels."""

    doubtful: ndarray
    """(n,) bool."""
    better: ndarray
    """(n,) int: the class that is likely instead."""
    margin: ndarray
    """(n,) float64: probability of that class less that of the label."""
    share: float
    """Estimated share of wrong labels, from the confident joint."""


def check(subject: Subject) -> Iterable[Finding]:
    """Doubtful labels of the sample; nothing where classes cannot be told from words."""
    rows, small = _large_classes(labelled(subject.sample))
    names = sorted({one.label for one in rows})
    if len(rows) < FEWEST or len(names) < 2:
        yield _quiet("labels are not judged: fewer than two classes, or fewer than 100 rows of them", len(rows))
        return
    given = [names.index(one.label) for one in rows]
    probable = cross_validated([one.text for one in rows], given, subject.run.seed)
    skill = _skill(probable, given)
    if skill < SKILL:
        text = f"labels are not judged: words alone tell the {len(names)} classes too badly ({skill:.0%} of the errors "
        yield _quiet(f"{text}of always saying the most frequent one are avoided, {SKILL:.0%} are needed)", len(rows))
        return
    yield _finding(rows, names, confident(probable, given), skill, small)


def _quiet(text: str, of: int) -> Finding:
    return Finding(check="label_noise", severity=Severity.ok, text=text, of=of)


def _large_classes(rows: Sequence[Labelled]) -> tuple[list[Labelled], int]:
    """Rows of classes that are large enough, and how many are not."""
    count = Counter(one.label for one in rows)
    kept = [one for one in rows if count[one.label] >= SMALLEST]
    return kept, len(rows) - len(kept)


def _finding(rows: Sequence[Labelled], names: Sequence[str], doubt: Doubt, skill: float, small: int) -> Finding:
    order = sorted((i for i in range(len(rows)) if doubt.doubtful[i]), key=lambda i: (-doubt.margin[i], i))
    share = len(order) / len(rows)
    pairs = Counter((rows[i].label, names[doubt.better[i]]) for i in order)
    left = f"; {small:,} rows of classes with fewer than {SMALLEST} rows are left out" if small else ""
    said = [(i, f"'{rows[i].label}', rather '{names[doubt.better[i]]}'") for i in order[:10]]
    return Finding(
        check="label_noise",
        severity=Severity.warning if share >= MANY else Severity.info if order else Severity.ok,
        text=f"{len(order):,} of {len(rows):,} labels ({share:.1%}) are confidently contradicted by the rest "
        f"(cross-validated, {skill:.0%} of the errors of the most frequent class avoided{left})",
        count=len(order),
        of=len(rows),
        action="read these rows, the most doubtful first: mend the label, or move a border between classes that people "
        "draw differently; data/audit.json names all of them" if order else "",
        rows=[excerpt(rows[i].row, text) for i, text in said],
        places=[
            {"place": rows[i].row.place, "label": rows[i].label, "rather": names[doubt.better[i]]} for i in order
        ],
        numbers={"doubtful": share, "estimated": doubt.share, "skill": skill},
        bars=[(f"{given} → {better}", float(count)) for (given, better), count in pairs.most_common(10)],
    )  # fmt: skip


def _skill(probable: ndarray, given: Sequence[int]) -> float:
    """Share of the errors of always saying the most frequent class that the classifier avoids."""
    import numpy as np

    labels = np.asarray(given)
    most = float(np.bincount(labels).max() / len(labels))
    right = float((probable.argmax(axis=1) == labels).mean())
    return (right - most) / (1 - most)


def cross_validated(texts: Sequence[str], given: Sequence[int], seed: int) -> ndarray:
    """(n, classes) float64: probabilities of classes that no fold learned from its own rows.

    Logistic regression on TF-IDF of words, pairs of words and groups of three and four characters; of many classes one
    against the others by stochastic gradient descent, which is far faster there and finds as much.
    """
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    model: Any = LogisticRegression(C=5, max_iter=60, tol=1e-3)
    if max(given) >= EXACT:
        model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=4, tol=None, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        found: ndarray = cross_val_predict(model, _features(texts), given, cv=folds, method="predict_proba")
    return found


def _features(texts: Sequence[str]) -> Any:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=30_000, token_pattern=r"(?u)\b\w+\b")
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True, max_features=20_000)
    return hstack([words.fit_transform(texts), characters.fit_transform(texts)]).tocsr()


def confident(probable: ndarray, given: Sequence[int]) -> Doubt:
    """Labels pruned by class and by noise rate both (section 3.2 of the paper, `both`).

    A row counts as confidently of a class where its probability is at least the mean of the rows that bear that label
    (equation 2); the counts of label against confident class, scaled to the labels' sizes, are the confident joint.
    """
    import numpy as np

    labels = np.asarray(given)
    n, k = probable.shape
    every = np.arange(n)
    means = np.array([probable[labels == j, j].mean() for j in range(k)])
    sure = np.where(probable >= means, probable, -1.0)
    known = sure.max(axis=1) >= 0
    joint = np.zeros((k, k))
    np.add.at(joint, (labels[known], sure.argmax(axis=1)[known]), 1)
    joint[np.arange(k), np.arange(k)] += joint.sum(axis=1) == 0
    joint *= (np.bincount(labels, minlength=k) / joint.sum(axis=1))[:, None]
    other = probable.copy()
    other[every, labels] = -1
    better, own = other.argmax(axis=1), probable[every, labels]
    doubtful = _by_class(joint, labels, own) & _by_noise_rate(joint, labels, probable, own)
    return Doubt(doubtful, better, other.max(axis=1) - own, float(1 - np.trace(joint) / n))


def _by_class(joint: ndarray, labels: ndarray, own: ndarray) -> ndarray:
    """Of each class as many rows as are wrong in it, those with the least probability of their label."""
    import numpy as np

    doubtful = np.zeros(len(labels), dtype=bool)
    for i in range(len(joint)):
        members = np.flatnonzero(labels == i)
        wrong = round(float(joint[i].sum() - joint[i, i]))
        doubtful[members[np.argsort(own[members], kind="stable")[:wrong]]] = True
    return doubtful


def _by_noise_rate(joint: ndarray, labels: ndarray, probable: ndarray, own: ndarray) -> ndarray:
    """Of each pair of classes as many rows as were taken for each other, those with the largest margin."""
    import numpy as np

    doubtful = np.zeros(len(labels), dtype=bool)
    for i, j in zip(*np.nonzero(joint.round()), strict=True):
        if i != j:
            members = np.flatnonzero(labels == i)
            margin = own[members] - probable[members, j]
            doubtful[members[np.argsort(margin, kind="stable")[: int(joint[i, j].round())]]] = True
    return doubtful
