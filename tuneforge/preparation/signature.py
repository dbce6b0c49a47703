"""When two rows count as the same: by their content, case and whitespace aside."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tuneforge.conversation import as_messages

Message = Mapping[str, Any]
Fold = Callable[[str], str]

SIGNS = "+<=>"
"""Signs that are kept where letters and digits alone count: 2 + 3 is not 2 3."""
_BARE = bytes(ord(chr(c).lower()) if c < 128 and (chr(c).isalnum() or chr(c) in SIGNS) else 32 for c in range(256))
_MARKS = "\u2018\u2019\u201c\u201d\u2013\u2014\u2022\u2026"
"""Marks of typography: no letters, and alone no part of what was misread, so that most texts are ASCII without them."""
_GAPS = bytes(c for c in range(128) if _BARE[c] == 32)
_NO_WORD = r"[^\p{L}\p{M}\p{N}+<=>]+"
_ALONE = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*|[+<=>]"


class Turn(NamedTuple):
    """Signatures of one answer in a row; 16 bytes each."""

    prompt: bytes
    """Everything before the answer; empty where there is no prompt (plain text)."""
    whole: bytes
    """Prompt and answer, or the text; empty where there is no answer."""


def folded(text: str) -> str:
    """Case folded, runs of whitespace as one space, none outside."""
    return " ".join(text.casefold().split())


def bare(text: str) -> str:
    """Words alone, letters, digits and SIGNS: NFKC, case folded, a space between them; punctuation and layout are gone.

    What is UTF-8 misread as Windows-1252 is read rightly first. Signs, and letters of scripts that write no
    spaces between words, stand as words of their own.
    """
    if text.isascii():
        text = text.encode().translate(_BARE).decode()
        for sign in SIGNS:
            text = text.replace(sign, f" {sign} ")
        return " ".join(text.split())
    if (plain := _unmarked(text)).isascii():
        return bare(plain)
    import regex

    text = regex.sub(r"[^\x00-\x7f]+", _reread, text)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(regex.sub(_ALONE, r" \g<0> ", regex.sub(_NO_WORD, " ", text)).split())


def letters(text: str) -> str:
    """What `bare` leaves, without the spaces."""
    if text.isascii() or (text := _unmarked(whole := text)).isascii():
        return text.encode().translate(_BARE, _GAPS).decode()
    return bare(whole).replace(" ", "")


def _unmarked(text: str) -> str:
    """The text with a space for each mark; `str.translate` takes fifty times as long."""
    for mark in _MARKS:
        text = text.replace(mark, " ")
    return text


def _reread(found: Any) -> str:
    """Letters beyond ASCII, read as UTF-8 where they were misread as Windows-1252."""
    with suppress(UnicodeError):
        return str(found[0].encode("cp1252").decode())
    return str(found[0])


def content(columns: Mapping[str, Any]) -> bytes:
    """Signature of all columns of a row; equal for rows with the same content. 16 bytes."""
    digest = _new()
    for name in sorted(columns):
        _feed(digest, name)
        _feed_value(digest, columns[name])
    return digest.digest()


def turns(columns: Mapping[str, Any], fold: Fold = folded) -> Iterator[Turn]:
    """Each answer in a row with what stands before it: every assistant turn, chosen and completion, or the text.

    A text or a list of words is one answer whatever its label or tags are: a row that stands in training with another
    label has been seen all the same. An anchor is the prompt of its positive.
    A prompt given as text equals the same prompt as one user message. `fold` says what of a text counts.
    """
    if isinstance(columns.get("messages"), Sequence):
        yield from _conversation(columns["messages"], fold)
    if columns.get("prompt") is not None:
        asked = _prompt(columns, fold)
        before = asked.digest()
        answers = [columns[name] for name in ("completion", "chosen") if columns.get(name) is not None]
        for answer in answers:
            whole = asked.copy()
            for message in as_messages(answer, "assistant"):
                _feed_message(whole, message, fold)
            yield Turn(before, whole.digest())
        if not answers:
            yield Turn(before, b"")
    if isinstance(columns.get("text"), str):
        digest = _new()
        _feed(digest, fold(columns["text"]))
        yield Turn(b"", digest.digest())
    if columns.get("tokens") is not None:
        digest = _new()
        _feed(digest, fold(" ".join(columns["tokens"])))
        yield Turn(b"", digest.digest())
    if columns.get("anchor") is not None:
        asked = _new()
        _feed(asked, fold(columns["anchor"]))
        whole = asked.copy()
        _feed(whole, fold(columns.get("positive") or ""))
        yield Turn(asked.digest(), whole.digest())


def prompt(columns: Mapping[str, Any]) -> bytes:
    """Signature of what a row is about: the first user turn with what stands before it, the prompt, or the text.

    Letters and digits count, or all signs of a text that has none.
    """
    if isinstance(columns.get("messages"), Sequence):
        return next((turn.prompt for turn in _conversation(columns["messages"], _told)), b"")
    if columns.get("prompt") is not None:
        return _prompt(columns, _told).digest()
    first = next(turns(columns, _told), None)
    return content(columns) if first is None else first.prompt or first.whole


def _told(text: str) -> str:
    return letters(text) or folded(text)


def _prompt(columns: Mapping[str, Any], fold: Fold) -> hashlib.blake2b:
    digest = _new()
    for message in as_messages(columns["prompt"], "user"):
        _feed_message(digest, message, fold)
    return digest


def _conversation(messages: Sequence[Message], fold: Fold) -> Iterator[Turn]:
    digest = _new()
    for message in messages:
        before = digest.digest() if message["role"] == "assistant" else b""
        _feed_message(digest, message, fold)
        if message["role"] == "assistant":
            yield Turn(before, digest.digest())


def _new() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def _feed(digest: hashlib.blake2b, text: str) -> None:
    """Length first, so that two fields never read like one."""
    data = text.encode("utf-8", "surrogatepass")
    digest.update(len(data).to_bytes(8, "little") + data)


def _feed_message(digest: hashlib.blake2b, message: Message, fold: Fold) -> None:
    _feed(digest, message["role"])
    _feed(digest, fold(message["content"]))


def _feed_value(digest: hashlib.blake2b, value: Any) -> None:
    if isinstance(value, str):
        _feed(digest, folded(value))
    elif isinstance(value, Mapping):
        for key in sorted(value):
            _feed(digest, str(key))
            _feed_value(digest, value[key])
    elif isinstance(value, Sequence):
        _feed(digest, f"{len(value)} items")
        for item in value:
            _feed_value(digest, item)
    else:
        _feed(digest, repr(value))
