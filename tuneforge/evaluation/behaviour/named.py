"""What a config names of others: an evaluator that scores, a teacher."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tuneforge.components import Evaluator
from tuneforge.errors import nearest

if TYPE_CHECKING:
    from tuneforge.settings import Run


def scorer_problems(asking: Evaluator, named: str, run: Run, key: str = "evaluator") -> Iterator[str]:
    """Why the evaluator of that key or name cannot score rows for this one; nothing where none is named."""
    from tuneforge import plugins

    if not named:
        return
    installed = {r.split("/")[1]: c for r, c in plugins.load().components.items() if issubclass(c, Evaluator)}
    known = installed | {key: type(one) for key, one in run.evaluator.items()}
    if named not in known:
        yield f"{key}={named}: no such evaluator ({', '.join(sorted(known))}).{nearest(named, known)}"
        return
    found = known[named]
    if found is type(asking) or found.pairwise or found.memorised:
        yield f"{key}={named}: gives a row no score of its own; name one that does, as exact_match"
    elif not found.metrics[0].higher_is_better:
        yield f"{key}={named}: its {found.metrics[0].name} is better when lower; name one where more is better"


def teacher_problems(named: str, run: Run) -> Iterator[str]:
    """A teacher that the config does not have; nothing where none is named."""
    if named and named not in run.teacher:
        known = ", ".join(run.teacher) or "none is configured"
        yield f"teacher={named}: no such teacher ({known}).{nearest(named, run.teacher)}"
