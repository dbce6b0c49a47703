"""No answer is bought twice: what a teacher said is kept by what it was asked, and counted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from tuneforge.cache import Cache, key
from tuneforge.components import Context, Teacher
from tuneforge.rows import Answer, Request

AHEAD = 64
"""Requests that are looked up together."""
Pair = tuple[Request, Answer]
Keep = Callable[[Sequence[Pair]], None]
"""Writes answers to disk; errors among them are left out."""
Ask = Callable[[Iterator[Request], Keep], Iterator[Pair]]
"""Answers requests in any order, and gives every answer to `Keep` before it is yielded."""


def stored(
    teacher: Teacher, identity: Mapping[str, Any], requests: Iterable[Request], context: Context, ask: Ask
) -> Iterator[Pair]:
    """Each request with its answer, known ones without asking; equal requests are asked once.

    `identity` is JSON that tells who answers. Answers with an error are not kept: the next run asks again.
    """
    known = _Known(Cache(context.cache / "teachers.sqlite"), identity, _spent(teacher, context))
    return tallied(teacher, known.answers(requests, ask), context)


def tallied(teacher: Teacher, answers: Iterable[tuple[Request, Answer, bool]], context: Context) -> Iterator[Pair]:
    """Request and answer; the True of those that cost nothing is counted as from the store.

    Adds to `context.spent` of the teacher's key, and says at the end how many requests failed and why, as often as a
    reason is new: a teacher may be asked at every step. What answers cost is counted as they are kept.
    """
    name, spent = _name(teacher, context), _spent(teacher, context)
    failed: Counter[str] = Counter()
    told: set[str] = vars(teacher).setdefault("told", set())
    try:
        for request, answer, free in answers:
            for number, value in (("requests", 1), ("from_store", int(free)), ("errors", int(bool(answer.error)))):
                spent[number] += value
            failed.update([answer.error] if answer.error else [])
            yield request, answer
    finally:
        if failed.keys() - told:
            kinds = "; ".join(f"{count:,} x {why}" for why, count in failed.most_common(3))
            noun = "request" if failed.total() == 1 else "requests"
            context.note(f"teacher.{name}: {failed.total():,} {noun} got no answer: {kinds}", requests=failed.total())
            told |= failed.keys()


COUNTED = ("requests", "from_store", "errors", "prompt_tokens", "tokens", "cost")
"""What is counted per teacher; tokens and US dollars of what was asked anew."""


def _name(teacher: Teacher, context: Context) -> str:
    """The teacher's key in the config."""
    return next((name for name, one in context.run.teacher.items() if one is teacher), teacher.name)


def _spent(teacher: Teacher, context: Context) -> dict[str, float]:
    """What has been counted of the teacher."""
    return context.spent.setdefault(_name(teacher, context), dict.fromkeys(COUNTED, 0))


class _Known:
    """The answers of one teacher: known, and being asked for. `spent` is what new ones cost, read or not."""

    def __init__(self, cache: Cache, identity: Mapping[str, Any], spent: dict[str, float]) -> None:
        self.cache, self.identity, self.spent = cache, identity, spent
        self.ready: deque[Pair] = deque()
        self.waiting: dict[str, list[Request]] = {}

    def answers(self, requests: Iterable[Request], ask: Ask) -> Iterator[tuple[Request, Answer, bool]]:
        """With each answer whether it cost nothing."""
        for request, answer in ask(self._missing(requests), self._keep):
            yield from self._found()
            first, *others = self.waiting.pop(self._key(request))
            yield first, answer, False
            for other in others:
                yield other, answer._replace(cost=0.0), not answer.error
        yield from self._found()

    def _missing(self, requests: Iterable[Request]) -> Iterator[Request]:
        """The requests that have to be asked; others wait for them, or are ready."""
        pulled = iter(requests)
        while some := list(islice(pulled, AHEAD)):
            keys = [self._key(request) for request in some]
            known, asked = self.cache.get(keys), []
            for name, request in zip(keys, some, strict=True):
                if name in known:
                    self.ready.append((request, Answer(**known[name])._replace(cost=0.0)))
                elif name in self.waiting:
                    self.waiting[name].append(request)
                else:
                    self.waiting[name] = [request]
                    asked.append(request)
            yield from asked

    def _found(self) -> Iterator[tuple[Request, Answer, bool]]:
        while self.ready:
            yield (*self.ready.popleft(), True)

    def _keep(self, pairs: Sequence[Pair]) -> None:
        for _, answer in pairs:
            for number in ("prompt_tokens", "tokens", "cost"):
                self.spent[number] += getattr(answer, number)
        good = {self._key(request): answer._asdict() for request, answer in pairs if not answer.error}
        if good:
            self.cache.put(good)

    def _key(self, request: Request) -> str:
        asked = request._replace(messages=[dict(message) for message in request.messages], row=None)
        return key(self.identity, asked._asdict())
