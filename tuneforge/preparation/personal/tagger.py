"""A model that tags words, trained with strategy=token_classification: the offline way to names and places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tuneforge.components import Context
from tuneforge.errors import ConfigError
from tuneforge.preparation.personal.kinds import Span
from tuneforge.rows import Row

OURS = {"PER": "PERSON", "LOC": "LOCATION", "ORG": "ORGANIZATION", "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE"}
OURS |= {"IBAN_CODE": "IBAN", "IP_ADDRESS": "IP", "STREET_ADDRESS": "ADDRESS", "ZIP_CODE": "POSTAL_CODE"}
"""Names of tags elsewhere: ours."""
_WORD = re.compile(r"\w+|[^\w\s]")
WINDOW = 100
"""Words that the model sees at once; halved where its context is too short for their tokens."""


def words(text: str) -> list[tuple[int, int]]:
    """Where words stand: runs of letters and digits, and each other mark by itself. The training rows need the same."""
    return [match.span() for match in _WORD.finditer(text)]


class Tagger:
    """A token classifier in eval mode; it reads the first token of a word, as strategy.read=first trains it."""

    def __init__(self, path: str, context: Context) -> None:
        from tuneforge.evaluation.lm import context_length

        loaded = context.frozen(path, "token_classification")
        self._tokenizer = loaded.tokenizer
        self._limit = context_length(loaded.model)
        self._reader = _reader(loaded, context)
        self.kinds = frozenset(_kind(name) for name in self._reader.names if name[:2] in ("B-", "I-"))
        """What it can find, by our names."""
        if not self.kinds:
            raise ConfigError(f"{path}: its classes ({', '.join(self._reader.names[:5])}, …) are no B- and I- tags")

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text."""
        windows = [(n, window) for n, text in enumerate(texts) for window in self._windows(text)]
        rows = [Row(columns={"tokens": [texts[n][a:b] for a, b in window]}) for n, window in windows]
        found: list[list[Span]] = [[] for _ in texts]
        for (n, window), tags in zip(windows, self._reader.tag(rows), strict=True):
            found[n] += _spans(window, tags)
        return found

    def _windows(self, text: str) -> Iterator[list[tuple[int, int]]]:
        at = words(text)
        for start in range(0, len(at), WINDOW):
            yield from self._fitting(text, at[start : start + WINDOW])

    def _fitting(self, text: str, at: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
        """The words in pieces that fit the context; a word that becomes no token of its own is passed over."""
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.words import encode_words

        coded = encode_words([[text[a:b] for a, b in at]], self._tokenizer)[0]
        too_long = not isinstance(coded, RenderError) and self._limit is not None and len(coded.ids) > self._limit
        if not isinstance(coded, RenderError) and not too_long:
            yield at
        elif len(at) > 1:
            yield from self._fitting(text, at[: len(at) // 2])
            yield from self._fitting(text, at[len(at) // 2 :])


def _reader(loaded: Any, context: Context) -> Any:
    from tuneforge.evaluation.heads import HeadLM

    reader = HeadLM("deidentify", loaded, context)
    reader.head = "token_classification"
    return reader


def _kind(tag: str) -> str:
    return OURS.get(tag[2:].upper(), tag[2:].upper())


def _spans(at: Sequence[tuple[int, int]], tags: Sequence[str]) -> Iterator[Span]:
    """BIO tags as spans; an I- that continues nothing begins one."""
    open_: Span | None = None
    for (start, end), tag in zip(at, tags, strict=True):
        kind = _kind(tag) if tag[:2] in ("B-", "I-") else ""
        if open_ is not None and kind == open_.kind and tag[0] == "I":
            open_ = open_._replace(end=end)
            continue
        if open_ is not None:
            yield open_
        open_ = Span(start, end, kind) if kind else None
    if open_ is not None:
        yield open_
