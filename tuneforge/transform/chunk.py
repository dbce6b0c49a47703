"""Cut long documents into pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.rows import Kept, Row
from tuneforge.transform.cleaning import pieces

if TYPE_CHECKING:
    from tuneforge.settings import Run


class Unit(StrEnum):
    """What sizes are counted in."""

    characters = "characters"
    words = "words"
    tokens = "tokens"


@dataclass(kw_only=True)
class Chunk(Transform):
    """Cut long documents (`text` without a label) into pieces that overlap and end after paragraphs or sentences.

    Nothing is lost: without what they repeat, the pieces are the document. The third piece of line 12 is line `12#3`;
    the pieces of a document are one group. Training rows only: an evaluation reads long documents in windows.
    """

    name: ClassVar[str] = "chunk"

    size: int = 2000
    """Most units of a piece."""
    overlap: int = 0
    """Most units that a piece repeats of the one before, from the beginning of a word on."""
    unit: Unit = Unit.characters
    """characters, words, or tokens of the run's tokenizer."""
    headings: bool = False
    """Write the last heading, or the title, before each piece that begins without one; it adds to the size."""

    def check(self, run: Run) -> Iterable[str]:
        """Pieces that go forward."""
        if self.size < 2:
            yield f"size={self.size} must be at least 2"
        if not 0 <= self.overlap <= self.size // 2:
            yield f"overlap={self.overlap} must be from 0 to half of size={self.size}"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Documents in pieces, in order; short ones and rows that are no documents as they are."""
        ends = self._ends(context)
        for row in rows:
            text = row.columns.get("text")
            if not isinstance(text, str) or "label" in row.columns or len(text) <= self._surely_fits():
                yield row
                continue
            found = list(pieces.pieces(text, ends(text), self.size, self.overlap))
            if len(found) < 2:
                yield row
                continue
            context.counts["documents cut"] += 1
            context.counts["pieces"] += len(found)
            yield from self._rows(row, text, found)

    def _surely_fits(self) -> int:
        """Characters of a text that is one piece whatever it holds: no unit is shorter than a character."""
        return self.size if self.unit is not Unit.tokens else 0

    def _rows(self, row: Row, text: str, found: Sequence[pieces.Piece]) -> Iterator[Row]:
        for number, piece in enumerate(found, 1):
            made = text[piece.start : piece.end]
            wanted = self.headings and number > 1 and not pieces.HEADING.match(made)
            title = pieces.heading(text, piece.start) if wanted else ""
            columns = {**row.columns, "text": f"{title}\n\n{made}" if title else made}
            yield replace(row, columns=columns, line=f"{row.line}#{number}", group=row.group or row.place)

    def _ends(self, context: Context) -> Callable[[str], Sequence[int]]:
        """Where the units of a text end."""
        if self.unit is Unit.characters:
            return lambda text: range(1, len(text) + 1)
        if self.unit is Unit.words:
            return lambda text: [*(m.end() for m in pieces.WORD.finditer(text.rstrip())), len(text)]
        tokenizer = _tokenizer(context)
        return lambda text: _token_ends(text, tokenizer)


def _token_ends(text: str, tokenizer: Any) -> list[int]:
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ends = [end for _, end in found["offset_mapping"]]
    return [*ends[:-1], len(text)]


def _tokenizer(context: Context) -> Any:
    """The tokenizer of the run's model, without the model where this is known to be possible."""
    from tuneforge.model.brought import find
    from tuneforge.model.hf import Hf
    from tuneforge.model.tiny import FOLDER, Tiny

    model = context.run.model
    if isinstance(model, Tiny):
        model = Hf(path=str(FOLDER))
    if isinstance(model, Hf):
        origin = find(model)
        source = model if origin is None else replace(model, path=str(origin.folder), adapter=None)
        return source._from_hub("AutoTokenizer")
    return model.load(context.run.strategy.head, context).tokenizer
