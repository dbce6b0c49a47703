"""Rows of words as tokens, with the word that each token belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from tuneforge.errors import ConfigError
from tuneforge.training.text.chat import Chat, chat
from tuneforge.training.text.literal import RenderError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

NO_WORD = -1


class Words(NamedTuple):
    """Token ids, and for each the index of its word; -1 for what the tokenizer adds itself."""

    ids: list[int]
    word: list[int]

    @property
    def first(self) -> dict[int, int]:
        """Word → position of its first token."""
        return {word: at for at, word in reversed(list(enumerate(self.word))) if word != NO_WORD}

    @property
    def last(self) -> dict[int, int]:
        """Word → position of its last token."""
        return {word: at for at, word in enumerate(self.word) if word != NO_WORD}

    def at(self, read: str) -> dict[int, int]:
        """Word → position of its `first` or `last` token."""
        return self.last if read == "last" else self.first


def encode_words(rows: Sequence[Sequence[str]], tokenizer: Tokenizer) -> list[Words | RenderError]:
    """The words of each row joined by spaces, as the tokenizer reads any text; a token belongs to the word it ends in.

    A row with a word that becomes no token of its own is a RenderError. ConfigError for a tokenizer without
    offsets, which cannot say where its tokens stand.
    """
    if not tokenizer.is_fast:
        raise ConfigError("the tokenizer gives no offsets (not a fast one), so tokens cannot be matched with words")
    return [_encode(words, chat(tokenizer)) for words in rows]


def _encode(words: Sequence[str], of: Chat) -> Words | RenderError:
    text = " ".join(words)
    try:
        ids, spans = _tokens(text, of)
    except RenderError as error:
        return error
    starts = list(accumulate((len(w) + 1 for w in words[:-1]), initial=0))
    owner = [n for n, w in enumerate(words) for _ in range(len(w) + 1)]
    inside = [n if spans_end > spans_start and spans_end <= starts[n] + len(words[n]) else NO_WORD
              for spans_start, spans_end in spans for n in [owner[max(spans_end - 1, 0)]]]  # fmt: skip
    found = Words(ids, inside)
    if len(found.first) < len(words):
        lost = next(n for n in range(len(words)) if n not in found.first)
        return RenderError(f"no token: word {lost + 1} ({words[lost]!r}) becomes no token of its own")
    return found


def _tokens(text: str, of: Chat) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and spans in `text`; the span of what the tokenizer adds is empty. Spelled control tokens stay text."""
    marked = of.literals.mark_text(text)
    if marked is None:
        coded = of.tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        added = coded["special_tokens_mask"]
        spans = [(0, 0) if a else (s, e) for (s, e), a in zip(coded["offset_mapping"], added, strict=True)]
        return list(coded["input_ids"]), spans
    tokens = of.literals.tokens(*marked)
    # Sentinels stand around what is spelled: a place counts the characters before it that are none.
    place = list(accumulate((c not in marked[1] for c in marked[0]), initial=0))
    before, after = of.affixes
    spans = [(place[start], place[end]) for start, end in tokens.spans]
    return [*before, *tokens.ids, *after], [*[(0, 0)] * len(before), *spans, *[(0, 0)] * len(after)]
