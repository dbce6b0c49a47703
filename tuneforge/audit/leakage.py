"""Whether rows of an evaluation set stand in the training data: then it measures memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tuneforge.audit.finding import Finding, Severity, Shown
from tuneforge.audit.leaks import Kind, Leak
from tuneforge.audit.subject import Subject

SHOWN = 10
SAID = {
    Kind.row: "equal",
    Kind.folded: "equal in letters and digits",
    Kind.contained: "inside a longer row",
    Kind.near: "in nearly the same words",
    Kind.prompt: "asked with another answer",
}


def check(subject: Subject) -> Iterable[Finding]:
    """An error for each evaluation set of which rows stand in training; near ones are near_leakage's."""
    leaks = subject.leaks
    for name, rows in leaks.held_out.items():
        found = [leak for leak in leaks.of(*leaks.proven) if f"{leak.split}.{leak.set}" == name]
        if found:
            yield Finding(
                check="leakage",
                severity=Severity.error,
                text=f"{len(found):,} of {rows:,} rows of {name} stand in the training data: {kinds(found)}",
                count=len(found),
                of=rows,
                action="take them out of the training data or the set (data/audit.json names all), "
                "or accept it with audit.fail_on=[]",
                rows=shown(found),
                places=places(found),
                numbers=dict(Counter(str(leak.kind) for leak in found)),
            )
    if not leaks.of(*leaks.proven):
        of = sum(leaks.held_out.values())
        sets = ", ".join(leaks.held_out) or "no evaluation set"
        text = f"none of {of:,} held-out rows stands in the training data ({sets})"
        yield Finding(check="leakage", severity=Severity.ok, text=text, of=of)


def kinds(found: Sequence[Leak]) -> str:
    """`3 equal, 1 inside a longer row`."""
    counts = Counter(leak.kind for leak in found)
    return ", ".join(f"{counts[kind]:,} {SAID[kind]}" for kind in Kind if counts[kind])


def shown(found: Sequence[Leak]) -> list[Shown]:
    """The first leaks to look at."""
    return [
        Shown(
            leak.held_out_place,
            f"{SAID[leak.kind]}{f' ({leak.similarity:.0%})' if leak.kind is Kind.near else ''}: "
            f"training row {leak.train_place}: {leak.excerpt}",
        )
        for leak in found[:SHOWN]
    ]


def places(found: Sequence[Leak]) -> list[dict[str, str]]:
    """Where all of them stand."""
    return [
        {
            "set": f"{leak.split}.{leak.set}",
            "held_out": leak.held_out_place,
            "training": leak.train_place,
            "kind": str(leak.kind),
        }
        for leak in found
    ]
