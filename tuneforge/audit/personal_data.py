"""Personal data in the rows: e-mail addresses, telephone numbers, cards, accounts, addresses, dates of birth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tuneforge.audit.finding import Finding, Severity, Shown
from tuneforge.audit.subject import Subject
from tuneforge.preparation.personal.kinds import DIRECT
from tuneforge.preparation.personal.recogniser import Recogniser, Unfinished
from tuneforge.preparation.personal.surrogates import harmless
from tuneforge.preparation.personal.texts import texts
from tuneforge.rows import Row

LOOKED_FOR = tuple(kind for kind in DIRECT if kind != "POSTAL_CODE")
"""A postal code alone says of nobody who it is."""
MOST = 10
"""Rows that the finding shows."""


@dataclass
class _Seen:
    """What stands in some rows."""

    rows: int = 0
    hit: int = 0
    """Rows with personal data."""
    examples: int = 0
    """Rows in which all that looks so is reserved for documentation or tests, as example.com is."""
    unread: int = 0
    """Rows in which a pattern took too long."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Kind: rows that hold it."""
    shown: list[Shown] = field(default_factory=list)


def check(subject: Subject) -> Iterable[Finding]:
    """Kinds that reach a person by themselves, in all training and evaluation rows; names are not looked for."""
    recogniser, seen = Recogniser(LOOKED_FOR), _Seen()
    where: Counter[str] = Counter()
    sets = {"training": subject.train} | {f"{held.split}.{held.name}": held.rows for held in subject.held_out}
    for name, rows in sets.items():
        before = seen.hit
        _look(rows, recogniser, seen)
        where[name] = seen.hit - before
    return [_finding(seen, where)]


def _look(rows: Sequence[Row], recogniser: Recogniser, seen: _Seen) -> None:
    for row in rows:
        seen.rows += 1
        try:
            values = list(_values(row, recogniser))
        except Unfinished:
            seen.unread += 1
            continue
        real = [(kind, value) for kind, value in values if not harmless(kind, value)]
        seen.hit += bool(real)
        seen.examples += bool(values) and not real
        seen.kinds.update({kind for kind, _ in real})
        if real and len(seen.shown) < MOST:
            seen.shown.append(Shown(row.place, ", ".join(f"{kind} {masked(value)}" for kind, value in real[:3])))


def _values(row: Row, recogniser: Recogniser) -> Iterator[tuple[str, str]]:
    for text in texts(row.columns):
        for span in recogniser.spans(text):
            yield span.kind, text[span.start : span.end]


def masked(value: str) -> str:
    """The first letter or digit of each run and the marks between them; the ending of a domain stays."""
    ending = re.search(r"@.*(\.\w+)$", value)
    body = value[: ending.start(1)] if ending else value
    return re.sub(r"(\w)\w*", r"\1***", " ".join(body.split())) + (ending[1] if ending else "")


def _finding(seen: _Seen, where: Counter[str]) -> Finding:
    numbers = {kind.lower(): float(n) for kind, n in seen.kinds.items()}
    numbers |= {"rows": float(seen.hit), "examples_only": float(seen.examples), "unread": float(seen.unread)}
    examples = f"; {seen.examples:,} more hold only what is reserved for examples" if seen.examples else ""
    unread = f"; {seen.unread:,} rows could not be read in time" if seen.unread else ""
    if not seen.hit:
        severity = Severity.info if seen.examples or seen.unread else Severity.ok
        text = f"no personal data in {seen.rows:,} rows{examples}{unread} (names are not looked for)"
        return Finding(check="personal_data", severity=severity, text=text, of=seen.rows, numbers=numbers)
    kinds = ", ".join(f"{kind} in {n:,}" for kind, n in seen.kinds.most_common())
    sets = ", ".join(f"{n:,} of {name}" for name, n in where.items() if n)
    return Finding(
        check="personal_data",
        severity=Severity.warning,
        text=f"{seen.hit:,} of {seen.rows:,} rows hold personal data ({sets}): {kinds}{examples}{unread}",
        count=seen.hit,
        of=seen.rows,
        action="+transform=deidentify replaces it in every set; transform.deidentify.mode=drop leaves the rows out",
        rows=seen.shown,
        numbers=numbers,
        bars=seen.kinds.most_common(),
    )
