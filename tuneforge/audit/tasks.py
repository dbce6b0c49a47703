"""Which kinds of task the training instructions set, and which the target asks that they do not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from tuneforge.audit.excerpt import excerpt
from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.subject import Subject
from tuneforge.preparation.task_rules import task
from tuneforge.rows import HeldOut, Row

ASKED = 0.05
"""Share of a target set from which a kind of task is asked there."""

SEVERAL = 10
"""Rows of that kind at least."""

SCARCE = 0.1
"""Share in training over the share in the set below which a kind is scarce."""


def check(subject: Subject) -> Iterable[Finding]:
    """The distribution of kinds, how many kinds that amounts to, and what target sets ask beyond them."""
    counts = kinds(subject.sample)
    rows = sum(counts.values())
    if not rows:
        text = "the training rows are no instructions, so they have no kind of task"
        yield Finding(check="tasks", severity=Severity.ok, text=text, of=len(subject.sample))
        return
    shares = [(kind, count / rows) for kind, count in counts.most_common()]
    effective = math.exp(-sum(share * math.log(share) for _, share in shares))
    shown = ", ".join(f"{kind} {share:.0%}" for kind, share in shares[:3])
    yield Finding(
        check="tasks",
        severity=Severity.ok,
        text=f"{len(counts)} kinds of task in {rows:,} instructions, as varied as {effective:.1f} even ones: {shown}",
        of=rows,
        numbers={"kinds": len(counts), "effective": effective},
        bars=[(kind, float(count)) for kind, count in counts.most_common()],
    )
    for held in subject.held_out:
        if held.role == "target":
            yield from _scarce(held, counts, rows)


def kinds(rows: Iterable[Row]) -> Counter[str]:
    """Instructions of each kind: what a transform said of the row, else what the rules say."""
    return Counter(kind for row in rows if (kind := _kind(row)))


def _kind(row: Row) -> str:
    return row.task or str(task(row.columns) or "")


def _scarce(held: HeldOut, counts: Mapping[str, int], rows: int) -> Iterator[Finding]:
    asked = kinds(held.rows)
    total = sum(asked.values())
    for kind, count in asked.most_common():
        have = counts.get(kind, 0) / rows
        if kind.split(" ")[0] == "other" or count < max(SEVERAL, ASKED * total) or have >= SCARCE * count / total:
            continue
        yield Finding(
            check="tasks",
            severity=Severity.warning,
            text=f"{held.split}.{held.name} asks for {kind} in {count / total:.0%} of its {total:,} rows, training in "
            f"{have:.1%} of {rows:,}",
            count=count,
            of=total,
            action=f"add instructions of the kind {kind} like these, not these",
            rows=[excerpt(row) for row in held.rows if _kind(row) == kind][:10],
        )
