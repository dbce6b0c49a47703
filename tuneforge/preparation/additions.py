"""Rows that a transform makes of other rows: where they come from, and which classes they even out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from fractions import Fraction
from math import ceil, floor
from statistics import median
from typing import TYPE_CHECKING, Any

from tuneforge.components import Context, Transform
from tuneforge.errors import ConfigError
from tuneforge.rows import Row

if TYPE_CHECKING:
    from tuneforge.settings import Run


LISTED = 12
"""Classes up to which the report of a transform lists each."""
SIDES = ("before", "after")


class By(StrEnum):
    """What says which class a row belongs to."""

    label = "label"
    group = "group"
    task = "task"


class Places:
    """Numbers for rows that are made of others, so that no two rows bear one place: `12+1`, `12+2`."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._taken = {(row.source, row.file, str(row.line)) for row in rows}

    def made(self, row: Row, sign: str, columns: Mapping[str, Any] | None = None) -> Row:
        """The row once more, or with other columns, at the next free place after its own."""
        number = 1
        while (row.source, row.file, f"{row.line}{sign}{number}") in self._taken:
            number += 1
        line = f"{row.line}{sign}{number}"
        self._taken.add((row.source, row.file, line))
        return replace(row, line=line, columns=row.columns if columns is None else columns)


def by_class(rows: Sequence[Row], by: By) -> dict[str, list[int]]:
    """Class → places of its rows, in order; rows without one are left out.

    A row with several labels belongs to the rarest of them, the first in alphabetical order where two are as rare.
    """
    named = [_named(row, by) for row in rows]
    sizes: dict[str, int] = {}
    for names in named:
        for name in names:
            sizes[name] = sizes.get(name, 0) + 1
    found: dict[str, list[int]] = {}
    for place, names in enumerate(named):
        if names:
            found.setdefault(min(names, key=lambda name: (sizes[name], name)), []).append(place)
    return found


def _named(row: Row, by: By) -> list[str]:
    if by is not By.label:
        name = row.group if by is By.group else row.task
        return [name] if name else []
    label = row.columns.get("label")
    if label is None:
        return []
    return [str(one) for one in label] if isinstance(label, Sequence) and not isinstance(label, str) else [str(label)]


def require_classes(name: str, by: By, classes: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """ConfigError where no row has a class."""
    if rows and not classes:
        others = ", ".join(f"by={other}" for other in By if other is not by)
        raise ConfigError(f"transform.{name}.by={by}: none of the {len(rows):,} rows has a {by} ({others} are others)")


def size_wanted(to: str, sizes: Sequence[int], over: bool) -> int:
    """Rows that every class is to have at least (`over`), or at most. ValueError for what is no size.

    A ratio is that of the smallest class to the largest afterwards.
    """
    words: dict[str, Callable[[Sequence[int]], float]] = {"largest": max, "median": median, "smallest": min}
    if to in words:
        return int(words[to](sizes))
    number = Fraction(to)
    if number >= 1 and number.denominator == 1:
        return int(number)
    if not 0 < number < 1:
        raise ValueError(to)
    return ceil(number * max(sizes)) if over else floor(min(sizes) / number)


def wrong_size(name: str, to: str, words: tuple[str, ...]) -> Iterator[str]:
    """Why `to` is no size for that transform."""
    try:
        size_wanted(to, [1], over=True)
        wrong = to.isalpha() and to not in words
    except (ValueError, ZeroDivisionError):
        wrong = True
    if wrong:
        yield f"transform.{name}.to={to} must be {', '.join(words)}, a whole number, or a ratio between 0 and 1"


def dropped_behind(part: Transform, run: Run, kinds: Sequence[str]) -> Iterator[str]:
    """Transforms of these names that stand after the part and would drop the rows that it adds."""
    mine = False
    for key, other in run.transform.items():
        mine |= other is part
        if mine and other.name in kinds:
            yield f"transform.{key} stands after {part.name} and would drop what it adds; name it before"


def count(context: Context, name: str, sizes: Mapping[str, tuple[int, int]], without: int, by: By) -> None:
    """Into the report of the transform: rows of each class before and after, of many classes the ends alone.

    A note has those of all classes, for run.json.
    """
    before, after = ([size[side] for size in sizes.values()] for side in (0, 1))
    if without:
        context.counts[f"rows without {by}"] += without
    ends = {"smallest class": (min(before), min(after)), "largest class": (max(before), max(after))}
    for what, (old, new) in (sizes if len(sizes) <= LISTED else ends).items():
        context.counts[f"{what}: before"] += old
        context.counts[f"{what}: after"] += new
    numbers = {f"{side}.{what}": n for what, both in sizes.items() for side, n in zip(SIDES, both, strict=True)}
    context.note(
        f"{name} by {by}: {len(sizes):,} classes of {min(before):,} to {max(before):,} rows have {min(after):,} to"
        f" {max(after):,}",
        **numbers,
    )


def repeats(places: Sequence[int], size: int, seed: str) -> dict[int, int]:
    """Place → copies to be added, so that there are `size` rows: all alike, and one more of a seeded choice."""
    whole, rest = divmod(size - len(places), len(places))
    chosen = set(random.Random(seed).sample(list(places), rest))
    return {place: whole + (place in chosen) for place in places}
