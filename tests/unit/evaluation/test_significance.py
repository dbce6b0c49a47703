"""p-values against scipy and statsmodels, and on differences that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tuneforge.evaluation import significance as ours
from tuneforge.evaluation.statistics import Floats, Interval, jackknife, newcombe, proportion_difference


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def mean(stats: dict[str, Floats]) -> Floats:
    return stats["x"].mean(keepdims=True)


def swap(a: Floats, b: Floats, groups: list[str]) -> float:
    return ours.swaps({"x": a}, {"x": b}, mean, groups, 0)[0]


@pytest.mark.parametrize(("up", "down", "same"), [(6, 16, 139), (1, 9, 3), (0, 5, 0), (8, 8, 20), (0, 0, 9)])
def test_outcomes_of_0_and_1_get_mcnemars_exact_test(up: int, down: int, same: int) -> None:
    differences = np.array([1.0] * up + [-1.0] * down + [0.0] * same)
    expected = scipy_stats.binomtest(up, up + down).pvalue if up + down else 1.0
    assert ours.sign_flip(differences, alone(len(differences)), 0) == pytest.approx(expected)


def test_few_groups_are_flipped_in_every_way_as_scipy_does() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.4, 1, 11), rng.normal(0, 1, 11)
    test = scipy_stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", vectorized=True
    )
    assert ours.sign_flip(a - b, alone(11), 0) == pytest.approx(test.pvalue, abs=1e-12)
    exact = swap(a[:10], b[:10], alone(10))
    assert exact == pytest.approx(ours.sign_flip(a[:10] - b[:10], alone(10), 0), abs=1e-12)


def test_many_groups_are_drawn_and_agree_with_scipy() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.15, 1, 150), rng.normal(0, 1, 150)
    test = scipy_stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=9999, rng=3,
    )  # fmt: skip
    assert ours.sign_flip(a - b, alone(150), 0) == pytest.approx(test.pvalue, abs=0.015)
    assert swap(a, b, alone(150)) == pytest.approx(test.pvalue, abs=0.03)
    assert ours.sign_flip(a - b, alone(150), 0) == ours.sign_flip(a - b, alone(150), 0)
    assert ours.sign_flip(a + 9, alone(150), 0) == 1 / (ours.FLIPS + 1)


def test_rows_of_a_group_are_one_observation() -> None:
    rng = np.random.default_rng(3)
    differences = rng.normal(0.5, 1, 12)
    copied, groups = np.repeat(differences, 10), [g for g in alone(12) for _ in range(10)]
    assert ours.sign_flip(copied, groups, 0) == pytest.approx(ours.sign_flip(differences, alone(12), 0))
    assert ours.sign_flip(np.ones(40), ["one"] * 40, 0) == 1.0


def test_what_proves_nothing_and_what_is_no_number() -> None:
    assert ours.sign_flip(np.ones(1), ["a"], 0) == 1.0
    assert ours.sign_flip(np.zeros(40), alone(40), 0) == 1.0
    assert swap(np.ones(30), np.ones(30), alone(30)) == 1.0
    assert math.isnan(ours.sign_flip(np.array([1.0, math.nan]), alone(2), 0))
    assert math.isnan(ours.sign_flip(np.zeros(0), [], 0))
    assert math.isnan(swap(np.array([math.nan]), np.ones(1), ["a"]))


@pytest.mark.parametrize("kind", ["continuous", "grouped", "swapped"])
def test_p_values_are_uniform_where_there_is_no_difference(kind: str) -> None:
    rng, found = np.random.default_rng(4), []
    n, groups = (40, alone(40)) if kind != "grouped" else (120, [str(i // 3) for i in range(120)])
    for seed in range(300 if kind != "swapped" else 40):
        hard = np.repeat(rng.exponential(1, n // 3), 3) if kind == "grouped" else rng.exponential(1, n)
        a, b = (hard * rng.lognormal(0, 0.5, n) for _ in range(2))
        if kind == "swapped":
            found += ours.swaps({"x": a, "size": hard}, {"x": b, "size": hard}, ratio, groups, seed)
        else:
            found.append(ours.sign_flip(a - b, groups, seed))
    assert scipy_stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.1


def ratio(stats: dict[str, Floats]) -> Floats:
    return stats["x"].sum(keepdims=True) / stats["size"].sum()


def test_p_values_of_0_and_1_are_never_too_small() -> None:
    rng, n = np.random.default_rng(5), 60
    found = [
        ours.sign_flip((rng.random(n) < 0.5).astype(float) - (rng.random(n) < 0.5), alone(n), 0) for _ in range(1000)
    ]
    assert np.mean(np.array(found) <= 0.05) <= 0.05


def test_holm_equals_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    for values in ([0.01, 0.04, 0.03, 0.005], [0.5], [0.2, 0.2, 0.9, 1.0, 0.001, 0.001], []):
        expected = multitest.multipletests(values, method="holm")[1] if values else []
        assert ours.holm(values) == pytest.approx(list(expected))


def test_the_detectable_difference_is_found_four_times_of_five() -> None:
    # Differences of a mean with a known spread: z(.975) + z(.80) standard errors.
    assert ours.detectable(Interval(0, -1.959964, 1.959964)) == pytest.approx(2.801585, abs=1e-5)
    assert math.isnan(ours.detectable(Interval(0, 0, 0)))
    assert math.isnan(ours.detectable(Interval(1, math.nan, math.nan)))
    rng, n, groups = np.random.default_rng(6), 300, alone(300)
    # Each row changes for the better with .1 and for the worse with .1: what can such rows show?
    null = [proportion_difference(*pair(rng, n, 0.1, 0.1), groups) for _ in range(50)]
    able = float(np.mean([ours.detectable(i) for i in null]))
    found = [proportion_difference(*pair(rng, n, 0.1 + able / 2, 0.1 - able / 2), groups).low > 0 for _ in range(600)]
    assert 0.75 < np.mean(found) < 0.85


def pair(rng: np.random.Generator, n: int, up: float, down: float) -> tuple[Floats, Floats]:
    """Outcomes of two variants: the first alone is right with `up`, the second alone with `down`."""
    u = rng.random(n)
    both = (u > 0.5).astype(float)
    return np.where(u < up, 1.0, both), np.where((u >= up) & (u < up + down), 1.0, both)


def test_a_detectable_share_is_known_even_where_no_row_differs() -> None:
    assert 0 < ours.detectable(newcombe(100, 0, 0, 100)) < 0.1


def test_an_interval_reaches_0_where_chance_is_not_excluded() -> None:
    assert ours.reaching(Interval(1, 0.2, 2), 0.06) == (1, 0, 2)
    assert ours.reaching(Interval(-1, -2, -0.2), 0.06) == (-1, -2, 0)
    assert ours.reaching(Interval(1, 0.2, 2), 0.05) == (1, 0.2, 2)
    assert ours.reaching(Interval(1, -0.2, 2), 0.5) == (1, -0.2, 2)
    assert math.isnan(ours.reaching(Interval(1, math.nan, math.nan), 1.0).low)


def test_models_that_are_alike_are_rarely_called_better_whatever_the_tails() -> None:
    n = 20
    rng, better, raw = np.random.default_rng(n), 0, 0
    for seed in range(400):
        a, b = (rng.lognormal(0, 1, n) * rng.lognormal(0, 1, n) for _ in range(2))
        found = jackknife({"x": a}, lambda s: float(s["x"].mean()), alone(n), versus={"x": b})
        raw += found.low > 0
        better += ours.reaching(found, ours.sign_flip(a - b, alone(n), seed)).low > 0
    assert better <= raw
    assert better / 400 <= 0.04
