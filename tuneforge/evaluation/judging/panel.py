"""Which teachers judge, and whether they can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tuneforge.components import Context, Teacher
from tuneforge.errors import ConfigError, nearest
from tuneforge.rows import Request

if TYPE_CHECKING:
    from tuneforge.evaluation.judging.questions import Asking
    from tuneforge.settings import Run

LOUD = 0.2
"""Share of invalid replies, or of pairs whose order decides, above which a judge is doubted aloud."""


def problems(teachers: Sequence[str], asking: Asking, run: Run) -> Iterator[str]:
    """Teachers that are not there, and questions that cannot be asked."""
    known = ", ".join(run.teacher) or "none is configured: +teacher=openai"
    if not teachers and len(run.teacher) != 1:
        yield f"teachers is empty: name who judges ({known})"
    for name in teachers:
        if name not in run.teacher:
            yield f"teachers: no teacher '{name}' in this config ({known}).{nearest(name, run.teacher)}"
    if len(set(teachers)) < len(teachers):
        yield "teachers: one is named twice"
    names = asking.names
    if not all(names) or len(set(names)) < len(names) or not names:
        yield f"criteria={list(asking.criteria)}: at least one, each with a name of its own before the colon"
    if "reason" in names:
        yield "criteria: 'reason' is what the judge gives before its scores; call the criterion otherwise"
    if asking.max_tokens < 1:
        yield f"judge_tokens={asking.max_tokens}: must be 1 or more"


def chosen(teachers: Sequence[str], context: Context) -> Mapping[str, Teacher]:
    """Key → teacher: those named, else the only one that is configured."""
    return {name: context.teacher(name) for name in teachers or context.run.teacher}


def reach(judges: Mapping[str, Teacher], request: Request, context: Context) -> None:
    """Ask each judge once, so that who cannot be asked ends the run before it trains; ConfigError says why."""
    for name, teacher in judges.items():
        for _, answer in teacher.complete([request], context):
            if answer.error:
                raise ConfigError(f"teacher.{name} does not answer: {answer.error}")


def doubt(evaluator: str, judge: str, invalid: int, asked: int, context: Context) -> None:
    """Say how many requests got no judgement, or no reply at all; loudly above a fifth."""
    if not invalid:
        return
    text = f"{evaluator}: {invalid:,} of {asked:,} requests to teacher.{judge} got no judgement in the demanded form"
    if invalid > LOUD * asked:
        text += f"; MORE THAN {LOUD:.0%}: do not trust these numbers; where replies were cut off, raise judge_tokens"
    context.note(text, invalid=invalid, asked=asked)


def doubt_order(evaluator: str, judge: str, swayed: int, pairs: int, context: Context) -> None:
    """Say loudly that a judge says another thing of too many pairs when their order is swapped."""
    if swayed > LOUD * pairs:
        text = f"{evaluator}: teacher.{judge} says another thing of {swayed:,} of {pairs:,} pairs in the other order"
        context.note(f"{text}; MORE THAN {LOUD:.0%}, and each counts as a tie", swayed=swayed, pairs=pairs)
