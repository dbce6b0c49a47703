"""Rows in which some words are replaced by synonyms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context
from tuneforge.preparation import meaning
from tuneforge.preparation.augmenting import Augmentation, Text, like

if TYPE_CHECKING:
    from tuneforge.settings import Run

ENGLISH = 2
"""Different English function words that a text must have before the list of English synonyms is used on it."""


@dataclass(kw_only=True)
class Synonyms(Augmentation):
    """Adds rows in which words are replaced by synonyms of the same form.

    The thesaurus is a file of yours, or a short list of English words that may stand for each other in nearly every
    sentence (a text that is not English is left alone then). Words in capitals inside a sentence, function words, and
    words that stand in the row's label or answer are never replaced; `a` and `an` stay right.
    """

    name: ClassVar[str] = "synonyms"

    thesaurus: str = ""
    """A file: TSV with a word and its synonyms on each line, or JSON with a list of synonyms for each word; empty: the
    English list."""
    words: float = 0.15
    """Words replaced, as a share of all words of a text; one at least."""

    def check(self, run: Run) -> Iterable[str]:
        """As every augmentation; a share of words that is one, and a file that is there."""
        yield from super().check(run)
        if not 0 < self.words <= 1:
            yield f"transform.{self.name}.words={self.words} must be above 0 and at most 1"
        if self.thesaurus and not Path(self.thesaurus).expanduser().is_file():
            yield f"transform.{self.name}.thesaurus={self.thesaurus}: no such file"

    def change(self, texts: Sequence[Text], context: Context) -> Iterator[str]:
        """Each text with some of its words replaced."""
        from tuneforge.preparation.thesaurus import ENGLISH_LIST, read

        found = read(Path(self.thesaurus).expanduser() if self.thesaurus else ENGLISH_LIST)
        for text in texts:
            foreign = not self.thesaurus and len(set(meaning.words(text.text)) & meaning.FUNCTION) < ENGLISH
            yield text.text if foreign else self._replaced(text, found)

    def _replaced(self, text: Text, thesaurus: Mapping[str, Sequence[str]]) -> str:
        every = list(meaning.WORD.finditer(text.text))
        spans = list(meaning.free(text.text))
        known = [
            m for m in every if self._replaceable(m, text, thesaurus) and any(a <= m.start() < b for a, b in spans)
        ]
        kinds = sorted({m[0].lower() for m in known})
        count = min(len(kinds), max(1, round(self.words * len(every))))
        chosen = {
            word: text.draw.sample(thesaurus[word], len(thesaurus[word])) for word in text.draw.sample(kinds, count)
        }
        made = text.text
        for match in reversed(known):  # a word is replaced by the same one everywhere
            if match[0].lower() in chosen:
                new = _fitting(chosen[match[0].lower()], match, text.text)
                made = made[: match.start()] + new + made[match.end() :]
        return made

    def _replaceable(self, match: re.Match[str], text: Text, thesaurus: Mapping[str, Sequence[str]]) -> bool:
        word, beside = match[0].lower(), text.text[match.start() - 1 : match.start()] + text.text[match.end() :][:1]
        return (
            word in thesaurus
            and word not in text.kept | meaning.FUNCTION
            and not meaning.is_name(match, text.text)
            and not re.search(r"[-_/@#&\d]", beside)
        )


def _fitting(synonyms: Sequence[str], match: re.Match[str], text: str) -> str:
    """The first that keeps an `a` or `an` before it right, in the case of the word; the word itself where none does."""
    word = match[0]
    after_article = re.search(r"\b[Aa]n?\s+\Z", text[max(0, match.start() - 4) : match.start()])
    fit = [s for s in synonyms if not after_article or _vowel(s) == _vowel(word)]
    return like(word, fit[0]) if fit else word


def _vowel(word: str) -> bool:
    """Whether it begins with the sound of a vowel, as far as its letters tell."""
    lower = word.lower()
    return (lower[0] in "aeiou" and not re.match(r"us[aeiu]|uni|eu|one|once", lower)) or bool(
        re.match("hour|hono", lower)
    )
