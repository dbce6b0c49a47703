"""What a check of the audit says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is: ok and info never refuse a run, warning and error do where `audit.fail_on` asks."""

    ok = "ok"
    info = "info"
    warning = "warning"
    error = "error"


@dataclass(frozen=True)
class Shown:
    """A row to look at."""

    place: str
    """`file:line` of the row."""
    text: str
    """What to see there."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check found, or that it looked and found nothing."""

    check: str
    severity: Severity
    text: str
    """One sentence with the figures."""
    count: int = 0
    """Rows that it concerns."""
    of: int = 0
    """Rows looked at."""
    action: str = ""
    """What to do about it, with the words to type where there are any."""
    rows: Sequence[Shown] = ()
    """Up to ten rows to look at."""
    places: Sequence[Mapping[str, str]] = ()
    """Every row that it concerns and where it stands, where a person may want to take them all out."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Figures by name, for machines."""
    bars: Sequence[tuple[str, float]] = ()
    """A distribution to plot: label and height, in order."""
