"""The number that an answer comes to."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator

DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?![\d,]*,?\d)|\d+)(?:\.\d+)?|\.\d+"
NUMBER = re.compile(
    r"(?P<sign>(?<![\w.)])[-+])?(?:[$€£¥₹]\s?(?P<minus>-?))?"
    rf"(?:\\[dt]?frac\{{(?P<over>\d{{1,40}})\}}\{{(?P<under>\d{{1,40}})\}}"
    rf"|(?<!/)(?:(?P<whole>\d{{1,40}}) )?(?P<top>\d{{1,40}})\s?/\s?(?P<bottom>\d{{1,40}})(?![\d/]|\.\d)"
    rf"|(?P<plain>{DIGITS})(?:[eE](?P<e>[-+]?\d{{1,4}})\b|\s?(?:\u00d7|\*|x)\s?10\s?\^\s?\{{?(?P<ten>[-+]?\d{{1,4}})\}}?)?)"
)
LATEX = (
    (r"\$", "$"),
    (r"\%", "%"),
    ("{,}", ","),
    (r"\,", ""),
    (r"\!", ""),
    (r"\times", "\u00d7"),
    (r"\cdot", "\u00d7"),
)
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2066\u2067\u2068\u2069\u202a\u202b\u202c"))
MARKS = (re.compile("####"), re.compile(r"\\boxed\s*\{"), re.compile(r"\banswer\s*(?:is|:|=)", re.IGNORECASE))
"""What stands before the final number, the surest first: GSM8K's mark, LaTeX's box, words."""


def final_number(text: str) -> float | None:
    """The number after the last `####`, in the last `\\boxed{}`, or after the last *answer is*, else the last one.

    Read are signs, thousands commas, decimals (with a point), exponents (`1e5`, `3 x 10^5`) and fractions (`3/4`,
    `1 1/2`, `\\frac{3}{4}`), in the digits of any script; currencies, percent signs and units are ignored, so that
    50 % is 50. None: there is no number, or none that is finite. Number words are not read.
    """
    text = _plain(text)
    for mark in MARKS:
        ends = [found.end() for found in mark.finditer(text)]
        first = next(_numbers(text[ends[-1] :]), None) if ends else None
        if first is not None:
            return first
    return next(iter(deque(_numbers(text), maxlen=1)), None)


def _plain(text: str) -> str:
    text = text.translate(INVISIBLE).replace("\u2212", "-").replace("\u00a0", " ").replace("\u202f", " ")
    for latex, plain in LATEX:
        text = text.replace(latex, plain)
    return text


def _numbers(text: str) -> Iterator[float]:
    for found in NUMBER.finditer(text):
        value = _value(found)
        if value is not None and math.isfinite(value):
            yield value


def _value(found: re.Match[str]) -> float | None:
    sign = -1.0 if "-" in (found["sign"], found["minus"]) else 1.0
    for top, bottom in (("over", "under"), ("top", "bottom")):
        if found[top]:
            under = float(found[bottom])
            return sign * (float(found["whole"] or 0) + float(found[top]) / under) if under else None
    return sign * float(found["plain"].replace(",", "") + f"e{found['e'] or found['ten'] or 0}")
