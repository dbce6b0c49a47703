"""Rows whose sentences stand in another order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tuneforge.components import Context
from tuneforge.preparation.augmenting import Augmentation, Text


@dataclass(kw_only=True)
class Reorder(Augmentation):
    """Adds rows in which sentences of a paragraph have changed places.

    It is for texts whose sentences stand side by side, such as reviews, descriptions and facts: in a story the order of
    sentences is the order of events, which nothing here can tell. The first sentence of a paragraph stays first,
    questions at its end stay last, a sentence that begins with `this`, `they`, `however` or the like stays behind the
    one that it leans on. Lists, tables, code and paragraphs that tell steps stay as they are.
    """

    name: ClassVar[str] = "reorder"

    def change(self, texts: Sequence[Text], context: Context) -> Iterator[str]:
        """Each text with the sentences of its paragraphs in another order."""
        from tuneforge.preparation.sentences import reordered

        for text in texts:
            yield reordered(text.text, text.draw)
