"""How even classes and groups are, and which classes no set measures or no row trains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tuneforge.audit.excerpt import excerpt
from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.labels import Labelled, labelled, sizes
from tuneforge.audit.subject import Subject

RATIO = 10.0
"""Rows of the largest class per row of the smallest from which classes are uneven."""

SMALLEST = 5
"""Rows below which a class can hardly be learned, nor measured."""

LARGEST = 0.2
"""Share of one group, of several, from which it dominates."""

BARS = 20


def check(subject: Subject) -> Iterable[Finding]:
    """Sizes of classes and groups in training, and what evaluation sets lack of them."""
    rows = labelled(subject.rows)
    if rows:
        yield from _classes(rows)
        for held in subject.held_out:
            if measured := labelled(held.rows):
                yield from _absent(f"{held.split}.{held.name}", rows, measured)
    yield from _groups(subject)
    if not rows and not any(row.group for row in subject.train):
        yield _of(Severity.ok, "the training rows have neither classes nor groups", len(subject.train))


def _of(severity: Severity, text: str, of: int) -> Finding:
    return Finding(check="balance", severity=severity, text=text, of=of)


def _named(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(f"'{name}'" for name in names[:limit]) + more


def _classes(rows: Sequence[Labelled]) -> Iterator[Finding]:
    counts = sizes(rows)
    most, least = next(iter(counts.values())), min(counts.values())
    ratio = most / least
    small = [name for name, count in counts.items() if count < SMALLEST]
    uneven = (
        f"; {len(small)} {'has' if len(small) == 1 else 'have'} fewer than {SMALLEST} rows: {_named(small)}"
        if small
        else ""
    )
    yield Finding(
        check="balance",
        severity=Severity.warning if ratio >= RATIO or small else Severity.ok,
        text=f"{len(counts):,} classes of {least:,} to {most:,} rows, largest to smallest {ratio:.1f}{uneven}",
        count=sum(counts[name] for name in small),
        of=len(rows),
        action="" if ratio < RATIO and not small else "collect rows of the small classes, leave them out, or even them "
        "out: +transform=oversample transform.oversample.by=label (docs/imbalance.md)",
        rows=[excerpt(one.row, f"'{one.label}'") for one in rows if one.label in small][:10],
        numbers={"classes": len(counts), "ratio": ratio},
        bars=[(name, float(count)) for name, count in list(counts.items())[:BARS]],
    )  # fmt: skip


def _absent(name: str, rows: Sequence[Labelled], measured: Sequence[Labelled]) -> Iterator[Finding]:
    """Classes that a set measures without training, or leaves unmeasured though it has the rows for them."""
    trained, asked = sizes(rows), sizes(measured)
    unknown = [label for label in asked if label not in trained]
    missing = [label for label in trained if label not in asked]
    if unknown:
        yield Finding(
            check="balance",
            severity=Severity.warning,
            text=f"{len(unknown):,} classes of {name} have no training row: {_named(unknown)}",
            count=sum(asked[label] for label in unknown),
            of=len(measured),
            action="add training rows of these classes, or take them out of the set",
            rows=[excerpt(one.row, f"'{one.label}'") for one in measured if one.label in unknown][:10],
        )
    if missing:
        expected = sum(trained[label] for label in missing) / len(rows) * len(measured)
        yield Finding(
            check="balance",
            severity=Severity.warning if expected >= 3 * len(missing) else Severity.info,
            text=f"{len(missing):,} of {len(trained):,} classes "
            f"{'does' if len(missing) == 1 else 'do'} not occur in the "
            f"{len(measured):,} rows of {name}: "
            f"{_named(missing)}",
            count=sum(trained[label] for label in missing),
            of=len(rows),
            action=f"nothing that {name} says holds for them; make the set larger where they matter",
        )


def _groups(subject: Subject) -> Iterator[Finding]:
    counts: Mapping[str, int] = Counter(row.group for row in subject.train if row.group)
    if not counts:
        return
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    name, most = order[0]
    share = most / sum(counts.values())
    # A group that has its even share of few groups does not dominate.
    dominant = share >= LARGEST and share >= 3 / len(counts)
    yield Finding(
        check="balance",
        severity=Severity.warning if dominant else Severity.ok,
        text=f"{len(counts):,} groups of {order[-1][1]:,} to {most:,} rows; the largest, '{name}', has {share:.0%}",
        count=most if dominant else 0,
        of=sum(counts.values()),
        action="even them out: +transform=undersample transform.undersample.by=group (docs/imbalance.md)"
        if dominant
        else "",
        numbers={"groups": len(counts), "largest": share},
        bars=[(group, float(count)) for group, count in order[:BARS]],
    )
