"""How far apart the words of two sets of rows are."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tuneforge.audit.reading import words
from tuneforge.conversation import passages
from tuneforge.rows import Row

MOST = 5000
"""Words that are compared: divergences fall with their number, so it is equal on all sides."""
LEAST = 1000
"""Words below which nothing is said."""


@dataclass(frozen=True)
class Distance:
    """Jensen-Shannon divergences in bits (Lin 1991): 0 for equal distributions, 1 where no word is common."""

    across: float
    """Between the source and the set."""
    within: float
    """Between two parts of the source, as large: what chance alone makes."""
    absent: Sequence[str]
    """Words typical of the set, the most typical first."""

    @property
    def excess(self) -> float:
        """How much more than chance."""
        return self.across - self.within


def vocabulary(rows: Sequence[Row], seed: int, most: int = MOST) -> list[str]:
    """Up to `most` words of rows drawn in random order."""
    found: list[str] = []
    for place in random.Random(seed).sample(range(len(rows)), len(rows)):
        for passage in passages(rows[place].columns):
            found += words(passage.text)
        found += [word.lower() for word in rows[place].columns.get("tokens") or ()]
        if len(found) >= most:
            break
    return found[:most]


def distance(rows: Sequence[Row], there: Sequence[str], seed: int) -> Distance | None:
    """From a source's rows to the words of a set, on equally many words; None where either has too few."""
    mixed = random.Random(seed).sample(range(len(rows)), len(rows))
    half = len(mixed) // 2
    parts = [vocabulary([rows[place] for place in side], seed) for side in (mixed[:half], mixed[half:])]
    size = min(len(there), *map(len, parts))
    if size < LEAST:
        return None
    first, second, other = (Counter(side[:size]) for side in (*parts, there))
    here = first + second
    weights = {word: n * math.log((n + 1) / (here[word] / 2 + 1)) for word, n in other.items() if word.isalpha()}
    typical = sorted(weights, key=lambda word: (-weights[word], word))
    return Distance(divergence(first, other), divergence(first, second), typical)


def divergence(first: Counter[str], second: Counter[str]) -> float:
    """Jensen-Shannon divergence of two word counts, in bits."""
    n, m = first.total(), second.total()
    total = 0.0
    for word in first.keys() | second.keys():
        p, q = first[word] / n, second[word] / m
        middle = (p + q) / 2
        total += sum(x * math.log2(x / middle) for x in (p, q) if x) / 2
    return total
