"""How many rows would settle a difference."""

from __future__ import annotations

MOST_ROWS = 100_000
"""More rows than this are not advised: the estimate then lies on the bound."""


def rows_needed(value: float, low: float, high: float, bound: float, n: int) -> float | None:
    """Rows at which the interval, narrowing with the square root of n, would end at the bound."""
    distance = abs(value - bound)
    half = value - low if value > bound else high - value
    if not distance or not half:
        return None
    needed = n * (half / distance) ** 2
    return needed if n < needed <= MOST_ROWS else None
