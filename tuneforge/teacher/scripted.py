"""Answers that were written beforehand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Teacher
from tuneforge.errors import ConfigError
from tuneforge.rows import Answer, Request

if TYPE_CHECKING:
    from tuneforge.settings import Run

KEYS = {"exact", "match", "answer"}
Rule = tuple[Callable[[str], bool], str]


@dataclass(kw_only=True)
class Scripted(Teacher):
    """Answer from a file or a list, without any model: for tests, dry runs and replays.

    A line of the file is {"match": …, "answer": …}: the first line whose regular expression occurs in the last user
    message answers. {"exact": …} matches the whole message, a line without both every message. An answer that is no
    text is given as JSON.
    """

    name: ClassVar[str] = "scripted"

    path: str = ""
    """JSONL file of rules; the first that matches answers. What no rule matches gets an error for an answer."""
    answers: list[str] = field(default_factory=list)
    """Instead of a file: answers in turn, from the first again for each set of requests."""

    def check(self, run: Run) -> Iterable[str]:
        """A file or a list, not both."""
        if bool(self.path) == bool(self.answers):
            yield "needs either path=rules.jsonl or answers=[…]"
        elif self.path and not Path(self.path).expanduser().is_file():
            yield f"path={self.path}: there is no such file"

    @property
    def identity(self) -> dict[str, Any]:
        """All that may be answered."""
        return {"rules": Path(self.path).expanduser().read_text(encoding="utf-8") if self.path else self.answers}

    def complete(self, requests: Iterable[Request], context: Context) -> Iterator[tuple[Request, Answer]]:
        """In the order of the requests."""
        from tuneforge.teacher.store import tallied

        said = self._by_rule(requests) if self.path else self._in_turn(requests)
        yield from tallied(self, said, context)

    def _in_turn(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer, bool]]:
        for number, request in enumerate(requests):
            yield request, Answer(self.answers[number % len(self.answers)]), False

    def _by_rule(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer, bool]]:
        rules = list(self._rules())
        for request in requests:
            asked = str(next((m["content"] for m in reversed(request.messages) if m["role"] == "user"), ""))
            found = next((text for fits, text in rules if fits(asked)), None)
            yield request, Answer("", f"no line of {self.path} matches") if found is None else Answer(found), False

    def _rules(self) -> Iterator[Rule]:
        """ConfigError with file and line for what is no rule."""
        for number, line in enumerate(Path(self.path).expanduser().read_text(encoding="utf-8").split("\n"), 1):
            if line.strip():
                try:
                    yield _rule(json.loads(line))
                except (ValueError, re.error) as error:
                    raise ConfigError(f"{self.path}:{number}: no rule: {error}") from error


def _rule(read: Any) -> Rule:
    if not isinstance(read, dict) or "answer" not in read or not read.keys() <= KEYS or read.keys() >= KEYS:
        raise ValueError('it has the form {"match": …, "answer": …} or {"exact": …, "answer": …}')
    answer = read["answer"] if isinstance(read["answer"], str) else json.dumps(read["answer"], ensure_ascii=False)
    if "exact" in read:
        return str(read["exact"]).__eq__, answer
    pattern = re.compile(str(read.get("match", "")), re.DOTALL)
    return lambda text: pattern.search(text) is not None, answer
