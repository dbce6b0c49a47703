"""Lengths: how long prompts, answers and texts are, what stands far out, and whether evaluation sets are alike."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median, quantiles

from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.reading import Exchange, document, exchanges, shown, source
from tuneforge.audit.subject import Subject
from tuneforge.rows import HeldOut, Row

NAME = "lengths"
FAR = 3.0
"""Interquartile ranges beyond the quartiles, of log lengths, from which a length is far out (Tukey 1977)."""
MODE = 0.02
"""Share from which they are no outliers, but another kind of row: 13 % of tatqa's answers are spans amid numbers."""
LARGE = 0.474
"""Cliff's delta from which a difference is large (Romano et al. 2006: negligible .147, small .33, medium .474)."""
RATIO = 1.5
"""And medians apart by this factor, so that 2 words against 3 in short answers is not called a difference of 1."""
FEW = 20
"""Rows of a set below which it is not compared."""
NOTICED = 2
"""Words by which medians have to differ."""
EDGES = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10**9)
"""Bins of the distribution, in words."""

Lengths = dict[str, list[tuple[Row, int]]]


def check(subject: Subject) -> Iterator[Finding]:
    """The distribution of each kind of text in words; lengths far out; training against each evaluation set."""
    train = _lengths(subject.rows, subject.exchanges)
    for what, counted in train.items():
        yield _distribution(what, counted, subject.drawn)
    compared = [one for held in subject.held_out for one in _compared(subject, train, held)]
    yield from (one for one in compared if one.severity is not Severity.ok)
    if alike := [one for one in compared if one.severity is Severity.ok]:
        yield Finding(check=NAME, severity=Severity.ok, text="; ".join(one.text for one in alike))
    if not train:
        yield Finding(check=NAME, severity=Severity.ok, text="no texts to measure", of=len(subject.rows))


def _lengths(rows: Sequence[Row], found: Sequence[Exchange]) -> Lengths:
    """Words by kind of text: prompts and answers, or texts, or tagged words."""
    if found:
        return {
            "prompts": [(one.row, len(one.asked.split())) for one in found],
            "answers": [(one.row, len(one.answer.split())) for one in found],
        }
    texts = [(row, len(text.split())) for row in rows if (text := document(row.columns)) is not None]
    texts += [(row, len(row.columns["tokens"])) for row in rows if "tokens" in row.columns]
    return {"texts": texts} if texts else {}


def _distribution(what: str, counted: Sequence[tuple[Row, int]], drawn: str) -> Finding:
    lengths = sorted(length for _, length in counted)
    middle, ninth, last = (lengths[min(int(len(lengths) * p), len(lengths) - 1)] for p in (0.5, 0.9, 0.99))
    low, high = _fences(lengths)
    out = [(row, length) for row, length in counted if not low <= length <= high]
    if len(out) > MODE * len(counted):
        out = []
    text = f"{what}{drawn} have {middle:,} words in the median, {ninth:,} at 90 %, {last:,} at 99 %,"
    text += f" {lengths[-1]:,} at most"
    if out:
        text += f"; far out, below {low:,.0f} or above {high:,.0f}: {len(out):,}"
    return Finding(
        check=NAME,
        severity=Severity.info if out else Severity.ok,
        text=text,
        count=len(out),
        of=len(counted),
        action="Look whether these are what they should be; `+transform=length` and a bound leave them out."
        * bool(out),
        rows=shown((row, f"{length:,} words") for row, length in sorted(out, key=lambda one: -one[1])),
        numbers={"median": middle, "p90": ninth, "p99": last, "max": lengths[-1]},
        bars=_bins(lengths),
    )


def _fences(lengths: Sequence[int]) -> tuple[float, float]:
    """Tukey's outer fences of log(1 + words), back in words; everything where half of the rows are of one length."""
    if len(lengths) < FEW:
        return 0, math.inf
    low, _, high = quantiles([math.log1p(length) for length in lengths], n=4)
    if high - low < 0.1:
        return 0, math.inf
    return math.expm1(max(low - FAR * (high - low), 0)), math.expm1(high + FAR * (high - low))


def _bins(lengths: Sequence[int]) -> list[tuple[str, float]]:
    counts = [0] * (len(EDGES) - 1)
    for length in lengths:
        counts[next(i for i in range(len(counts)) if length < EDGES[i + 1])] += 1
    used = [i for i, count in enumerate(counts) if count]
    return [(_label(i), counts[i]) for i in range(used[0], used[-1] + 1)]


def _label(place: int) -> str:
    first, after = EDGES[place], EDGES[place + 1]
    if after == EDGES[-1]:
        return f"{first:,} words and more"
    return f"{first:,} to {after - 1:,} words" if after - first > 1 else f"{first:,} word{'s' * (first != 1)}"


def _compared(subject: Subject, train: Lengths, held: HeldOut) -> Iterator[Finding]:
    """Whether a set's texts are of another length than those of every training source."""
    record = subject.run.strategy.record
    there = _lengths(held.rows, [one for row in held.rows for one in exchanges(row, record)])
    for what in train.keys() & there.keys():
        b = sorted(length for _, length in there[what])
        by_source: dict[str, list[int]] = defaultdict(list)
        for row, length in train[what]:
            by_source[source(row)].append(length)
        deltas = {key: cliffs_delta(b, sorted(a)) for key, a in by_source.items() if len(a) >= FEW <= len(b)}
        if deltas:
            nearest = min(deltas, key=lambda key: abs(deltas[key]))
            middle = int(median(by_source[nearest])), int(median(b))
            name = nearest if len(by_source) > 1 else "training"
            yield _difference(what, there[what], held, deltas[nearest], middle, name)


def _difference(
    what: str, there: Sequence[tuple[Row, int]], held: HeldOut, delta: float, middle: tuple[int, int], nearest: str
) -> Finding:
    apart = max(middle) >= RATIO * max(min(middle), 1) and max(middle) - min(middle) >= NOTICED
    other = abs(delta) >= LARGE and apart
    meant = held.role != "target"
    name = f"{held.split}.{held.name}"
    text = f"{what} of {name} have {middle[1]:,} words in the median, those of {nearest} {middle[0]:,}"
    rows = sorted(there, key=lambda one: -one[1] if delta > 0 else one[1]) if other else []
    return Finding(
        check=NAME,
        severity=(Severity.info if meant else Severity.warning) if other else Severity.ok,
        text=f"{text} (Cliff's delta {delta:+.2f}{', large' * other})",
        count=len(there) if other else 0,
        of=len(there),
        action=f"If {name} is what the model is for, train on {what} of such length; else evaluate on others."
        if other and not meant
        else "",
        rows=shown((row, f"{length:,} words") for row, length in rows),
        numbers={"delta": round(delta, 4)},
    )


def cliffs_delta(first: Sequence[float], second: Sequence[float]) -> float:
    """P(a > b) - P(a < b) over all pairs (Cliff 1993), both sorted; -1 to 1, 0 where neither tends to be larger."""
    import numpy as np

    there = np.asarray(second)
    below = np.searchsorted(there, np.asarray(first), side="left").sum()
    not_above = np.searchsorted(there, np.asarray(first), side="right").sum()
    return float((below - (len(there) * len(first) - not_above)) / (len(there) * len(first)))
