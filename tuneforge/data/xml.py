"""Rows from XML files."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from tuneforge.components import Context, DataSource
from tuneforge.data.elements import Elements
from tuneforge.data.files import Input, inputs, read_files
from tuneforge.errors import ConfigError, nearest
from tuneforge.rows import Kept, Rejected

LOOKED_AT = 200
"""Files that are looked at to see which element repeats."""


@dataclass(kw_only=True)
class Xml(DataSource):
    """XML: one row of each element of one name, its parts as columns; also gzipped, and files in an archive.

    Columns are the leaf elements below it (`Question`, deeper ones `Meta.Date`; a list where one repeats), its
    attributes (`@pid`, `Question.@qid`), and of the elements around it the attributes and the leaves that stand before
    it (`Document.@url`, `Document.Focus`). Entities that a file declares are refused, external ones never read.
    `line` is the line on which the element begins.
    """

    name: ClassVar[str] = "xml"
    suffixes: ClassVar[tuple[str, ...]] = ("xml",)

    item: str | None = None
    """The element that is a row; null: the one with elements in it that occurs most, said aloud."""

    def read(self, context: Context) -> Kept:
        """Rows as they stand; where a file breaks off, the rows before are kept and one is rejected with the line."""
        item = self.item or self._repeated(context)
        seen: Counter[str] = Counter()
        files: Counter[str] = Counter()

        def rows(given: Input) -> Kept:
            elements = Elements(given.name, item)
            for row in elements.rows(given.file):
                files["broken"] += isinstance(row, Rejected)
                yield row
            seen.update(elements.seen)
            files["without"] += item not in elements.seen

        yield from read_files(self.path, self.suffixes, context, rows)
        if item not in seen and not files["broken"]:
            known = ", ".join(name for name, _ in seen.most_common(8))
            raise ConfigError(f"{self.path} has no element <{item}> (it has {known}).{nearest(item, seen)}")
        if files["without"]:
            context.note(f"{self.path}: {files['without']:,} files hold no <{item}>")

    def _repeated(self, context: Context) -> str:
        """The element with elements in it that occurs most, among the first files."""
        parents: Counter[str] = Counter()
        seen: Counter[str] = Counter()
        for given in islice(inputs(self.path, self.suffixes, Counter()), LOOKED_AT):
            if isinstance(given, Input):
                elements = Elements(given.name, "")
                with suppress(ConfigError):  # said when it is read
                    deque(elements.rows(given.file), maxlen=0)
                parents += elements.parents
                seen += elements.seen
        item, count = _most(parents, seen)
        context.note(f"{self.path}: one row per <{item}>, which occurs {count:,} times (item={item})")
        return item


def _most(parents: Mapping[str, int], seen: Mapping[str, int]) -> tuple[str, int]:
    """(element, count): what repeats and has elements in it; else what repeats; else the innermost with elements."""
    for counts in (parents, seen):
        item = max(counts, key=lambda name: counts[name], default="")
        if item and counts[item] > 1:
            return item, counts[item]
    return ([*seen, *parents] or [""])[-1], 1
