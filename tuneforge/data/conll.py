"""Rows from CoNLL files: a word and its tag on each line, blank lines between sentences."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from tuneforge.components import Context, DataSource
from tuneforge.data.files import Input, read_files
from tuneforge.data.reading import MAX_ROW_BYTES, Line, decoded, lines
from tuneforge.rows import Kept, Rejected, Row

DOCUMENT = "-DOCSTART-"


@dataclass(kw_only=True)
class Conll(DataSource):
    """CoNLL, BIO and IOB files: one row per sentence, its words in `tokens` and their tags in `tags`; also gzipped.

    Columns are separated by tabs where a line has one, else by spaces. `-DOCSTART-` lines and comments (`#` and a
    space, and no tab) are passed over. A line with other columns than the first gives its word and tag all the same,
    counted; one with a single column rejects the sentence. `line` is the line on which the sentence begins.
    """

    name: ClassVar[str] = "conll"
    suffixes: ClassVar[tuple[str, ...]] = ("conll", "bio", "iob")

    token: int = 0
    """Column of the words, from 0; -1 is the last."""
    tag: int = -1
    """Column of the tags, from 0; -1 is the last."""

    def read(self, context: Context) -> Kept:
        """Sentences; one with a line that cannot be read is rejected."""
        counts: Counter[str] = Counter()
        yield from read_files(self.path, self.suffixes, context, lambda given: self._sentences(given, counts))
        if counts:
            context.note(f"{self.path}: {', '.join(f'{count:,} {what}' for what, count in counts.items())}")

    def _sentences(self, given: Input, counts: Counter[str]) -> Kept:
        sentence, width = _Sentence(), 0
        for line in lines(given.file):
            text, problem = decoded(line)
            cells = _cells(text)
            if not problem and (passed := _passed_over(text, cells, width)):
                counts[passed] += 1
                continue
            if cells or problem:
                width = width or len(cells)
                counts.update(["lines with other columns than the first"] if cells and len(cells) != width else [])
                sentence.add(line, cells, problem, self.token, self.tag)
            elif sentence:
                yield sentence.row(given.name)
                sentence = _Sentence()
        if sentence:
            yield sentence.row(given.name)


def _cells(text: str) -> list[str]:
    """The columns of a line; none of a blank one."""
    return ([cell.strip() for cell in text.split("\t")] if "\t" in text else text.split()) if text.strip() else []


def _passed_over(text: str, cells: list[str], width: int) -> str:
    """What a line is that belongs to no sentence; empty where it belongs to one."""
    if cells and cells[0] == DOCUMENT:
        return "-DOCSTART- lines passed over"
    # `#RT <tab> O` and, between words, `# O` are words.
    comment = text.startswith("# ") and "\t" not in text and len(cells) != width
    return "comments passed over" if comment else ""


@dataclass
class _Sentence:
    """The lines of one row."""

    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    first: int = 0
    size: int = 0
    problem: str = ""

    def __bool__(self) -> bool:
        return bool(self.first)

    def add(self, line: Line, cells: list[str], problem: str, token: int, tag: int) -> None:
        """One more line; nothing is held once there is a problem."""
        self.first = self.first or line.number
        self.size += len(line.data)
        if self.size > MAX_ROW_BYTES:
            problem = f"row too large: a sentence of over {MAX_ROW_BYTES:,} bytes"
        elif not problem and not all(-len(cells) <= column < len(cells) for column in (token, tag)):
            problem = f"wrong number of columns: line {line.number} has {len(cells)}"
        elif not problem and len(cells) < 2:
            problem = f"wrong number of columns: line {line.number} has 1, a word and its tag are 2"
        self.problem = self.problem or problem
        if self.problem:
            self.tokens.clear()
            self.tags.clear()
        else:
            self.tokens.append(cells[token])
            self.tags.append(cells[tag])

    def row(self, file: str) -> Row | Rejected:
        """The row, or why it is none."""
        if self.problem:
            return Rejected(Row(columns={}, file=file, line=self.first), self.problem)
        return Row(columns={"tokens": self.tokens, "tags": self.tags}, file=file, line=self.first)
