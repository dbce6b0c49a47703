"""How far annotators agree, where the config says that labels are theirs (`audit.annotations`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tuneforge.audit.excerpt import excerpt
from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.reliability import cohen, fleiss, krippendorff
from tuneforge.audit.subject import Subject
from tuneforge.conversation import classes
from tuneforge.preparation.features import subject as about
from tuneforge.rows import Row
from tuneforge.sections import Annotations

TENTATIVE = 0.667
"""Krippendorff's alpha below which no conclusions should be drawn from labels (Krippendorff 2004, page 241)."""

RELIABLE = 0.8
"""Krippendorff's alpha from which labels are reliable."""


class Item(NamedTuple):
    """One text with the labels that people gave it."""

    row: Row
    labels: Sequence[str | None]
    """One of each annotator, in a fixed order where annotators are known."""


def check(subject: Subject) -> Iterable[Finding]:
    """Cohen's or Fleiss' kappa and Krippendorff's alpha; texts on which people differ most."""
    where = subject.run.audit.annotations
    if where is Annotations.none:
        yield _quiet("labels are taken as one person's; audit.annotations says where several people's stand", subject)
        return
    lost = _deduplicated(subject)
    if where is Annotations.rows and lost:
        text = f"not judged: transform.{lost} has dropped rows in which annotators agree"
        action = f"'~transform.{lost}'"
        yield Finding(check="agreement", severity=Severity.warning, text=text, of=len(subject.train), action=action)
        return
    items = _lists(subject.train) if where is Annotations.lists else _rows(subject.train)
    several = [item for item in items if sum(label is not None for label in item.labels) > 1]
    if not several:
        yield _quiet(f"no text has labels of several annotators (audit.annotations={where})", subject)
        return
    yield _finding(several)


def _quiet(text: str, subject: Subject) -> Finding:
    return Finding(check="agreement", severity=Severity.ok, text=text, of=len(subject.train))


def _deduplicated(subject: Subject) -> str:
    """Key of a transform that drops equal rows; empty: none."""
    return next((key for key, part in subject.run.transform.items() if part.name.endswith("dedup")), "")


def _lists(rows: Iterable[Row]) -> list[Item]:
    return [Item(row, list(names)) for row in rows if (names := classes(row.columns)) is not None]


def _rows(rows: Iterable[Row]) -> list[Item]:
    """Rows of one text; the source is the annotator where none labels a text twice, else nobody is known."""
    texts: dict[str, list[tuple[Row, str]]] = defaultdict(list)
    for row in rows:
        for name in classes(row.columns) or ():
            texts[about(row.columns)].append((row, name))
    people = sorted({row.source for told in texts.values() for row, _ in told})
    once = all(len({row.source for row, _ in told}) == len(told) for told in texts.values())
    if not once or len(people) < 2:
        return [Item(told[0][0], [name for _, name in told]) for told in texts.values()]
    said = [(told[0][0], {row.source: name for row, name in told}) for told in texts.values()]
    return [Item(first, [by.get(person) for person in people]) for first, by in said]


def _finding(items: Sequence[Item]) -> Finding:
    ratings = [item.labels for item in items]
    numbers = {"alpha": krippendorff(ratings)}
    if {len(labels) for labels in ratings} == {2}:
        numbers["cohen"] = cohen(ratings)
    if len({sum(label is not None for label in labels) for labels in ratings}) == 1:
        numbers["fleiss"] = fleiss(ratings)
    shown = {"alpha": "Krippendorff's alpha", "cohen": "Cohen's kappa", "fleiss": "Fleiss' kappa"}
    differ = sorted((item for item in items if len(_said(item)) > 1), key=_majority)
    alpha = numbers["alpha"]
    bad = alpha < RELIABLE
    return Finding(
        check="agreement",
        severity=Severity.warning if alpha < TENTATIVE else Severity.info if bad else Severity.ok,
        text=f"annotators differ on {len(differ):,} of {len(items):,} texts; "
        + ", ".join(f"{shown[name]} {value:.2f}" for name, value in numbers.items())
        + (f" (below {TENTATIVE} labels carry no conclusions, from {RELIABLE} they are reliable)" if bad else ""),
        count=len(differ),
        of=len(items),
        action="settle these texts together, write down why, and label again what the rule changes" if bad else "",
        rows=[excerpt(item.row, _votes(item)) for item in differ[:10]],
        numbers={name: value for name, value in numbers.items() if value == value},
    )


def _said(item: Item) -> Counter[str]:
    return Counter(label for label in item.labels if label is not None)


def _majority(item: Item) -> float:
    """Share of the most frequent label: the least first."""
    said = _said(item)
    return max(said.values()) / sum(said.values())


def _votes(item: Item) -> str:
    return ", ".join(f"'{label}' {count}" for label, count in _said(item).most_common())
