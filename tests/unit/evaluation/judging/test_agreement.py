"""Agreement against scikit-learn, statsmodels and the worked examples of the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tuneforge.evaluation.judging.agreement import cohen, fleiss, krippendorff

NAN = math.nan
# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: four observers, twelve units.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
# Example A of the same: two observers, ten binary units.
BINARY = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], dtype=float)
# Fleiss (1971) as on Wikipedia: fourteen raters, ten subjects, votes per category.
VOTES = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def test_alpha_of_the_published_examples() -> None:
    assert krippendorff(OBSERVERS) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff(OBSERVERS, interval=True) == pytest.approx(0.849, abs=5e-4)
    assert krippendorff(BINARY) == pytest.approx(0.095, abs=5e-4)


def test_fleiss_of_the_published_example_and_of_statsmodels() -> None:
    theirs = pytest.importorskip("statsmodels.stats.inter_rater").fleiss_kappa
    judged = np.array([np.repeat(np.arange(5), row) for row in VOTES], dtype=float).T
    assert fleiss(judged) == pytest.approx(0.210, abs=5e-4)
    assert fleiss(judged) == pytest.approx(theirs(np.array(VOTES)), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_cohen_is_that_of_scikit_learn(seed: int) -> None:
    from sklearn.metrics import cohen_kappa_score

    drawn = np.random.default_rng(seed)
    first = drawn.integers(0, 3, 50) / 2
    second = np.where(drawn.random(50) < 0.6, first, drawn.integers(0, 3, 50) / 2)
    assert cohen(first, second) == pytest.approx(cohen_kappa_score(2 * first, 2 * second), abs=1e-9)
    judged = [*first, NAN, 1.0], [*second, 0.5, NAN]
    assert cohen(*map(np.array, judged)) == pytest.approx(cohen(first, second), abs=1e-12)


def test_what_tells_nothing_is_no_number() -> None:
    nobody, alike = np.full((2, 3), NAN), np.ones((2, 3))
    alone = np.array([[1.0, 0.0, NAN], [NAN, NAN, 1.0]])
    for judged in (nobody, alike, alone):
        assert math.isnan(krippendorff(judged))
        assert math.isnan(fleiss(judged))
        assert math.isnan(cohen(*judged))
    perfect = np.array([[1.0, 0.0, 0.5], [1.0, 0.0, 0.5]])
    assert (krippendorff(perfect), fleiss(perfect), cohen(*perfect)) == (1.0, 1.0, 1.0)
