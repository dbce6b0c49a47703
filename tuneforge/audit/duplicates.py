"""Rows that stand in the data more than once: in training, in an evaluation set, in two evaluation sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, islice
from typing import NamedTuple

from tuneforge.audit.finding import Finding, Severity, Shown
from tuneforge.audit.subject import Subject
from tuneforge.preparation import compared, signature
from tuneforge.preparation.near import Search
from tuneforge.preparation.shingles import Shingling, jaccard
from tuneforge.preparation.view import View
from tuneforge.rows import HeldOut, Row

SHOWN = 10
NEAR = 0.8
"""Similarity of near rows: Jaccard's, of runs of five characters, as transform=near_dedup takes it."""
FEW = 0.03
"""Share of near rows below which they are only told: the least of the sets that Lee et al. (2022) cleaned."""


class Pairs(NamedTuple):
    """Rows, and for each an earlier one that it repeats."""

    rows: Sequence[Row]
    kept: Sequence[Row]


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
    rows = subject.train
    if wanted:
        rows = View(rows, [place for place, row in enumerate(rows) if not wanted & set(row.history)])
    pairs = _repeated(rows)
    if pairs.rows:
        yield _finding(
            Severity.warning,
            f"{len(pairs.rows):,} of {len(rows):,} training rows repeat an earlier one{_sources(pairs)}",
            pairs,
            len(rows),
            "+transform=exact_dedup drops them; data.NAME.weight is how to see rows more often",
        )


def _near_in_training(subject: Subject) -> Iterator[Finding]:
    rows = list({signature.content(row.columns): row for row in reversed(subject.sample)}.values())[::-1]
    search = _search(rows, subject.run.seed)
    near = [one for one in search.near() if not other_question(rows[one.text], rows[one.kept])]
    if near:
        pairs = Pairs([rows[one.text] for one in near], [rows[one.kept] for one in near])
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
    name, pairs = f"{held.split}.{held.name}", _repeated(held.rows)
    if pairs.rows:
        of = len(held.rows)
        text = f"{len(pairs.rows):,} of {of:,} rows of {name} repeat an earlier one and count again in its metrics"
        yield _finding(Severity.warning, text, pairs, len(held.rows), "take them out of the set")


def _across(one: HeldOut, other: HeldOut) -> Iterator[Finding]:
    first = {signature.content(row.columns): row for row in one.rows}
    found = [(row, first[key]) for row in other.rows if (key := signature.content(row.columns)) in first]
    if found:
        names = f"{one.split}.{one.name} and {other.split}.{other.name}"
        chosen = ": prompts are chosen on rows that decide the verdict" if one.split != other.split else ""
        text = f"{len(found):,} rows stand in {names}{chosen}"
        pairs = Pairs([row for row, _ in found], [kept for _, kept in found])
        yield _finding(Severity.warning, text, pairs, len(other.rows), "take them out of one of the sets")


def other_question(row: Row, other: Row) -> bool:
    """Whether two rows that share a long passage ask different things about it."""
    asked = [compared.question(one.columns) for one in (row, other)]
    shingles = [Shingling().of(text) for text in asked]
    return all(asked) and jaccard(*shingles) < NEAR


def _repeated(rows: Sequence[Row]) -> Pairs:
    """By eight bytes of a hash of each row, so that rows need not be in memory."""
    import numpy as np

    hashes = np.fromiter((int.from_bytes(signature.content(row.columns)[:8]) for row in rows), np.uint64, len(rows))
    first, group = np.unique(hashes, return_index=True, return_inverse=True)[1:]
    earlier = first[group]
    later = np.flatnonzero(earlier != np.arange(len(rows)))
    return Pairs(View(rows, later.tolist()), View(rows, earlier[later].tolist()))


def _search(rows: Sequence[Row], seed: int) -> Search:
    """As transform=near_dedup looks for them."""
    return Search(
        len(rows), lambda at: compared.text(rows[at].columns), NEAR, seed=seed,
        kind=lambda at: repr(rows[at].columns.get("label")),
    )  # fmt: skip


def _sources(pairs: Pairs) -> str:
    counts = Counter(row.source for row in pairs.rows)
    return f": {', '.join(f'{name} {n:,}' for name, n in counts.most_common())}" if set(counts) - {""} else ""


def _finding(severity: Severity, text: str, pairs: Pairs, of: int, action: str, alike: Sequence[float] = ()) -> Finding:
    rows = [
        Shown(row.place, f"{f'{alike[n]:.0%} of ' if alike else 'repeats '}{kept.place}: {excerpt(row)}")
        for n, (row, kept) in enumerate(islice(zip(pairs.rows, pairs.kept, strict=True), SHOWN))
    ]
    return Finding(
        check="duplicates", severity=severity, text=text, count=len(pairs.rows), of=of, action=action, rows=rows,
        numbers={"share": len(pairs.rows) / of},
    )  # fmt: skip


def excerpt(row: Row, limit: int = 160) -> str:
    """How a row begins, in one line."""
    return " ".join(compared.text(row.columns).split())[:limit]
