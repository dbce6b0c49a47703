"""How varied texts are: MTLD, distinct-n and self-BLEU, exactly as published."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

TTR = 0.72
"""Type-token ratio at which a factor of MTLD is complete (McCarthy and Jarvis 2010)."""
ORDER = 4
"""Longest n-gram of BLEU."""
FLOOR = 0.1
"""Matches that BLEU counts where an order has none, so that one short text is not 0 (smoothing 1 of Chen and Cherry
2014, as Texygen's self-BLEU has it)."""


def mtld(words: Sequence[str]) -> float:
    """Measure of textual lexical diversity: mean number of words in a row that keep a type-token ratio above 0.72.

    Forwards and backwards averaged, the rest as a partial factor (McCarthy and Jarvis 2010, Behavior Research Methods
    42). It does not depend on the length of the text from about 100 words on; infinite where no word repeats enough.
    """
    return (_one_way(words) + _one_way(reversed(words))) / 2 if words else 0.0


def _one_way(words: Iterable[str]) -> float:
    seen: set[str] = set()
    count = total = 0
    factors = 0.0
    for word in words:
        count += 1
        total += 1
        seen.add(word)
        if len(seen) <= TTR * count:
            factors += 1
            count = 0
            seen = set()
    if count:
        factors += (1 - len(seen) / count) / (1 - TTR)
    return total / factors if factors else math.inf


def distinct(words: Sequence[str], n: int) -> float:
    """Distinct n-grams per n-gram (Li et al. 2016, arXiv:1510.03055); it falls with the number of words."""
    grams = list(ngrams(words, n))
    return len(set(grams)) / len(grams) if grams else 0.0


def ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """All n-grams in order."""
    return zip(*(words[start:] for start in range(n)), strict=False)


def self_bleu(texts: Sequence[Sequence[str]]) -> float:
    """Mean BLEU-4 of each text with all others as references (Zhu et al. 2018, arXiv:1802.01886); 1: all are equal."""
    if len(texts) < 2:
        return 0.0
    counted = [[Counter(ngrams(words, n)) for n in range(1, ORDER + 1)] for words in texts]
    best = [_most([one[n] for one in counted]) for n in range(ORDER)]
    lengths = [len(words) for words in texts]
    return sum(_bleu(place, counted[place], best, lengths) for place in range(len(texts))) / len(texts)


Two = tuple[int, int, int]


def _most(counts: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], Two]:
    """Each n-gram's largest count, the text that has it, and the largest count elsewhere."""
    found: dict[tuple[str, ...], Two] = {}
    for place, count in enumerate(counts):
        for gram, times in count.items():
            first, owner, second = found.get(gram, (0, -1, 0))
            found[gram] = (times, place, first) if times > first else (first, owner, max(second, times))
    return found


def _bleu(
    place: int,
    own: Sequence[Counter[tuple[str, ...]]],
    best: Sequence[dict[tuple[str, ...], Two]],
    lengths: Sequence[int],
) -> float:
    length = lengths[place]
    if length < 1:
        return 0.0
    logs = 0.0
    for counts, most in zip(own, best, strict=True):
        matched = 0
        for gram, times in counts.items():
            first, owner, second = most[gram]
            matched += min(times, second if owner == place else first)
        logs += math.log((matched or FLOOR) / max(counts.total(), 1)) / ORDER
    others = (other for at, other in enumerate(lengths) if at != place)
    closest = min(others, key=lambda other: (abs(other - length), other))
    penalty = 1.0 if length >= closest else math.exp(1 - closest / length)
    return penalty * math.exp(logs)
