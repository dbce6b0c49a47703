"""How far judges agree beyond chance. Arrays (judges, items) of float64; NaN: the judge said nothing of the item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def alike(said: Sequence[float]) -> float:
    """Share of the pairs of judges that say the same of one item; NaN where fewer than two said anything."""
    valid = [one for one in said if not math.isnan(one)]
    pairs = list(combinations(valid, 2))
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else math.nan


def cohen(first: Floats, second: Floats) -> float:
    """Cohen's kappa (1960) of two judges (items,) over items that both judged; NaN without any, or without variety."""
    both = ~(np.isnan(first) | np.isnan(second))
    one, other = first[both], second[both]
    if not len(one):
        return math.nan
    values = np.unique(np.concatenate([one, other]))
    shares = [(side[:, None] == values).mean(0) for side in (one, other)]
    return _beyond(float((one == other).mean()), float(shares[0] @ shares[1]))


def fleiss(judged: Floats) -> float:
    """Fleiss' kappa (1971) over items that every judge judged; NaN without any, or without variety."""
    whole = judged[:, ~np.isnan(judged).any(0)]
    count = len(judged)
    if not whole.size or count < 2:
        return math.nan
    votes = _votes(whole, np.unique(whole))
    agreeing = ((votes**2).sum(0) - count) / (count * (count - 1))
    shares = votes.sum(1) / votes.sum()
    return _beyond(float(agreeing.mean()), float((shares**2).sum()))


def krippendorff(judged: Floats, interval: bool = False) -> float:
    """Krippendorff's alpha (Content Analysis, 2004, chapter 11): nominal, or interval by squared differences.

    Items with fewer than two judgements tell nothing and are left out. NaN where no item is left, or all are alike.
    """
    pairable = judged[:, (~np.isnan(judged)).sum(0) > 1]
    values = np.unique(pairable[~np.isnan(pairable)])
    if not len(values):
        return math.nan
    votes = _votes(pairable, values)
    apart = (values[:, None] - values) ** 2 if interval else (values[:, None] != values).astype(np.float64)
    each, total = votes.sum(0), votes.sum(1)
    observed = float(((votes * (apart @ votes)).sum(0) / (each - 1)).sum())
    expected = float(total @ apart @ total) / (total.sum() - 1)
    return 1 - observed / expected if expected else math.nan


def _votes(judged: Floats, values: Floats) -> Floats:
    """(values, items): how many judges gave the item that value."""
    return np.stack([(judged == value).sum(0) for value in values]).astype(np.float64)


def _beyond(observed: float, chance: float) -> float:
    return (observed - chance) / (1 - chance) if chance < 1 else math.nan
