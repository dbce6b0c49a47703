"""The classes and tags in a set of rows: their names in order, how many rows each has, and what is odd about them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneforge.conversation import classes
from tuneforge.errors import nearest
from tuneforge.files import write_json
from tuneforge.rows import Loaded, Row

SHOWN = 5
"""Names and places that a warning lists."""
OUTSIDE = "O"
LABELS = "labels.json"
"""Beside an adapter: what the base model's configuration lacks. JSON has made texts of the numbers in id2label."""
_SAVED = ("id2label", "label2id", "problem_type")


def names(found: Iterable[str]) -> list[str]:
    """Each name once, sorted; names that are all whole numbers by value."""
    distinct = set(found)
    numbers = all(name.isascii() and name.removeprefix("-").isdigit() for name in distinct)
    return sorted(distinct, key=lambda name: (int(name) if numbers else 0, name))


def unknown(name: str, known: Sequence[str], kind: str) -> str:
    """Why a row with that class or tag cannot be used."""
    return f"unseen {kind}: '{name}' stands in no training row.{nearest(name, known)}"


def named(columns: Mapping[str, Any], record: str) -> Sequence[str]:
    """The classes or the tags of a row; none for other records."""
    if record == "label":
        return classes(columns) or ()
    return columns["tags"] if record == "tags" else ()


def counted(rows: Iterable[Row], record: str) -> dict[str, int]:
    """Class → rows, or tag → words, the most frequent first."""
    return dict(Counter(name for row in rows for name in named(row.columns, record)).most_common())


def warnings(rows: Sequence[Row], record: str) -> Iterator[str]:
    """What the user must know about the classes or tags of the training rows."""
    if record == "label":
        yield from _about_classes(rows)
    elif record == "tags":
        yield from _about_tags(rows)


def _about_classes(rows: Sequence[Row]) -> Iterator[str]:
    numbers = [row for row in rows if isinstance(row.columns.get("label"), int)]
    if numbers:
        yield f"{len(numbers):,} labels are numbers (the first at {numbers[0].place}); they name their classes as text"
    single = [name for name, n in counted(rows, "label").items() if n == 1]
    if single:
        yield f"{_count(single, 'class')} only one training row: {_listed(single)}; nothing can be learnt from one row"
    seen: dict[str, Row] = {}
    other = [(row, first) for row in rows if (first := _contradicted(row, seen)) is not None]
    if other:
        row, first = other[0]
        yield (
            f"{len(other):,} training rows have the text of an earlier row and another label, the first is"
            f" {row.place} ({_label(row)}; {first.place} says {_label(first)})"
        )


def _contradicted(row: Row, seen: dict[str, Row]) -> Row | None:
    """The first row with the same text, where its classes are others."""
    first = seen.setdefault(" ".join(row.columns["text"].casefold().split()), row)
    return first if set(classes(first.columns) or ()) != set(classes(row.columns) or ()) else None


def _label(row: Row) -> str:
    return ", ".join(classes(row.columns) or ()) or "no class"


def _about_tags(rows: Sequence[Row]) -> Iterator[str]:
    broken = [(row, n) for row in rows if (n := orphans(row.columns["tags"]))]
    if broken:
        words = sum(n for _, n in broken)
        yield (
            f"{words:,} tags of {len(broken):,} training rows continue an entity that does not begin before them (I-"
            f" without B-), the first at {broken[0][0].place}; they are trained as they stand"
        )
    single = [name for name, n in counted(rows, "tags").items() if n == 1]
    if single:
        yield f"{_count(single, 'tag')} only one word in the training rows: {_listed(single)}"


def orphans(tags: Sequence[str]) -> int:
    """How many `I-X` follow neither `B-X` nor `I-X`: no valid BIO. 0 where no tag begins with `B-` or `I-`."""
    before = [OUTSIDE, *tags[:-1]]
    return sum(
        tag.startswith("I-") and prior not in (tag, f"B-{tag[2:]}") for prior, tag in zip(before, tags, strict=True)
    )


def save_labels(folder: Path, loaded: Loaded) -> None:
    """labels.json beside an adapter. A whole model has its classes in config.json, which an adapter must not bring."""
    if (folder / "adapter_config.json").is_file():
        content = {name: getattr(loaded.model.config, name, None) for name in _SAVED}
        write_json(folder / LABELS, {name: value for name, value in content.items() if value is not None})


def load_labels(folder: Path) -> dict[str, Any]:
    """What a saved model or adapter says of its classes, as options for `from_pretrained`; empty where it has none."""
    path = next((p for name in (LABELS, "config.json") if (p := folder / name).is_file()), None)
    content = json.loads(path.read_text(encoding="utf-8")) if path else {}
    found = {name: content[name] for name in _SAVED if content.get(name) is not None}
    if "id2label" in found:
        found["id2label"] = {int(i): name for i, name in found["id2label"].items()}
    return found


def _count(found: Sequence[str], what: str) -> str:
    several = "classes" if what == "class" else f"{what}s"
    return f"1 {what} has" if len(found) == 1 else f"{len(found):,} {several} have"


def _listed(found: Sequence[str]) -> str:
    more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    return ", ".join(f"'{name}'" for name in found[:SHOWN]) + more
