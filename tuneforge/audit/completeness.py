"""Completeness: fields that only some rows have, rows lost so far, placeholders, answers that break off."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.reading import shown, source
from tuneforge.audit.subject import Subject
from tuneforge.conversation import passages
from tuneforge.rows import Row
from tuneforge.transform.cleaning.complete import cut_off
from tuneforge.transform.incomplete import Incomplete

NAME = "completeness"
SLOT = re.compile(r"\{\{ ?[A-Za-z_]\w* ?\}\}")
"""A template's slot that nobody filled; looked for outside of code."""
LETTER = re.compile(
    r"\[(?:insert|your|my|recipient|company|sender|name|date|address|city)\b[^\]]{0,30}\]", re.IGNORECASE
)
"""A slot that a letter or a form may leave to its reader."""
PROSE = 10
"""Words from which an answer is long enough to tell whether it breaks off."""
MANY = 0.01
"""Share of answers that break off from which it is warned: hh_rlhf has 7 %, alpaca_demo .3 %, others fewer."""


def check(subject: Subject) -> Iterator[Finding]:
    """Fields by source, rows lost in reading, placeholders, slots that nobody filled, answers that break off."""
    yield _fields(subject)
    yield from _lost(subject)
    yield _placeholders(subject)
    yield from _slots(subject)
    yield _broken(subject)


def _fields(subject: Subject) -> Finding:
    """Which columns every row of a source has, and which only some have."""
    held: dict[str, Counter[str]] = defaultdict(Counter)
    sizes: Counter[str] = Counter()
    for row in subject.rows:
        sizes[source(row)] += 1
        held[source(row)].update(_names(row))
    partly = [
        f"{name} in {count:,} of {sizes[key]:,} rows of {key}"
        for key, counts in held.items()
        for name, count in counts.items()
        if count < sizes[key]
    ]
    whole = "; ".join(f"{key}: {', '.join(n for n, c in held[key].items() if c == sizes[key])}" for key in held)
    text = f"every row{subject.drawn} has {whole}" + (f"; only some have {', '.join(partly)}" if partly else "")
    return Finding(check=NAME, severity=Severity.ok, text=text, of=len(subject.rows))


def _names(row: Row) -> Iterator[str]:
    """Columns that hold something, and `system` where a system message opens the conversation."""
    for name, value in row.columns.items():
        if value not in (None, "", []):
            yield name
    opening = row.columns.get("messages") or row.columns.get("prompt")
    if isinstance(opening, list) and opening and opening[0]["role"] == "system":
        yield "a system message"


def _lost(subject: Subject) -> Iterator[Finding]:
    reports = [report for report in subject.sources if report.file or report.split == "train"]  # a share is no source
    read = sum(report.read for report in reports)
    reasons = Counter[str]()
    for report in reports:
        reasons.update(report.reasons)
    if not read:
        return
    lost = reasons.total()
    said = ", ".join(f"{n:,} {why}" for why, n in reasons.most_common(5))
    text = (
        f"{lost:,} of {read:,} rows read could not be used: {said}" if lost else f"all {read:,} rows read can be used"
    )
    severity = Severity.info if lost else Severity.ok
    action = "See them in data/quarantine.jsonl." if lost else ""
    yield Finding(check=NAME, severity=severity, text=text, count=lost, of=read, action=action)


def _placeholders(subject: Subject) -> Finding:
    nothing = {" ".join(text.split()).casefold() for text in Incomplete().placeholders}
    found = [(e.row, e.answer) for e in subject.exchanges if len(e.answer) < 40 and _flat(e.answer) in nothing]
    return Finding(
        check=NAME,
        severity=Severity.warning if found else Severity.ok,
        text=f"{len(found):,} of {len(subject.exchanges):,} answers{subject.drawn} stand for none, such as N/A or TODO"
        if found
        else "no answer is a placeholder",
        count=len(found),
        of=len(subject.exchanges),
        action="Mend these answers at their source, or leave them out: `+transform=incomplete`." if found else "",
        rows=shown(found),
    )


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()


def _slots(subject: Subject) -> Iterator[Finding]:
    texts = [
        (row, passage.text)
        for row in subject.rows
        for passage in passages(row.columns)
        if ("[" in passage.text or "{{" in passage.text) and "```" not in passage.text
    ]
    for pattern, severity, what, action in (
        (SLOT, Severity.warning, "a template's slot that nobody filled",
         "Fill the slots (`{{name}}` will be trained as these very letters), or remove the rows."),
        (LETTER, Severity.info, "a slot for the reader, such as [Your Name]", ""),
    ):  # fmt: skip
        found = [(row, match) for row, text in texts if (match := pattern.search(text))]
        rows = {id(row): row for row, _ in found}
        if found:
            kinds = Counter(match[0] for _, match in found).most_common(4)
            named = ", ".join(f"{kind} {count:,}" for kind, count in kinds)
            yield Finding(
                check=NAME, severity=severity, count=len(rows), of=len(subject.rows), action=action,
                text=f"{what} stands in {len(rows):,} of {len(subject.rows):,} rows{subject.drawn}: {named}",
                rows=shown((row, _around(match)) for row, match in found),
            )  # fmt: skip


def _around(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - 60) : match.end() + 60]


def _broken(subject: Subject) -> Finding:
    long = [one for one in subject.exchanges if one.answer.count(" ") >= PROSE - 1]
    found = [(one.row, f"… {one.answer.rstrip()[-120:]}") for one in long if cut_off(one.answer)]
    many = len(found) >= max(3, MANY * len(long))
    return Finding(
        check=NAME,
        severity=Severity.warning if many else Severity.ok,
        text=f"{len(found):,} of {len(long):,} answers of {PROSE} words and more{subject.drawn} end within a sentence",
        count=len(found),
        of=len(long),
        action="Whoever made them stopped at a limit, and so will the model: complete them, or leave them out with"
        " `+transform=incomplete`."
        if many
        else "",
        rows=shown(found),
    )
