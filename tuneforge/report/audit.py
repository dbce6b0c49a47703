"""The audit's findings as the report shows them; the template draws them, so that all text is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge.report.files import RunFiles

SEVERITIES = {"error": "wrong", "warning": "look", "info": "unknown", "ok": "right"}
"""Severity, worst first: the state whose colours it wears."""
TALLEST = 24
"""Bars of a distribution that are drawn; how many more there are is said."""
WIDTH, STEP = 300, 20
"""Width of the longest bar, and what each takes in height, in SVG units."""
TYPED = re.compile(
    r"`[^`]+`|(?:tuneforge [^.;]*[^.;,\s]|'?[+~]?[a-z_]+(?:[.@/][\w@]+)*=(?:\[[^\]]*\]|[^\s,;]*[^\s,;.)])'?)"
)
"""Words to type: what stands in backquotes, a command, or `key=value`."""


@dataclass(frozen=True)
class Bar:
    """A bar, placed."""

    label: str
    y: int
    width: float
    text: str


@dataclass(frozen=True)
class Shown:
    """A finding as it is shown."""

    severity: str
    state: str
    check: str
    text: str
    count: int
    of: int
    action: Sequence[tuple[str, bool]]
    """What to do in stretches: text, and whether it is to be typed."""
    rows: Sequence[Mapping[str, Any]]
    bars: Sequence[Bar]
    height: int
    beyond: int
    """Bars that are not drawn."""
    numbers: Sequence[tuple[str, str]]


def findings(run: RunFiles) -> list[Shown]:
    """All findings, the worst first, otherwise in the order of the checks."""
    found = [one for one in run.audit.get("findings") or [] if isinstance(one, Mapping)]
    order = list(SEVERITIES)
    return sorted((_shown(one) for one in found), key=lambda one: order.index(one.severity))


def stretches(text: str) -> list[tuple[str, bool]]:
    """A text cut into what is read and what is typed."""
    found: list[tuple[str, bool]] = []
    end = 0
    for match in TYPED.finditer(text):
        found += [(text[end : match.start()], False), (match[0].strip("`"), True)]
        end = match.end()
    return [part for part in [*found, (text[end:], False)] if part[0]]


def _shown(one: Mapping[str, Any]) -> Shown:
    severity = str(one.get("severity"))
    severity = severity if severity in SEVERITIES else "info"
    heights = [(str(label), float(height)) for label, height in one.get("bars") or []]
    drawn = heights[:TALLEST]
    return Shown(
        severity=severity,
        state=SEVERITIES[severity],
        check=str(one.get("check")),
        text=str(one.get("text")),
        count=int(one.get("count") or 0),
        of=int(one.get("of") or 0),
        action=stretches(str(one.get("action") or "")),
        rows=one.get("rows") or [],
        bars=_bars(drawn),
        height=len(drawn) * STEP + 4,
        beyond=len(heights) - len(drawn),
        numbers=[(str(name), _figure(float(value))) for name, value in (one.get("numbers") or {}).items()],
    )


def _bars(heights: Sequence[tuple[str, float]]) -> list[Bar]:
    top = max((height for _, height in heights), default=0.0)
    return [
        Bar(label[:30], number * STEP, round(WIDTH * height / top, 1) if top > 0 else 0.0, _figure(height))
        for number, (label, height) in enumerate(heights)
    ]


def _figure(value: float) -> str:
    """Whole numbers as such, others with three digits that count."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"
