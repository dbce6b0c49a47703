"""What the interval of one difference proves."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

MetricRow = Mapping[str, Any]
"""A row of metrics.json."""


class Decision(StrEnum):
    """What is proved about the tuned model."""

    better = "better"
    not_proven = "not proven"
    worse = "worse"


def turned(row: MetricRow) -> tuple[float | None, float | None, float | None]:
    """Value and bounds, turned so that more is better."""
    value, low, high = row["value"], row["low"], row["high"]
    if row["higher_is_better"]:
        return value, low, high
    return tuple(None if x is None else -x for x in (value, high, low))  # type: ignore[return-value]


def proved(row: MetricRow, min_gain: float) -> Decision:
    """What the interval of one difference says."""
    gain, low, high = turned(row)
    if high is not None and high < 0:
        return Decision.worse
    more = low is not None and gain is not None and low > min_gain and gain > 0
    return Decision.better if more else Decision.not_proven
