"""Agreement between annotators, held against scikit-learn, a direct definition and published examples."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

import pytest
from sklearn.metrics import cohen_kappa_score

from tuneforge.audit.reliability import cohen, fleiss, krippendorff

KRIPPENDORFF = [
    "1 2 3 3 2 1 4 1 2 - - -",
    "1 2 3 3 2 2 4 1 2 5 - 3",
    "- 3 3 3 2 3 4 2 2 5 1 -",
    "1 2 3 3 2 4 4 1 2 5 1 -",
]
"""Section C of Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): four observers, twelve units."""

FLEISS = [
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
]
"""Ten subjects, fourteen raters, five categories; the example of Fleiss' kappa on Wikipedia: .210."""


def test_cohen_is_scikit_learns() -> None:
    rng = random.Random(0)
    left = [rng.choice("abc") for _ in range(200)]
    right = [label if rng.random() < 0.6 else rng.choice("abcd") for label in left]
    assert cohen(list(zip(left, right, strict=True))) == pytest.approx(cohen_kappa_score(left, right))
    assert cohen([*zip(left, right, strict=True), ("a", None)]) == pytest.approx(cohen_kappa_score(left, right))


def test_fleiss_published_example() -> None:
    ratings = [[str(c) for c, count in enumerate(row) for _ in range(count)] for row in FLEISS]
    assert fleiss(ratings) == pytest.approx(0.210, abs=0.0005)
    with pytest.raises(ValueError, match="equally many"):
        fleiss([["a", "b"], ["a"]])


def test_krippendorff_published_example() -> None:
    observers = [line.split() for line in KRIPPENDORFF]
    ratings = [[None if label == "-" else label for label in unit] for unit in zip(*observers, strict=True)]
    assert krippendorff(ratings) == pytest.approx(0.743, abs=0.0005)


def by_definition(ratings: Sequence[Sequence[str | None]]) -> float:
    """1 - observed / expected disagreement, over all ordered pairs of labels."""
    units = [[label for label in unit if label is not None] for unit in ratings]
    units = [unit for unit in units if len(unit) > 1]
    values = [label for unit in units for label in unit]
    within = sum(sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units) / len(
        values
    )
    across = sum(a != b for a, b in itertools.permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - within / across


@pytest.mark.parametrize("seed", range(5))
def test_krippendorff_by_its_definition(seed: int) -> None:
    rng = random.Random(seed)
    ratings = [[rng.choice(["a", "a", "b", "c", None]) for _ in range(4)] for _ in range(40)]
    assert krippendorff(ratings) == pytest.approx(by_definition(ratings))


def test_ends() -> None:
    same = [("a", "a"), ("b", "b")]
    assert cohen(same) == fleiss(same) == krippendorff(same) == 1
    assert math.isnan(krippendorff([("a", "a"), ("a", "a")]))
