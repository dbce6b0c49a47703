"""Rows that stand in the data more than once: in training, in an evaluation set, in two evaluation sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from tuneforge.audit.finding import Finding, Severity, Shown
from tuneforge.audit.subject import Subject
from tuneforge.preparation import compared, signature
from tuneforge.preparation.near import Search
from tuneforge.preparation.shingles import Shingling, jaccard
from tuneforge.rows import HeldOut, Row

SHOWN = 10
NEAR = 0.8
"""Similarity of near rows: Jaccard's, of runs of five characters, as transform=near_dedup takes it."""
FEW = 0.03
"""Share of near rows below which they are only told: the least of the sets that Lee et al. (2022) cleaned."""

Pair = tuple[Row, Row]
"""A row, and an earlier one that it repeats."""


def check(subject: Subject) -> Iterable[Finding]:
    """Equal and nearly equal rows, by source, and what drops them."""
    found = [*_equal_in_training(subject), *_near_in_training(subject)]
    for held in subject.held_out:
        found += _in_set(held)
    for one, other in combinations(subject.held_out, 2):
        found += _across(one, other)
    if not any(one.severity is Severity.warning for one in found):
        of = len(subject.train) + sum(len(held.rows) for held in subject.held_out)
        found.insert(0, Finding(check="duplicates", severity=Severity.ok, text=f"no row of {of:,} stands twice", of=of))
    return found


def _equal_in_training(subject: Subject) -> Iterator[Finding]:
    wanted = {key for key, component in subject.run.transform.items() if component.name == "oversample"}
    rows = [row for row in subject.train if not wanted & set(row.history)]
    pairs = list(_repeated(rows))
    if pairs:
        yield _finding(
            Severity.warning,
            f"{len(pairs):,} of {len(rows):,} training rows repeat an earlier one{_sources(pairs)}",
            pairs,
            len(rows),
            "+transform=exact_dedup drops them; data.NAME.weight is how to see rows more often",
        )


def _near_in_training(subject: Subject) -> Iterator[Finding]:
    rows = list({signature.content(row.columns): row for row in reversed(subject.sample)}.values())[::-1]
    search = _search(rows, subject.run.seed)
    near = [one for one in search.near() if not other_question(rows[one.text], rows[one.kept])]
    if near:
        pairs = [(rows[one.text], rows[one.kept]) for one in near]
        share = len(near) / len(rows)
        found = f"{'at least ' if search.limited else ''}{len(near):,} of {len(rows):,} different training rows"
        sampled = " of a sample" if len(subject.sample) < len(subject.train) else ""
        yield _finding(
            Severity.warning if share >= FEW else Severity.info,
            f"{found}{sampled} ({share:.1%}) are nearly an earlier one{_sources(pairs)}",
            pairs,
            len(rows),
            "+transform=near_dedup keeps one of each, if the rows below tell the same" if share >= FEW else "",
            [one.similarity for one in near],
        )


def _in_set(held: HeldOut) -> Iterator[Finding]:
    name, pairs = f"{held.split}.{held.name}", list(_repeated(held.rows))
    if pairs:
        of = len(held.rows)
        text = f"{len(pairs):,} of {of:,} rows of {name} repeat an earlier one and count again in its metrics"
        yield _finding(Severity.warning, text, pairs, len(held.rows), "take them out of the set")


def _across(one: HeldOut, other: HeldOut) -> Iterator[Finding]:
    first = {signature.content(row.columns): row for row in one.rows}
    pairs = [(row, first[key]) for row in other.rows if (key := signature.content(row.columns)) in first]
    if pairs:
        names = f"{one.split}.{one.name} and {other.split}.{other.name}"
        chosen = ": prompts are chosen on rows that decide the verdict" if one.split != other.split else ""
        text = f"{len(pairs):,} rows stand in {names}{chosen}"
        yield _finding(Severity.warning, text, pairs, len(other.rows), "take them out of one of the sets")


def other_question(row: Row, other: Row) -> bool:
    """Whether two rows that share a long passage ask different things about it."""
    asked = [compared.question(one.columns) for one in (row, other)]
    shingles = [Shingling().of(text) for text in asked]
    return all(asked) and jaccard(*shingles) < NEAR


def _repeated(rows: Iterable[Row]) -> Iterator[Pair]:
    first: dict[bytes, Row] = {}
    for row in rows:
        kept = first.setdefault(signature.content(row.columns), row)
        if kept is not row:
            yield row, kept


def _search(rows: Sequence[Row], seed: int) -> Search:
    """As transform=near_dedup looks for them."""
    return Search(
        len(rows), lambda at: compared.text(rows[at].columns), NEAR, seed=seed,
        kind=lambda at: repr(rows[at].columns.get("label")),
    )  # fmt: skip


def _sources(pairs: Sequence[Pair]) -> str:
    counts = Counter(row.source for row, _ in pairs)
    return f": {', '.join(f'{name} {n:,}' for name, n in counts.most_common())}" if set(counts) - {""} else ""


def _finding(
    severity: Severity, text: str, pairs: Sequence[Pair], of: int, action: str, alike: Sequence[float] = ()
) -> Finding:
    rows = [
        Shown(row.place, f"{f'{alike[n]:.0%} of ' if alike else 'repeats '}{kept.place}: {excerpt(row)}")
        for n, (row, kept) in enumerate(pairs[:SHOWN])
    ]
    return Finding(
        check="duplicates", severity=severity, text=text, count=len(pairs), of=of, action=action, rows=rows,
        numbers={"share": len(pairs) / of},
    )  # fmt: skip


def excerpt(row: Row, limit: int = 160) -> str:
    """How a row begins, in one line."""
    return " ".join(compared.text(row.columns).split())[:limit]
