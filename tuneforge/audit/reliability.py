"""Agreement beyond chance between annotators, for labels without an order.

Ratings are one sequence per item, with one label per annotator in a fixed order; None: that annotator said nothing.
All are 1 for agreement everywhere, 0 for what chance gives, and nan where every label is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Ratings = Sequence[Sequence[str | None]]


def cohen(ratings: Ratings) -> float:
    """Cohen's kappa (1960) of two annotators, over the items that both have labelled."""
    both = [(a, b) for a, b in ratings if a is not None and b is not None]
    observed = sum(a == b for a, b in both) / len(both)
    left, right = Counter(a for a, _ in both), Counter(b for _, b in both)
    expected = sum(left[label] * right[label] for label in left) / len(both) ** 2
    return _beyond(observed, expected)


def fleiss(ratings: Ratings) -> float:
    """Fleiss' kappa (1971) of equally many labels per item, whoever gave them."""
    counts = [Counter(label for label in item if label is not None) for item in ratings]
    n = sum(counts[0].values())
    if any(sum(item.values()) != n for item in counts):
        raise ValueError("Fleiss' kappa needs equally many labels of each item")
    observed = sum(sum(c * (c - 1) for c in item.values()) for item in counts) / (len(counts) * n * (n - 1))
    whole: Counter[str] = sum(counts, Counter())
    expected = sum((c / (len(counts) * n)) ** 2 for c in whole.values())
    return _beyond(observed, expected)


def krippendorff(ratings: Ratings) -> float:
    """Krippendorff's alpha (2011) for nominal data; labels may be missing, items with fewer than two do not count."""
    counts = [Counter(label for label in item if label is not None) for item in ratings]
    pairable = [item for item in counts if sum(item.values()) > 1]
    agreed = sum(c * (c - 1) / (sum(item.values()) - 1) for item in pairable for c in item.values())
    whole: Counter[str] = sum(pairable, Counter())
    n = sum(whole.values())
    return _beyond(agreed / n, sum(c * (c - 1) for c in whole.values()) / (n * (n - 1)))


def _beyond(observed: float, expected: float) -> float:
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")
