"""Answers compared in pairs by several judges, each pair in both orders."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tuneforge.cache import key
from tuneforge.components import Context, Teacher
from tuneforge.evaluation.judging.questions import Asking, comparison
from tuneforge.evaluation.judging.replies import verdict
from tuneforge.rows import Answer, Request, Row

WINS = {"A": 1.0, "B": 0.0, "tie": 0.5}
NAN = math.nan


class Word(NamedTuple):
    """What one judge said of one pair, each from where the first answer stands: 1 won, 0 lost, ½ tie, NaN invalid."""

    ahead: float = NAN
    """Of the first answer, where it was shown first."""
    behind: float = NAN
    """Of the first answer, where it was shown second."""

    @property
    def both(self) -> bool:
        """Whether both replies are valid."""
        return not math.isnan(self.ahead + self.behind)

    @property
    def result(self) -> float:
        """What both orders say; ½ where they contradict each other, NaN where one is invalid."""
        return (self.ahead if self.ahead == self.behind else 0.5) if self.both else NAN

    @property
    def firsts(self) -> list[float]:
        """Of each reply that decides, 1 where the answer that was shown first won."""
        return [won for won in (self.ahead, 1 - self.behind) if won in (0.0, 1.0)]


def answers(teacher: Teacher, requests: Sequence[Request], context: Context, text: str) -> list[Answer]:
    """The teacher's answers in the order of the requests; equal requests are asked once."""
    asked = {_key(request): request for request in requests}
    shown = context.progress(list(asked.values()), text)
    found = {_key(request): answer for request, answer in teacher.complete(shown, context)}
    return [found[_key(request)] for request in requests]


def words(
    teacher: Teacher, pairs: Sequence[tuple[Row, str, str]], asking: Asking, context: Context, text: str
) -> list[Word]:
    """The judge's word on each pair (row, first answer, second answer)."""
    ahead = [comparison(row, first, second, asking) for row, first, second in pairs]
    behind = [comparison(row, second, first, asking) for row, first, second in pairs]
    won = [WINS.get(verdict(said) or "", NAN) for said in answers(teacher, [*ahead, *behind], context, text)]
    return [Word(a, 1 - b) for a, b in zip(won[: len(pairs)], won[len(pairs) :], strict=True)]


def majority(results: Iterable[float]) -> float:
    """What more than half of the valid results say, else ½."""
    valid = [result for result in results if not math.isnan(result)]
    [(most, count)] = Counter(valid).most_common(1) or [(0.5, 0)]
    return most if 2 * count > len(valid) else 0.5


def average(values: Iterable[float], without: float = NAN) -> float:
    """The mean of what is no NaN; `without` where nothing is left."""
    told = [value for value in values if not math.isnan(value)]
    return sum(told) / len(told) if told else without


def invalid(word: Word) -> int:
    """How many of the judge's two replies are no verdict."""
    return math.isnan(word.ahead) + math.isnan(word.behind)


def _key(request: Request) -> str:
    return key([dict(message) for message in request.messages], request.seed)
