"""Formats: what answers look like, whether one task mixes formats, and whether classes are written alike."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tuneforge.audit.finding import Finding, Severity, Shown
from tuneforge.audit.reading import Exchange, shown, source
from tuneforge.audit.subject import Subject
from tuneforge.conversation import classes
from tuneforge.rows import Row

NAME = "formats"
MOST = 0.8
"""Share from which a format is the format of a task: the real sets with a format have it in 93 % and more of their
answers (text2cypher, gsm8k, truthfulqa_judge), those without in 55 % at most."""
FEW = 20
"""Answers below which a source has no format to speak of."""
STRICT = ("json", "number", "letter", "yes or no", "xml")
"""Formats that a program reads: one answer of another kind breaks it."""
NUMBER = re.compile(r"[-+]?[$€£]?\s?\d[\d,.\s]*\s?[%€$]?\.?")
LETTER = re.compile(r"\(?[A-Ha-h]\)?[.):]?")
YES_NO = re.compile(r"(?:yes|no|true|false|maybe)[.!]?", re.IGNORECASE)
ITEM = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+\S", re.MULTILINE)
CODE = re.compile(
    r"```|^\s*(?:def |class |import |from \w+ import|public |function |#include|SELECT |MATCH |<\?php|var |const )",
    re.MULTILINE,
)
MARKDOWN = re.compile(r"^#{1,6} [^\W\d]|\*\*[^*\n]+\*\*|^\|.+\|\s*$|\[[^\]]+\]\(https?://", re.MULTILINE)
XML = re.compile(r"<(\w+)[^>]*>.*</\1>\s*$", re.DOTALL)


def kind(answer: str) -> str:
    """The format of an answer: json, xml, code, number, letter, yes or no, word, list, markdown or prose."""
    text = answer.strip()
    if text[:1] in ("{", "[") and _is_json(text):
        return "json"
    if text[:1] == "<" and XML.match(text):
        return "xml"
    if len(text) < 24:
        for name, pattern in (("yes or no", YES_NO), ("number", NUMBER), ("letter", LETTER)):
            if pattern.fullmatch(text):
                return name
    if CODE.search(text):
        return "code"
    if not re.search(r"\s", text):
        return "word"
    if len(ITEM.findall(text)) >= 2:
        return "list"
    return "markdown" if MARKDOWN.search(text) else "prose"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def check(subject: Subject) -> Iterator[Finding]:
    """Formats of answers by source, the answers that leave the format of their task, how classes are written."""
    by_task: dict[str, list[Exchange]] = defaultdict(list)
    for one in subject.exchanges:
        by_task[source(one.row) + (f" ({one.row.task})" if one.row.task else "")].append(one)
    for task, found in by_task.items():
        yield from _task(task + subject.drawn, found)
    written = Counter(name for row in subject.rows for name in classes(row.columns) or ())
    if written:
        yield from _classes(written, subject.rows)
    if not by_task and not written:
        yield Finding(check=NAME, severity=Severity.ok, text="no answers or classes whose format could differ")


def _task(task: str, found: Sequence[Exchange]) -> Iterator[Finding]:
    kinds = [kind(one.answer) for one in found]
    counts = Counter(kinds)
    common, times = counts.most_common(1)[0]
    said = ", ".join(f"{name} {count / len(found):.0%}" if count >= 0.005 * len(found) else f"{name} {count:,}"
                     for name, count in counts.most_common(5))  # fmt: skip
    others = [(one.row, f"{other}: {one.answer}") for one, other in zip(found, kinds, strict=True) if other != common]
    mixed = bool(others) and common in STRICT and times >= MOST * len(found) >= MOST * FEW
    yield Finding(
        check=NAME,
        severity=Severity.warning if mixed else Severity.ok,
        text=f"answers of {task} are {said}" + (f": {len(others):,} leave the format of their task" if mixed else ""),
        count=len(others) if mixed else 0,
        of=len(found),
        action=f"Write these answers as {common} too, or give them a source of their own, so that one prompt has one"
        " format." if mixed else "",
        rows=shown(others) if mixed else (),
        bars=[(name, count) for name, count in counts.most_common()],
    )  # fmt: skip
    yield from _parts(task, found, kinds)


def _parts(task: str, found: Sequence[Exchange], kinds: Sequence[str]) -> Iterator[Finding]:
    """What a format consists of: the keys of JSON objects, how the last line begins, blanks at the edges."""
    keyed = [(one, _keys(one.answer)) for one, name in zip(found, kinds, strict=True) if name == "json"]
    yield from _rare(task, "JSON objects", "have the keys {0}", keyed)
    last = [(one, _closing(one.answer)) for one, name in zip(found, kinds, strict=True) if name in ("prose", "list")]
    yield from _rare(
        task, "answers", "close with a line that begins with {0}", [(one, c) for one, c in last], marks=True
    )
    blank = [(one.row, repr(one.answer[:40])) for one in found if one.answer[:1].isspace()]
    if 0 < len(blank) < len(found):
        yield Finding(
            check=NAME, severity=Severity.warning, text=f"{len(blank):,} of {len(found):,} answers of {task} begin"
            " with a blank, the others do not", count=len(blank), of=len(found), rows=shown(blank),
            action="Take the blanks away, the first token of an answer depends on them: `+transform=normalize`"
            " `transform.normalize.strip=true`."
        )  # fmt: skip


def _rare(
    task: str, what: str, how: str, found: Sequence[tuple[Exchange, str]], marks: bool = False
) -> Iterator[Finding]:
    """A part that most answers share, and those that differ in it."""
    counts = Counter(part for _, part in found)
    if len(found) < FEW or len(counts) < 2:
        return
    common, times = counts.most_common(1)[0]
    if times < MOST * len(found) or (marks and not common):
        return
    others = [
        (one.row, one.answer if not marks else "… " + one.answer.strip()[-120:]) for one, p in found if p != common
    ]
    yield Finding(
        check=NAME,
        severity=Severity.warning,
        text=f"{times:,} of {len(found):,} {what} of {task} {how.format(common)}; {len(others):,} do not",
        count=len(others),
        of=len(found),
        action="Write them alike, or remove those that differ: the model leaves the format as often as they do.",
        rows=shown(others),
    )


def _keys(answer: str) -> str:
    made = json.loads(answer)
    return ", ".join(sorted(made)) if isinstance(made, dict) else type(made).__name__


def _closing(answer: str) -> str:
    """The mark before the last line of several: `####`, `Answer:`; empty where a word stands there."""
    lines = answer.strip().split("\n")
    first = lines[-1].split(maxsplit=1)[0] if len(lines) > 1 and lines[-1].strip() else ""
    return first if first.endswith(":") or (first and not re.search(r"\w", first) and first not in "-*•") else ""


def _classes(written: Counter[str], rows: Sequence[Row]) -> Iterator[Finding]:
    """Classes that are one name written twice, and those written in another style than nearly all."""
    folded: dict[str, list[str]] = defaultdict(list)
    for name in written:
        folded[re.sub(r"[\W_]+", " ", name.casefold()).strip()].append(name)
    twice = [sorted(names) for names in folded.values() if len(names) > 1]
    if twice:
        named = [name for names in twice for name in names]
        yield Finding(
            check=NAME, severity=Severity.warning, count=sum(written[name] for name in named), of=len(rows),
            text=f"{len(twice):,} classes are written in several ways: {'; '.join(' / '.join(n) for n in twice[:5])}",
            action="Write each class in one way at the source: the model is trained to tell them apart.",
            rows=_examples(named, rows),
        )  # fmt: skip
    styles = {name: _style(name) for name in written}
    common, times = Counter(styles.values()).most_common(1)[0]
    odd = [name for name in written if styles[name] != common]
    if odd and times >= MOST * len(written) and len(written) >= 10:
        yield Finding(
            check=NAME, severity=Severity.warning, count=sum(written[name] for name in odd), of=len(rows),
            text=f"{len(odd):,} of {len(written):,} classes are written in another style: {', '.join(odd[:5])};"
            f" the others are {common}",
            action="Harmless for a classification head; where the model writes the class out, rename them.",
            rows=_examples(odd, rows), bars=[(name, written[name]) for name in odd],
        )  # fmt: skip
    if not twice and not (odd and times >= MOST * len(written) and len(written) >= 10):
        yield Finding(
            check=NAME, severity=Severity.ok, text=f"{len(written):,} classes are written alike", of=len(rows)
        )


def _style(name: str) -> str:
    letters = "lower case" if name == name.lower() else "upper case" if name == name.upper() else "mixed case"
    marks = sorted({"words" if c == " " else c for c in name if not c.isalnum() and c not in "_-"})
    return letters + (f" with {' '.join(marks)}" if marks else "")


def _examples(names: Iterable[str], rows: Sequence[Row]) -> list[Shown]:
    first: dict[str, Row] = {}
    for row in rows:
        for name in classes(row.columns) or ():
            first.setdefault(name, row)
    return shown((first[name], f"{name}: {first[name].columns['text']}") for name in names)
