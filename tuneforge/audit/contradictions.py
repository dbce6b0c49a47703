"""Rows that ask the same and answer differently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from tuneforge.audit.duplicates import excerpt, other_question
from tuneforge.audit.finding import Finding, Severity, Shown
from tuneforge.audit.subject import Subject
from tuneforge.conversation import answer_text, classes
from tuneforge.preparation import compared, signature
from tuneforge.preparation.near import Search
from tuneforge.rows import Row

SHOWN = 10
SHORT = 8
"""Words up to which an answer is one of few right ones; longer ones may be told in many ways."""
NEAR = 0.9
"""Similarity of prompts that ask nearly the same: Jaccard's, of runs of five characters."""
FEW = 0.005
"""Share of nearly equal prompts with other answers that is only told: some are other questions."""


class Said(NamedTuple):
    """What a row says to what it is asked."""

    asked: bytes
    """Signature of what is asked, case and whitespace aside."""
    answer: str
    """As it is compared."""
    shown: str
    short: bool
    """Whether only one answer can be right: classes, tags, few words."""


class Conflict(NamedTuple):
    """A row, and the first that answers the same differently."""

    row: Row
    said: Said
    other: Row
    before: Said


def check(subject: Subject) -> Iterable[Finding]:
    """A warning for labels and short answers that contradict each other and preferences that reverse; else told."""
    found = list(_conflicts(subject.rows))
    short = [one for one in found if one.said.short and one.before.short]
    long = [one for one in found if not (one.said.short and one.before.short)]
    findings = [*_answers(short, len(subject.rows)), *_open(long, len(subject.rows)), *_reversed(subject.rows)]
    findings += _nearly(subject)
    if not any(one.severity is Severity.warning for one in findings):
        text = f"no label or short answer among {len(subject.rows):,} training rows contradicts another{subject.drawn}"
        findings.insert(0, Finding(check="contradictions", severity=Severity.ok, text=text, of=len(subject.rows)))
    return findings


def said(columns: Mapping[str, Any]) -> Said | None:
    """What the row says; None of documents, pairs and preferences."""
    if columns.get("chosen") is not None or columns.get("anchor") is not None:
        return None
    turn = next(iter(list(signature.turns(columns))[-1:]), None)
    if turn is None:
        return None
    told = classes(columns)
    if told is not None:
        return Said(turn.whole, "\0".join(sorted(told)), ", ".join(told), True)
    if columns.get("tags") is not None:
        tags = " ".join(map(str, columns["tags"]))
        return Said(turn.whole, tags, tags, True)
    if isinstance(columns.get("label"), bool):
        wanted = "wanted" if columns["label"] else "not wanted"
        return Said(turn.whole, wanted, wanted, True)
    answer = answer_text(columns)
    bare = signature.bare(answer) or answer.strip()
    return Said(turn.prompt, bare, answer, len(bare.split()) <= SHORT) if answer and turn.prompt else None


def _conflicts(rows: Sequence[Row]) -> Iterator[Conflict]:
    """Every row whose answer is not that of the first row that is asked the same."""
    first: dict[bytes, tuple[Row, Said]] = {}
    for row in rows:
        told = said(row.columns)
        if told is None:
            continue
        other, before = first.setdefault(told.asked, (row, told))
        if before.answer != told.answer:
            yield Conflict(row, told, other, before)


def _answers(found: Sequence[Conflict], of: int) -> Iterator[Finding]:
    if found:
        prompts = len({one.said.asked for one in found})
        text = (
            f"{len(found):,} of {of:,} training rows contradict an earlier one: another label or short answer to the "
        )
        text += f"same question or text ({prompts:,} of them)"
        labelled = any(found[0].row.columns.get(name) is not None for name in ("label", "tags"))
        keep = "" if labelled else ", or keep one of each: +transform=near_dedup transform.near_dedup.compare=prompt"
        yield _finding(Severity.warning, text, found, of, f"correct them{keep}", prompts)


def _open(found: Sequence[Conflict], of: int) -> Iterator[Finding]:
    if found:
        prompts = len({one.said.asked for one in found})
        text = f"{len(found):,} of {of:,} training rows answer the prompt of an earlier one in other words, at length "
        text += f"({prompts:,} prompts): there may be many right answers"
        yield _finding(Severity.info, text, found, of, "", prompts)


def _reversed(rows: Sequence[Row]) -> Iterator[Finding]:
    """Preferences of which one chooses what another rejects."""
    chosen: dict[tuple[bytes, str], Row] = {}
    pairs = [row for row in rows if row.columns.get("chosen") is not None and row.columns.get("prompt") is not None]
    for row in pairs:
        chosen.setdefault(_side(row, "chosen"), row)
    found = [(row, chosen[key]) for row in pairs if (key := _side(row, "rejected")) in chosen]
    if found:
        yield Finding(
            check="contradictions",
            severity=Severity.warning,
            text=f"{len(found):,} of {len(pairs):,} preferences reject what another chooses for the same prompt",
            count=len(found),
            of=len(pairs),
            action="correct them, or leave both out",
            rows=[Shown(r.place, f"rejects what {o.place} chooses: {excerpt(r)}") for r, o in found[:SHOWN]],
            numbers={"reversed": len(found)},
        )


def _side(row: Row, side: str) -> tuple[bytes, str]:
    turn = next(signature.turns({"prompt": row.columns["prompt"]}))
    return turn.prompt, signature.folded(answer_text(row.columns, side))


def _nearly(subject: Subject) -> Iterator[Finding]:
    """Nearly the same prompt, the same numbers, another label or short answer; in the sample."""
    some = ((row, said(row.columns)) for row in subject.sample if _asks(row.columns))
    rows = [(row, told) for row, told in some if told is not None and told.short]
    asked = [compared.text(row.columns, compared.Part.prompt) for row, _ in rows]
    found = []
    for near in Search(len(rows), asked.__getitem__, NEAR, seed=subject.run.seed).near():
        (row, told), (other, before) = rows[near.text], rows[near.kept]
        same = told.asked == before.asked or told.answer == before.answer
        same = same or other_question(row, other)
        if not same and _numbers(asked[near.text]) == _numbers(asked[near.kept]):
            found.append(Conflict(row, told, other, before))
    if found:
        many = len(found) >= FEW * len(rows)
        text = (
            f"{len(found):,} of {len(rows):,} rows are asked nearly what an earlier one is, and have another label or "
        )
        text += "short answer"
        action = "look whether they ask the same" if many else ""
        yield _finding(Severity.warning if many else Severity.info, text, found, len(rows), action, len(found))


def _asks(columns: Mapping[str, Any]) -> bool:
    """Tags belong to the very words, and whether an answer is wanted to the very answer."""
    return columns.get("tags") is None and not isinstance(columns.get("label"), bool)


def _numbers(text: str) -> list[str]:
    return sorted(word for word in signature.bare(text).split() if any(c.isdigit() for c in word))


def _finding(severity: Severity, text: str, found: Sequence[Conflict], of: int, action: str, prompts: int) -> Finding:
    rows = [
        Shown(
            one.row.place, f"{_quoted(one.said)}, but {one.other.place} says {_quoted(one.before)}: {excerpt(one.row)}"
        )
        for one in islice(found, SHOWN)
    ]
    return Finding(
        check="contradictions", severity=severity, text=text, count=len(found), of=of, action=action, rows=rows,
        numbers={"prompts": prompts, "rows": len(found)},
    )  # fmt: skip


def _quoted(told: Said) -> str:
    text = " ".join(told.shown.split())
    return f"'{text if len(text) <= 60 else text[:59] + '…'}'"
