"""Numbers as people read them: .81 [.77,.84], +.41 [+.36,+.46]."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


def figure(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """`.81`, `1.27`, `+.41`, `-.03`, `73554` (no decimals from a thousand on); a dash for what is not a number."""
    if value is None or not math.isfinite(value):
        return "-"
    digits = 0 if abs(value) >= 1000 else digits
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    text = text.replace("-", "+" if sign else "") if float(text) == 0 else text
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text


def finite(value: float | None) -> float | None:
    """The number where it is one, as JSON holds it; None for NaN, an infinity and None."""
    return float(value) if value is not None and math.isfinite(value) else None


def digits_for(low: float | None, high: float | None) -> int:
    """Decimals that show an interval: two, or more where it is narrow (at most five)."""
    if low is None or high is None or not math.isfinite(high - low) or high <= low:
        return 2
    return min(max(2, math.ceil(-math.log10((high - low) / 2) - 1e-9)), 5)


def with_interval(value: float | None, low: float | None, high: float | None, sign: bool = False) -> str:
    """`.81 [.77,.84]`; only the value where there is no interval.

    A difference has as many decimals as it takes to see on which side of 0 its bounds lie: `-.0129 [-.0251,-.0007]`.
    """
    digits = digits_for(low, high)
    if sign:
        hidden = (abs(bound) for bound in (low, high) if bound is not None and 1e-5 <= abs(bound) < 0.5 * 10**-digits)
        digits = max([digits, *(digits_for(0, 2 * bound) for bound in hidden)])
    if low is None or high is None:
        return figure(value, digits, sign)
    return f"{figure(value, digits, sign)} [{figure(low, digits, sign)},{figure(high, digits, sign)}]"


def p_value(p: float) -> str:
    """`p .41`, `p .012`, `p .0004`, `p below .0001`."""
    if p < 0.0001:
        return "p below .0001"
    return f"p {figure(p, 2 if p >= 0.1 else 1 - math.floor(math.log10(p)))}"


def standing(verdict: Mapping[str, Any]) -> str:
    """What the deciding difference itself proves; the verdict may be worse for a budget, or the base."""
    decision, row = str(verdict.get("decision", "")), verdict.get("primary") or {}
    if decision != "worse" or row.get("value") is None:
        return decision
    better, worse = row["low"] is not None and row["low"] > 0, row["high"] is not None and row["high"] < 0
    if not row["higher_is_better"]:
        better, worse = worse, better
    return "better" if better else "worse" if worse else "not proven"


def rows_rounded(rows: float) -> str:
    """A number of rows to two significant digits, rounded up: 873.2 → `880`."""
    scale = 10 ** max(math.floor(math.log10(max(rows, 1))) - 1, 0)
    return f"{math.ceil(rows / scale) * scale:,}"


EARLIER = "earlier"
"""The variant that `gate.against=RUN` adds: the tuned model of another run."""


def in_order(variants: Iterable[str]) -> list[str]:
    """Variants as tables and plots show them: the base, what else was beaten or not, the tuned model last."""
    rank = {"base": 0, "prompted": 1, "tuned": 3}
    return sorted(dict.fromkeys(variants), key=lambda name: rank.get(name, 2))


def beaten(variants: Iterable[str]) -> str:
    """The variant that the tuned model is compared with first: an earlier run, the best prompt, a rule, or the base."""
    there = in_order(variants)
    others = [name for name in there if name not in ("tuned", "prompted", "base", EARLIER)]
    return next((name for name in (EARLIER, "prompted", *others, "base") if name in there), "")


def rival(verdict: Mapping[str, Any], role: str, variants: Iterable[str]) -> str:
    """Whom the tuned model is compared with on sets of a role: as the verdict was reached; forgetting from the base."""
    there = list(variants)
    wanted = (verdict.get("primary") or {}).get("versus") if role == "target" else "base"
    return str(wanted) if wanted in there else beaten(there)
