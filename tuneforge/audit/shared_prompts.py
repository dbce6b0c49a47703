"""Whether training asks what an evaluation set asks, with another answer."""

from __future__ import annotations

from collections.abc import Iterable

from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.leakage import places, shown
from tuneforge.audit.leaks import Kind
from tuneforge.audit.subject import Subject


def check(subject: Subject) -> Iterable[Finding]:
    """A warning for each evaluation set whose prompts are asked in training."""
    leaks = subject.leaks
    for name, rows in leaks.held_out.items():
        found = [leak for leak in leaks.of(Kind.prompt) if f"{leak.split}.{leak.set}" == name]
        if found:
            yield Finding(
                check="shared_prompts",
                severity=Severity.warning,
                text=f"{len(found):,} of {rows:,} prompts of {name} are asked in the training data, "
                "with other answers or where the set has none",
                count=len(found),
                of=rows,
                action="take these prompts out of the training data where the set is to measure new ones",
                rows=shown(found),
                places=places(found),
            )
    if not leaks.of(Kind.prompt):
        of = sum(leaks.held_out.values())
        text = f"none of {of:,} held-out prompts is asked in the training data with another answer"
        yield Finding(check="shared_prompts", severity=Severity.ok, text=text, of=of)
