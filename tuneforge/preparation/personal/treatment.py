"""Rows with what is personal in them replaced, and what is remembered while doing so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuneforge.components import Context
from tuneforge.errors import ConfigError
from tuneforge.preparation.personal import mapping, rules
from tuneforge.preparation.personal.book import Book, Entry
from tuneforge.preparation.personal.kinds import DEFAULT, KINDS, Span, beside
from tuneforge.preparation.personal.mentions import everywhere, found_values, name_parts
from tuneforge.preparation.personal.recogniser import SECONDS, Recogniser, Unfinished
from tuneforge.preparation.personal.texts import replaced, texts
from tuneforge.rows import Rejected, Row

if TYPE_CHECKING:
    from tuneforge.preparation.personal.presidio import Presidio
    from tuneforge.preparation.personal.tagger import Tagger
    from tuneforge.transform.deidentify import Deidentify

PATIENCE = 10
"""Rows in which one pattern may take too long before the run is refused."""

Spans = list[list[Span]]


class Treatment:
    """Finds and replaces as one `deidentify` asks, over all sets of a run."""

    def __init__(self, asked: Deidentify) -> None:
        self._asked = asked
        self._own = rules.own_patterns(asked.patterns)
        self._wanted = {kind.upper() for kind in asked.entities}
        self._allowed = {" ".join(value.split()).casefold() for value in asked.allow}
        self._domains = tuple(value for value in self._allowed if value.startswith("@"))
        self._unfinished: Counter[str] = Counter()
        self._books: dict[str, Book] = {}
        self._entries: list[Entry] = []
        self._file: Path | None = None
        self._seed = 0
        self._engine: Presidio | Tagger | None = None
        self._recogniser = Recogniser(self._wanted or DEFAULT, self._own)

    def begin(self, context: Context) -> Path | None:
        """Load the engine; the file that the mapping will be written to. ConfigError for kinds that nothing finds."""
        asked, self._seed = self._asked, context.seed
        self._file = mapping.place(asked.mapping, asked.mapping_key, context.folder)
        if self._engine is None and asked.engine == "presidio":
            from tuneforge.preparation.personal.presidio import Presidio

            self._engine = Presidio()
        elif self._engine is None and asked.model is not None:
            from tuneforge.preparation.personal.tagger import Tagger

            self._engine = Tagger(asked.model, context)
        further = self._engine.kinds if self._engine else ()
        known = dict.fromkeys((*KINDS, *(pattern.kind for pattern in self._own), *sorted(further)))
        if said := rules.unknown(asked.entities, tuple(known)):
            raise ConfigError(said)
        return self._file

    def close(self, file: Path | None) -> None:
        """Write the mapping of all that was replaced so far, where it is asked for."""
        if file is not None:
            books = (entry for book in self._books.values() for entry in book.entries.values())
            try:
                mapping.write((*self._entries, *books), file, self._asked.mapping_key)
            except OSError as error:
                raise ConfigError(f"mapping={file}: it cannot be written ({error.strerror})") from error

    def treated(self, rows: Sequence[Row], context: Context) -> Iterator[Row | Rejected]:
        """The rows with replacements, in order."""
        parts = [texts(row.columns) for row in rows]
        found = [self._by_patterns(row, one) for row, one in zip(rows, parts, strict=True)]
        further = iter(self._engine.find([text for one in parts for text in one]) if self._engine else ())
        for row, one, spans in zip(rows, parts, found, strict=True):
            more = [next(further) for _ in one] if self._engine else [[] for _ in one]
            if isinstance(spans, Rejected):
                context.counts["rows in which a pattern took too long"] += 1
                yield spans
            else:
                yield self._treated(row, one, self._kept(one, spans, more), context)

    def _by_patterns(self, row: Row, parts: Sequence[str]) -> Spans | Rejected:
        self._refuse_identifier(row)
        try:
            return [self._recogniser.candidates(text) for text in parts]
        except Unfinished as slow:
            return self._too_long(row, str(slow), max(map(len, parts)))

    def _refuse_identifier(self, row: Row) -> None:
        """The column shown instead of the line stands in every report."""
        if isinstance(row.line, str) and (spans := self._recogniser.spans(row.line)):
            raise ConfigError(
                f"{row.source}.columns.id: its values hold personal data ({spans[0].kind}) and would stand in every "
                "report as the place of a row; name another column, or none"
            )

    def _too_long(self, row: Row, kind: str, size: int) -> Rejected:
        self._unfinished[kind] += 1
        if self._unfinished[kind] >= PATIENCE:
            own = "patterns: " if any(pattern.kind == kind for pattern in self._own) else "the built-in pattern "
            raise ConfigError(
                f"{own}{kind} took more than {SECONDS:g} s for one text in {PATIENCE} rows, the last one {row.place}; "
                "write it without a repetition inside a repetition, such as (a+)+"
            )
        return Rejected(
            row, f"pattern took too long: {kind} on a text of up to {size:,} characters, so it may hold more"
        )

    def _kept(self, parts: Sequence[str], found: Spans, more: Spans) -> Spans:
        """What is wanted and not allowed, of the patterns and of the engine, overlaps resolved."""
        return [
            [
                span
                for span in beside(a, (s for s in b if not self._wanted or s.kind in self._wanted), text)
                if not self._is_allowed(text[span.start : span.end])
            ]
            for text, a, b in zip(parts, found, more, strict=True)
        ]

    def _is_allowed(self, value: str) -> bool:
        plain = " ".join(value.split()).casefold()
        return plain in self._allowed or (bool(self._domains) and plain.endswith(self._domains))

    def _treated(self, row: Row, parts: Sequence[str], spans: Spans, context: Context) -> Row | Rejected:
        values = found_values(parts, spans)
        if not values:
            return row
        if self._asked.mode == "drop":
            context.counts.update({kind for kind, _ in values})
            return Rejected(row, f"personal data: {', '.join(sorted({kind for kind, _ in values}))}")
        partial = name_parts(values)
        spans = everywhere(parts, spans, [*values, *(("PERSON", part) for part in partial)])
        context.counts.update(span.kind for one in spans for span in one)
        return replace(row, columns=self._columns(row, parts, spans, partial))

    def _columns(self, row: Row, parts: Sequence[str], spans: Spans, partial: dict[str, str]) -> dict[str, object]:
        book, around = self._book(row), "\n".join(parts)
        for part, whole in partial.items():
            book.replacement("PERSON", whole, around)
            book.also(part, whole)
        changes = [
            [(s.start, s.end, book.replacement(s.kind, text[s.start : s.end], around)) for s in one]
            for text, one in zip(parts, spans, strict=True)
        ]
        if self._file is not None and book.scope not in self._books:
            self._entries += book.entries.values()
        return replaced(row.columns, changes)

    def _book(self, row: Row) -> Book:
        """The replacements in force for the row."""
        scope = {"dataset": "dataset", "group": row.group}.get(self._asked.scope, "")
        seed, fake = self._seed, self._asked.mode == "surrogate"
        if not scope:
            return Book(f"{row.source} {row.place}", seed, fake)
        return self._books.setdefault(scope, Book(scope, seed, fake))
