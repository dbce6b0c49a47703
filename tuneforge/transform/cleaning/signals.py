"""What the published rules for web text measure. Each rule names the first signal that is out of bounds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Texts(StrEnum):
    """Which texts a rule judges."""

    documents = "documents"
    answers = "answers"
    both = "both"


class Signal(NamedTuple):
    """A measurement out of bounds."""

    name: str
    value: float
    bound: str
    """`at least 50`, `at most 0.1`."""


def _outside(name: str, value: float, least: float | None = None, most: float | None = None) -> Iterator[Signal]:
    if least is not None and value < least:
        yield Signal(name, value, f"at least {least:g}")
    if most is not None and value > most:
        yield Signal(name, value, f"at most {most:g}")


STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
_BULLET = re.compile(r"\s*[-*•‣⁃◦▪●]")  # noqa: RUF001 (bullets as pages write them)
_ELLIPSIS = ("...", "\u2026")


@dataclass(kw_only=True)
class GopherQuality:
    """Rae et al. 2021 (arXiv:2112.11446), appendix A.1.1, quality."""

    judged: Texts = Texts.documents
    """Which texts: documents, answers or both."""
    min_words: int = 50
    """Fewest words of a document."""
    max_words: int = 100_000
    """Most words of a document."""
    min_word_length: float = 3.0
    """Least mean length of a word."""
    max_word_length: float = 10.0
    """Largest mean length of a word."""
    max_symbols: float = 0.1
    """Most hash signs, and most ellipses, for each word."""
    max_bullets: float = 0.9
    """Largest share of lines that begin with a bullet."""
    max_ellipses: float = 0.3
    """Largest share of lines that end with an ellipsis."""
    min_alphabetic: float = 0.8
    """Least share of words with a letter in them."""
    min_stop_words: int = 2
    """Least number of different English words among the, be, to, of, and, that, have, with; 0 for other languages."""

    def signals(self, text: str) -> Iterator[Signal]:
        """Signals that are out of bounds."""
        words = text.split()
        count = len(words)
        yield from _outside("words", count, self.min_words, self.max_words)
        if not count:
            return
        lengths = sum(map(len, words)) / count
        yield from _outside("mean word length", lengths, self.min_word_length, self.max_word_length)
        yield from _outside("hash signs per word", text.count("#") / count, most=self.max_symbols)
        yield from _outside("ellipses per word", sum(map(text.count, _ELLIPSIS)) / count, most=self.max_symbols)
        lines = text.splitlines()
        bullets = sum(_BULLET.match(line) is not None for line in lines)
        yield from _outside("lines with a bullet", bullets / len(lines), most=self.max_bullets)
        ends = sum(line.rstrip().endswith(_ELLIPSIS) for line in lines)
        yield from _outside("lines with an ellipsis", ends / len(lines), most=self.max_ellipses)
        letters = sum(any(c.isalpha() for c in word) for word in words) / count
        yield from _outside("words with a letter", letters, self.min_alphabetic)
        yield from _outside("stop words", len(STOP_WORDS & {w.lower() for w in words}), self.min_stop_words)


@dataclass(kw_only=True)
class GopherRepetition:
    """Rae et al. 2021 (arXiv:2112.11446), appendix A.1.1, table A1: repetition."""

    judged: Texts = Texts.documents
    """Which texts: documents, answers or both; of good answers with calculations or code 2 to 7 % repeat more."""
    min_words: int = 50
    """Shorter texts are not judged: the thresholds are those of documents."""
    lines: float = 0.3
    """Largest share of lines, and of paragraphs, that repeat an earlier one."""
    line_characters: float = 0.2
    """Largest share of characters in such lines, and in such paragraphs."""
    top_2: float = 0.2
    """Largest share of characters in the most frequent pair of words."""
    top_3: float = 0.18
    """Largest share of characters in the most frequent three words."""
    top_4: float = 0.16
    """Largest share of characters in the most frequent four words."""
    repeated_5: float = 0.15
    """Largest share of characters in runs of 5 words that occurred before; 0.01 less for each word more, up to 10."""

    def signals(self, text: str) -> Iterator[Signal]:
        """Signals that are out of bounds."""
        words = text.split()
        if len(words) < self.min_words:
            return
        for name, parts in (("lines", text.split("\n")), ("paragraphs", re.split(r"\n{2,}", text))):
            kept = [part.strip() for part in parts if part.strip()]
            again = repeated(kept)
            yield from _outside(f"repeated {name}", len(again) / len(kept), most=self.lines)
            yield from _outside(
                f"characters in repeated {name}", sum(map(len, again)) / len(text), most=self.line_characters
            )
        yield from self._runs(words)

    def _runs(self, words: Sequence[str]) -> Iterator[Signal]:
        """Runs of 2 to 10 words, told apart by numbers: of a run and of the word after it is made the longer run's."""
        import numpy as np

        numbers: dict[str, int] = {}
        single = np.array([numbers.setdefault(word, len(numbers)) for word in words])
        sizes = np.array([len(word) for word in words])
        total, runs = int(sizes.sum()), single
        ends = np.concatenate([[0], np.cumsum(sizes)])
        for n in range(2, min(10, len(words)) + 1):
            _, first, runs = np.unique(
                runs[:-1] * len(numbers) + single[n - 1 :], return_index=True, return_inverse=True
            )
            counts = np.bincount(runs)
            if counts.max() == 1:
                return
            if n <= 4:
                top = int(counts.argmax())
                share = counts[top] * (ends[first[top] + n] - ends[first[top]]) / total
                yield from _outside(f"characters in the top {n} words", share, most=getattr(self, f"top_{n}"))
            else:
                again = np.flatnonzero(first[runs] != np.arange(len(runs)))
                covered = np.zeros(len(words), dtype=bool)
                for step in range(n):
                    covered[again + step] = True
                bound = self.repeated_5 - (n - 5) / 100
                yield from _outside(f"characters in repeated {n} words", sizes[covered].sum() / total, most=bound)


def repeated(parts: Sequence[str]) -> list[str]:
    """Those that stood there before."""
    return [part for part, count in Counter(parts).items() for _ in range(count - 1)]


@dataclass(kw_only=True)
class FineWeb:
    """Penedo et al. 2024 (arXiv:2406.17557), section 3.6: the filters found by comparing histograms."""

    judged: Texts = Texts.documents
    """Which texts: documents, answers or both."""
    min_punctuated_lines: float = 0.12
    """Least share of lines that end with a mark."""
    max_repeated_characters: float = 0.1
    """Largest share of characters in lines that repeat an earlier one."""
    max_short_lines: float = 0.67
    """Largest share of lines shorter than 30 characters."""

    def signals(self, text: str) -> Iterator[Signal]:
        """Signals that are out of bounds."""
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if not lines:
            return
        marks = sum(line.endswith(MARKS) for line in lines)
        yield from _outside("lines that end with a mark", marks / len(lines), self.min_punctuated_lines)
        again = sum(map(len, repeated(lines)))
        yield from _outside("characters in repeated lines", again / len(text), most=self.max_repeated_characters)
        short = sum(len(line) < 30 for line in lines)
        yield from _outside("lines under 30 characters", short / len(lines), most=self.max_short_lines)


MARKS = (".", "!", "?", '"', "\u201d", "\u2026", "。", "！", "？")  # noqa: RUF001 (also of Chinese and Japanese)
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_SENTENCE = re.compile(r"[.!?](?=\s|\Z|[\"'”)])")


@dataclass(kw_only=True)
class C4:
    """Raffel et al. 2020 (arXiv:1910.10683), section 2.2; without its list of bad words."""

    judged: Texts = Texts.documents
    """Which texts: documents, answers or both."""
    min_line_words: int = 5
    """Fewest words of a line that counts; it must end with a mark too, and say nothing of JavaScript or cookies."""
    min_sentences: int = 3
    """Fewest sentences in the lines that count."""

    def signals(self, text: str) -> Iterator[Signal]:
        """Signals that are out of bounds; the text itself stays as it is."""
        lower = text.lower()
        yield from _outside("lorem ipsum", lower.count("lorem ipsum"), most=0)
        yield from _outside("curly brackets", text.count("{"), most=0)
        kept = [line for line in text.split("\n") if self._counts(line.strip())]
        sentences = sum(len(_SENTENCE.findall(line)) for line in kept)
        yield from _outside("sentences in whole lines", sentences, self.min_sentences)

    def _counts(self, line: str) -> bool:
        lower = line.lower()
        return (
            line.endswith(MARKS)
            and not line.endswith("...")
            and len(line.split()) >= self.min_line_words
            and "javascript" not in lower
            and not any(words in lower for words in _POLICY)
        )


ASSISTANT = (
    "as an ai language model", "as a large language model", "as an ai model", "as an ai assistant, i",
    "i'm an ai language model", "i am an ai language model", "my knowledge cutoff",
    "my training data only goes", "i was trained by openai", "developed by openai",
)  # fmt: skip
"""What a model says of itself instead of an answer."""
WEB = (
    "click here", "all rights reserved", "this website uses cookies", "this site uses cookies", "accept all cookies",
    "we use cookies", "cookie policy", "cookie settings", "privacy policy", "terms of service", "terms of use",
    "terms and conditions", "subscribe to our newsletter", "sign up for our newsletter", "enable javascript",
    "skip to content", "skip to main content", "share on facebook", "share this:", "leave a reply", "leave a comment",
    "add to cart", "powered by wordpress", "log in to post comments", "read more »", "page not found",
)  # fmt: skip
"""What stands around the text of a page: banners, menus, notices."""


@dataclass(kw_only=True)
class Boilerplate:
    """Stock phrases: what models say of themselves, and what stands around the text of a page. TuneForge's own rule."""

    judged: Texts = Texts.both
    """Which texts: documents, answers or both."""
    max_assistant: int = 0
    """Most phrases such as `as an AI language model` in an answer."""
    max_web: int = 1
    """Most different phrases of pages, as `click here` and `all rights reserved`."""

    def signals(self, text: str) -> Iterator[Signal]:
        """Signals that are out of bounds."""
        lower = text.lower().replace("\u2019", "'")
        yield from _outside("phrases of assistants", sum(p in lower for p in ASSISTANT), most=self.max_assistant)
        yield from _outside("phrases of pages", sum(p in lower for p in WEB), most=self.max_web)
