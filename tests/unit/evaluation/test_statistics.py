"""Intervals against published numbers and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tuneforge.evaluation import statistics as ours

RNG = np.random.default_rng(0)


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def mean(stats: dict[str, ours.Floats]) -> float:
    return float(stats["x"].mean())


@pytest.mark.parametrize(("k", "n"), [(0, 200), (1, 10), (7, 20), (81, 263), (200, 200)])
def test_wilson_equals_scipy(k: int, n: int) -> None:
    expected = scipy_stats.binomtest(k, n).proportion_ci(method="wilson")
    assert ours.wilson(k, n) == pytest.approx((k / n, expected.low, expected.high), abs=1e-12)


def test_wilson_at_nothing_of_200_is_not_degenerate() -> None:
    assert ours.wilson(0, 200).high == pytest.approx(0.019, abs=5e-4)


def test_newcombe_equals_the_published_example() -> None:
    # Complete response before and after consolidation, Cavo et al. 2012, in Fagerland, Lydersen and Laake,
    # Statistical Analysis of Contingency Tables (2017), table 8.3: -0.062, 95 % from -0.119 to -0.005.
    assert ours.newcombe(59, 6, 16, 80) == pytest.approx((-0.0621, -0.1186, -0.0046), abs=5e-5)


def test_newcombe_is_antisymmetric_and_stays_in_range() -> None:
    there, back = ours.newcombe(3, 9, 1, 2), ours.newcombe(3, 1, 9, 2)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    extreme = ours.newcombe(0, 5, 0, 0)
    assert extreme.value == 1
    assert extreme.low < 1 == extreme.high


def test_equal_answers_are_never_a_proven_difference() -> None:
    right = RNG.integers(0, 2, 50).astype(float)
    found = ours.proportion_difference(right, right, alone(50))
    assert found.low < 0 == found.value < found.high
    assert ours.bootstrap({"x": right}, mean, alone(50), 0, {"x": right}) == (0, 0, 0)


def test_one_row_proves_nothing() -> None:
    one, zero = np.ones(1), np.zeros(1)
    assert ours.proportion_difference(one, zero, ["a"]).low < 0
    assert math.isnan(ours.bootstrap({"x": one}, mean, ["a"], 0, {"x": zero}).low)


def test_paired_bootstrap_agrees_with_scipy() -> None:
    a, b = RNG.normal(1, 1, 400), RNG.normal(0.8, 2, 400)
    found = ours.bootstrap({"x": a}, mean, alone(400), 1, {"x": b}, samples=9999)
    expected = scipy_stats.bootstrap(
        (a, b), lambda x, y, axis: (x - y).mean(axis=axis), paired=True, method="percentile", rng=1
    ).confidence_interval
    assert found[1:] == pytest.approx((expected.low, expected.high), abs=0.012)


def test_a_ratio_is_drawn_with_its_rows() -> None:
    # Every row has the same ratio: however rows are drawn, sums give it exactly.
    size = RNG.uniform(1, 100, 60)
    stats = {"nats": 0.5 * size, "bytes": size}
    found = ours.bootstrap(stats, lambda s: float(s["nats"].sum() / s["bytes"].sum()), alone(60), 0)
    assert found == pytest.approx((0.5, 0.5, 0.5))


def test_seeded() -> None:
    x = {"x": RNG.normal(size=50)}
    assert ours.bootstrap(x, mean, alone(50), 3) == ours.bootstrap(x, mean, alone(50), 3)
    assert ours.bootstrap(x, mean, alone(50), 3) != ours.bootstrap(x, mean, alone(50), 4)


def test_copies_in_one_group_do_not_narrow_an_interval() -> None:
    x = RNG.normal(size=40)
    copied, groups = np.repeat(x, 10), [g for g in alone(40) for _ in range(10)]
    lone = ours.bootstrap({"x": x}, mean, alone(40), 0)
    assert ours.bootstrap({"x": copied}, mean, groups, 0) == pytest.approx(lone, abs=0.04)
    right = (x > 0).astype(float)
    # 40 groups estimate their variance: n / (n - 1), and the quantile of t (2.0227) in place of z (1.9600).
    wider = math.sqrt(40 / 39) * scipy_stats.t.ppf(0.975, 39) / scipy_stats.norm.ppf(0.975)
    once, copies = ours.proportion(right, alone(40)), ours.proportion(np.repeat(right, 10), groups)
    assert copies.high - copies.low == pytest.approx((once.high - once.low) * wider, rel=0.01)
    first, second = right, np.roll(right, 1)
    copies = ours.proportion_difference(np.repeat(first, 10), np.repeat(second, 10), groups)
    once = ours.proportion_difference(first, second, alone(40))
    assert copies.high - copies.low == pytest.approx((once.high - once.low) * wider, rel=0.02)


def test_few_rows_get_students_t() -> None:
    x = np.array([1.0, 2.0, 4.0, 7.0])
    found = ours.bootstrap({"x": x}, mean, alone(4), 0)
    expected = scipy_stats.t.interval(0.95, 3, x.mean(), scipy_stats.sem(x))
    assert found[1:] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("n", [10, 12, 50])
def test_percentiles_are_widened_as_students_t(n: int) -> None:
    expected = scipy_stats.norm.sf(math.sqrt(n / (n - 1)) * scipy_stats.t.ppf(0.975, n - 1))
    assert ours._expanded_tail(n) == pytest.approx(expected, rel=0.02)


def test_ties_count_half() -> None:
    halves = np.full(30, 0.5)
    assert ours.proportion(halves, alone(30)).value == 0.5
    found = ours.proportion_difference(halves, np.zeros(30), alone(30))
    assert found.value == 0.5
    assert found.low > 0


def test_students_quantiles_equal_scipys() -> None:
    found = [ours.student(degrees) for degrees in (1, 2, 9, 10, 19, 300)]
    assert found == pytest.approx(scipy_stats.t.ppf(0.975, [1, 2, 9, 10, 19, 300]), abs=4e-4)
    assert ours.student(4) < ours.student(3.5) < ours.student(3)


@pytest.mark.parametrize(("groups", "within"), [(12, 0.5), (20, 0.1), (60, 0.5)])
def test_shares_of_grouped_rows_are_covered(groups: int, within: float) -> None:
    rng, inside = np.random.default_rng(1), []
    for _ in range(600):
        share = rng.uniform(0.2, 0.8)
        # Beta-binomial rows: `within` is the correlation of two rows of one group.
        own = rng.beta(share * (1 / within - 1), (1 - share) * (1 / within - 1), groups)
        names = np.repeat(np.arange(groups), rng.integers(1, 10, groups))
        found = ours.proportion((rng.random(len(names)) < own[names]).astype(float), [str(i) for i in names])
        inside.append(found.low <= share <= found.high)
    assert 0.93 <= np.mean(inside) <= 0.975
