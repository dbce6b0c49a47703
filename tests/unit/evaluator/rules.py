"""Language models that answer by a rule, so that every figure can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tuneforge.components import Teacher
from tuneforge.context import RunContext
from tuneforge.evaluation.behaviour.asking import asked
from tuneforge.evaluation.unable import Unable
from tuneforge.rows import Answer, Request, Row, content_hash


class Rule(Unable):
    """An LM that answers what the rule makes of the last thing said."""

    def __init__(self, rule: Callable[[str], str | Answer]) -> None:
        super().__init__("base")
        self.rule = rule
        self.asked: list[str] = []

    def generate(self, rows: Sequence[Row], max_tokens: int) -> list[Answer]:
        questions = [asked(row.columns) or str(row.columns.get("text") or "") for row in rows]
        self.asked += questions
        said = [self.rule(question) for question in questions]
        return [Answer(one) if isinstance(one, str) else one for one in said]


class Wise(Teacher):
    """A teacher that answers what the rule makes of the last message, in reversed order."""

    name = "wise"

    def __init__(self, rule: Callable[[str], str | Answer]) -> None:
        self.rule = rule

    def complete(self, requests: Any, context: Any) -> Iterator[tuple[Request, Answer]]:
        for request in reversed(list(requests)):
            said = self.rule(str(request.messages[-1]["content"]))
            yield request, Answer(said) if isinstance(said, str) else said


def row(fields: dict[str, Any] | None = None, group: str = "", **columns: Any) -> Row:
    return Row(columns=columns, id=content_hash(columns), source="test.job", file="job.jsonl", line=7,
               fields=fields or {}, group=group)  # fmt: skip


def context(folder: Path, train: Sequence[Row] = (), teacher: Teacher | None = None, **evaluators: Any) -> RunContext:
    """A run's context with these evaluators and training rows."""
    from tuneforge.strategy.sft import Sft

    run: Any = SimpleNamespace(
        seed=0, evaluator=evaluators, teacher={"wise": teacher} if teacher else {}, strategy=Sft()
    )
    return RunContext(run, folder, cache=folder / "cache", train=train)


def metrics(evaluator: Any, found: Any) -> dict[str, float]:
    """What the evaluator makes of statistics per row."""
    found = list(found)
    return dict(evaluator.aggregate({key: np.array([one[key] for one in found]) for key in found[0]}))
