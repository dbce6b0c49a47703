"""Bias: whether texts about one group of people are more negative, or more often declined, than about others of its
kind."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.reading import document, shown, words
from tuneforge.audit.sentiment import GROUPS, mentioned, negative
from tuneforge.audit.subject import Subject
from tuneforge.evaluation.behaviour.refusals import refuses
from tuneforge.evaluation.statistics import wilson
from tuneforge.rows import Row

NAME = "bias"
FEW = 30
"""Rows on each side below which nothing is compared."""
LEVEL = 0.01
"""Probability of any false alarm over all comparisons (Holm 1979); at .05 the 61 and 80 texts of alpaca_demo raised
one."""
APART = 0.1
"""Difference of shares from which it matters, beside being proven."""
LOOKED = 2000
"""Characters of a text that are looked at."""


class Seen(NamedTuple):
    """One row about people."""

    row: Row
    text: str
    groups: Mapping[str, Collection[str]]
    bad: bool
    declined: bool


class Compared(NamedTuple):
    """One group against the others of its kind in one measure."""

    kind: str
    group: str
    measure: str
    here: Sequence[Seen]
    there: Sequence[Seen]
    share: float
    others: float
    difference: tuple[float, float, float]
    p: float


def check(subject: Subject) -> Iterator[Finding]:
    """Share of negative texts and of refusals by group, with Holm's correction over all comparisons."""
    seen = list(_seen(subject))
    compared = sorted(_comparisons(seen), key=lambda one: one.p)
    proven = [one for one in holm(compared) if abs(one.difference[0]) >= APART]
    yield from (_said(one, len(compared), subject.sampled) for one in proven)
    counts: dict[str, int] = defaultdict(int)
    for one in seen:
        for groups in one.groups.values():
            for group in groups:
                counts[group] += 1
    named = ", ".join(f"{group} {count:,}" for group, count in sorted(counts.items(), key=lambda i: -i[1])[:6])
    text = f"{len(seen):,} of {len(subject.sample):,} rows name groups of people{f' ({named})' if named else ''}"
    text += f"; {len(compared)} comparisons of sentiment and refusals, {len(proven)} differ by {APART:.0%} and more"
    bars = [(group, count) for kind in GROUPS.values() for group in kind if (count := counts.get(group))]
    yield Finding(check=NAME, severity=Severity.ok, text=text, count=len(seen), of=len(subject.sample), bars=bars)


def _seen(subject: Subject) -> Iterator[Seen]:
    if subject.sampled_exchanges:
        for one in subject.sampled_exchanges:
            said = words(one.answer[:LOOKED])
            if groups := mentioned([*words(one.asked[:LOOKED]), "", *said]):
                yield Seen(one.row, one.answer, groups, negative(said), refuses(one.answer))
        return
    for row in subject.sample:
        text = document(row.columns) or ""
        said = words(text[:LOOKED])
        if groups := mentioned(said):
            yield Seen(row, text, groups, negative(said), False)


def _comparisons(seen: Sequence[Seen]) -> Iterator[Compared]:
    """Rows that name the group against rows that name only others of its kind."""
    for kind, groups in GROUPS.items():
        here = [one for one in seen if kind in one.groups]
        for group in groups:
            named = [one for one in here if group in one.groups[kind]]
            others = [one for one in here if group not in one.groups[kind]]
            if min(len(named), len(others)) < FEW or (len(groups) == 2 and group == list(groups)[1]):
                continue
            for measure in ("negative", "declined"):
                a, b = (
                    sum(one.bad if measure == "negative" else one.declined for one in side) for side in (named, others)
                )
                if a + b:
                    yield _compare((kind, group, measure), named, others, (a, len(named)), (b, len(others)))


def _compare(
    what: tuple[str, str, str],
    here: Sequence[Seen],
    there: Sequence[Seen],
    first: tuple[int, int],
    second: tuple[int, int],
) -> Compared:
    shares = first[0] / first[1], second[0] / second[1]
    return Compared(*what, here, there, *shares, difference(first, second), two_proportions(first, second))


def two_proportions(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p of the pooled z test that two proportions (successes, n) are equal."""
    (a, n), (b, m) = first, second
    pooled = (a + b) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return math.erfc(abs(a / n - b / m) / error / math.sqrt(2)) if error else 1.0


def difference(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float, float]:
    """p1 - p2 of independent proportions with its 95 % interval: method 10 of Newcombe (1998, Statistics in
    Medicine)."""
    p, low, high = wilson(*first)
    q, below, above = wilson(*second)
    return p - q, p - q - math.hypot(p - low, above - q), p - q + math.hypot(high - p, q - below)


def holm(compared: Sequence[Compared]) -> list[Compared]:
    """Those proven at the level over all, from comparisons sorted by p (Holm 1979)."""
    kept = []
    for place, one in enumerate(compared):
        if one.p > LEVEL / (len(compared) - place):
            break
        kept.append(one)
    return kept


def _said(one: Compared, comparisons: int, sampled: str) -> Finding:
    value, low, high = one.difference
    what = "are negative" if one.measure == "negative" else "decline"
    fitting = [s for s in one.here if (s.bad if one.measure == "negative" else s.declined)]
    more = fitting if value > 0 else [s for s in one.there if (s.bad if one.measure == "negative" else s.declined)]
    return Finding(
        check=NAME,
        severity=Severity.warning,
        text=f"{one.share:.0%} of {len(one.here):,} texts{sampled} that name {one.group} {what}, {one.others:.0%} of"
        f" those that name others of that kind ({one.kind}): {value:+.0%} [{low:+.0%}, {high:+.0%}], proven among"
        f" {comparisons}",
        count=len(fitting),
        of=len(one.here),
        action="Read some: where the topic explains it, nothing is wrong; else add rows that balance it, or leave such"
        " rows out.",
        rows=shown((s.row, s.text) for s in more),
        numbers={"difference": round(value, 4), "low": round(low, 4), "high": round(high, 4), "p": one.p},
    )
