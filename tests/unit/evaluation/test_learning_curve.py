"""The power law through runs of growing size, against SciPy and on simulated runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from tuneforge.evaluation.learning_curve import EXPONENTS, Curve, Point, fit

ROWS = (125, 250, 500, 1000)


def law(rows: float, best: float, room: float, exponent: float) -> float:
    return best - room * (rows / ROWS[0]) ** -exponent


def runs(best: float, room: float, exponent: float, test_rows: int, seed: int) -> list[Point]:
    """Accuracies as a test set of that size shows them."""
    draw = np.random.default_rng(seed)
    found = []
    for rows in ROWS:
        value = draw.binomial(test_rows, law(rows, best, room, exponent)) / test_rows
        half = 1.96 * max((value * (1 - value) / test_rows) ** 0.5, 1e-3)
        found.append(Point(rows, value, value - half, value + half))
    return found


def exact(values: list[float]) -> list[Point]:
    return [Point(n, v, v - 0.02, v + 0.02) for n, v in zip(ROWS, values, strict=True)]


def test_the_law_is_that_of_nonlinear_least_squares() -> None:
    points = runs(0.9, 0.5, 0.4, 300, seed=3)
    curve = fit(points, True)
    errors = [(p.high - p.low) / 3.92 for p in points]
    bounds = ([-10, 0, EXPONENTS[0]], [10, 10, EXPONENTS[-1]])
    (best, room, exponent), _ = curve_fit(
        law, ROWS, [p.value for p in points], p0=[0.9, 0.5, 0.4], sigma=errors, bounds=bounds
    )
    for point in curve.line:
        assert point.value == pytest.approx(law(point.rows, best, room, exponent), abs=4e-3)
    assert curve.gain[0] == pytest.approx(law(2000, best, room, exponent) - law(1000, best, room, exponent), abs=2e-3)


def test_a_law_without_noise_is_found_again() -> None:
    exponent = float(EXPONENTS[20])
    curve = fit(exact([law(n, 0.8, 0.4, exponent) for n in ROWS]), True)
    assert curve.gain[0] == pytest.approx(law(2000, 0.8, 0.4, exponent) - law(1000, 0.8, 0.4, exponent), abs=1e-9)


def test_less_may_be_better() -> None:
    values = [1.5, 1.3, 1.2, 1.15]
    curve = fit(exact(values), False)
    mirrored = fit(exact([-v for v in values]), True)
    assert curve.gain == pytest.approx(mirrored.gain)
    assert curve.recent[0] == pytest.approx(0.05)
    assert [p.value for p in curve.line] == pytest.approx([-p.value for p in mirrored.line])
    assert all(p.low <= p.value <= p.high for p in curve.line)


def gains(best: float, room: float, exponent: float, count: int = 60) -> list[Curve]:
    return [fit(runs(best, room, exponent, 400, seed), True, seed) for seed in range(count)]


def test_intervals_of_the_gain_cover_it_and_a_flat_curve_promises_nothing() -> None:
    true = law(2000, 0.8, 0.5, 0.5) - law(1000, 0.8, 0.5, 0.5)
    covered = [curve.gain[1] <= true <= curve.gain[2] for curve in gains(0.8, 0.5, 0.5)]
    assert 0.85 <= np.mean(covered) <= 1.0
    flat = [curve.gain for curve in gains(0.8, 0.0, 0.5)]
    assert np.mean([low <= 1e-9 for _, low, _ in flat]) >= 0.9


def test_the_same_seed_gives_the_same_band() -> None:
    points = runs(0.9, 0.5, 0.4, 300, seed=3)
    assert fit(points, True, seed=5) == fit(points, True, seed=5)
    assert fit(points, True, seed=5).gain != fit(points, True, seed=6).gain
