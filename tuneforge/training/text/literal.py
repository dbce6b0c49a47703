"""Text from data that spells a control token stays text.

A tokenizer turns `<|im_end|>` inside a user's message into the very token that ends the message. So where
a text from data holds such a string, the string is put between two sentinels before the template is
rendered; afterwards the text is cut at the sentinels, what stood between them is tokenised with
`split_special_tokens=True`, and everything else as usual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

SENTINELS = [chr(c) for c in range(0xFDD0, 0xFDF0)]
"""Noncharacters of Unicode: they stand in no text that is meant to be read."""
NEVER = re.compile(r"(?!)")


class RenderError(ValueError):
    """Why a row cannot be rendered: one sentence, counted and shown as the reason of its rejection."""


class Tokens(NamedTuple):
    """Token ids and, for each, the span of characters it stands for, as offsets into the marked text."""

    ids: list[int]
    spans: list[tuple[int, int]]


class Piece(NamedTuple):
    """A stretch of a marked text; `literal` must stay text."""

    text: str
    start: int
    literal: bool


class Literals:
    """The control tokens of a tokenizer, and how text that spells one is kept text.

    Special tokens are control tokens wherever they stand. Other added tokens that the template writes
    itself (`<tool_response>`, `<think>`) are so in every message but the assistant's, which may write them.
    """

    def __init__(self, tokenizer: Tokenizer, template: str | None) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        special = {t.content for t in added.values() if t.special} | set(tokenizer.all_special_tokens)
        written = {t.content for t in added.values() if not t.content.isspace() and t.content in (template or "")}
        self.special = _pattern(special)
        self.control = _pattern(special | written)
        self.ids = frozenset(i for i, t in added.items() if t.content in special | written)
        self.newline: list[int] = tokenizer.encode("\n", add_special_tokens=False)

    def mark(self, messages: Sequence[Mapping[str, Any]], tools: Any) -> tuple[list[dict[str, Any]], Any, str] | None:
        """(messages, tools, sentinels) with control strings marked; None where the row holds none."""
        if not self.found(messages, tools):
            return None
        text = "".join(_texts([list(messages), tools]))
        free = [s for s in SENTINELS if s not in text][:2]
        if len(free) < 2:
            raise RenderError("the row holds control tokens and all of Unicode's noncharacters")
        pair = "".join(free)
        marked = [_marked(m, self._for(m), pair) for m in messages]
        return marked, _marked(tools, self.control, pair), pair

    def found(self, messages: Sequence[Mapping[str, Any]], tools: Any = None) -> bool:
        """Whether any text of the row spells a control token."""
        for message in messages:
            find = self._for(message).search
            for name, value in message.items():
                if name in _NO_TEXT:
                    continue
                if find(value) if type(value) is str else any(map(find, _texts(value))):
                    return True
        return tools is not None and any(map(self.control.search, _texts(tools)))

    def _for(self, message: Mapping[str, Any]) -> re.Pattern[str]:
        return self.special if message.get("role") == "assistant" else self.control

    def mark_text(self, text: str) -> tuple[str, str] | None:
        """(text, sentinels) of a plain text with control strings marked; None where it holds none."""
        marked = self.mark([{"role": "assistant", "content": text}], None)
        return None if marked is None else (marked[0][0]["content"], marked[2])

    def tokens(self, marked: str, pair: str) -> Tokens:
        """Tokens of a marked text, no special tokens added; what stands between sentinels becomes text tokens."""
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for piece in _pieces(marked, pair):
            found = self._literal(piece.text) if piece.literal else self._normal(piece.text, first=not ids)
            ids += found.ids
            spans += [(piece.start + a, piece.start + b) for a, b in found.spans]
        return Tokens(ids, spans)

    def _normal(self, text: str, first: bool) -> Tokens:
        return self._encode(text, split=False) if first else self._inner(text, split=False)

    def _literal(self, text: str) -> Tokens:
        tokens = self._inner(text, split=True)
        if self.ids.isdisjoint(tokens.ids):
            return tokens
        # Added tokens that are not special are matched all the same: cut in two, neither half spells one.
        halves = [self._inner(text[:1], split=True), self._inner(text[1:], split=True)]
        if not self.ids.isdisjoint(halves[0].ids + halves[1].ids):
            raise RenderError(f"the tokenizer cannot write {text!r} as text: it always becomes the control token")
        return Tokens(halves[0].ids + halves[1].ids, halves[0].spans + [(a + 1, b + 1) for a, b in halves[1].spans])

    def _inner(self, text: str, split: bool) -> Tokens:
        # After a newline, so that no tokenizer puts its begin-of-text space before a piece from the middle.
        tokens = self._encode("\n" + text, split)
        n = len(self.newline)
        if tokens.ids[:n] != self.newline:
            return self._encode(text, split)
        return Tokens(tokens.ids[n:], [(max(a - 1, 0), max(b - 1, 0)) for a, b in tokens.spans[n:]])

    def _encode(self, text: str, split: bool) -> Tokens:
        coded = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=split, return_offsets_mapping=self.tokenizer.is_fast
        )
        return Tokens(list(coded["input_ids"]), list(coded.get("offset_mapping") or []))


_NO_TEXT = ("role", "weight")


def _pattern(strings: set[str]) -> re.Pattern[str]:
    longest_first = sorted((s for s in strings if s), key=lambda s: (-len(s), s))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else NEVER


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for v in value.values():
            yield from _texts(v)
    elif isinstance(value, list | tuple):
        for v in value:
            yield from _texts(v)


def _marked(value: Any, pattern: re.Pattern[str], pair: str) -> Any:
    if isinstance(value, str):
        return pattern.sub(lambda m: f"{pair[0]}{m.group()}{pair[1]}", value)
    if isinstance(value, Mapping):
        # The role chooses a branch of the template; it is checked, never text from data.
        return {k: v if k == "role" else _marked(v, pattern, pair) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(v, pattern, pair) for v in value]
    return value


def _pieces(marked: str, pair: str) -> Iterator[Piece]:
    """Pieces between sentinels; a lone sentinel (the template cut between two) still parts the text."""
    start, literal = 0, False
    for at in [i for i, c in enumerate(marked) if c in pair] + [len(marked)]:
        if at > start:
            yield Piece(marked[start:at], start, literal)
        literal = at < len(marked) and marked[at] == pair[0]
        start = at + 1
