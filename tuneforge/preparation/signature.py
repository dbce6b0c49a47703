"""When two rows count as the same: by their content, case and whitespace aside."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tuneforge.conversation import as_messages

Message = Mapping[str, Any]

_BARE = bytes(ord(chr(c).lower()) if c < 128 and chr(c).isalnum() else ord(" ") for c in range(256))
_NO_WORD = r"[^\p{L}\p{M}\p{N}]+"
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"


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
    """Letters and digits alone: NFKC, case folded, a space between words; punctuation and layout are gone.

    A text that is UTF-8 misread as Windows-1252 is read rightly first. Signs of scripts that write no spaces between
    words stand as words of their own.
    """
    if text.isascii():
        return " ".join(text.encode().translate(_BARE).decode().split())
    import regex

    with suppress(UnicodeError):
        text = text.encode("cp1252").decode()
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(regex.sub(_UNSPACED, r" \g<0> ", regex.sub(_NO_WORD, " ", text)).split())


def content(columns: Mapping[str, Any]) -> bytes:
    """Signature of all columns of a row; equal for rows with the same content. 16 bytes."""
    digest = _new()
    for name in sorted(columns):
        _feed(digest, name)
        _feed_value(digest, columns[name])
    return digest.digest()


def turns(columns: Mapping[str, Any]) -> Iterator[Turn]:
    """Each answer in a row with what stands before it: every assistant turn, chosen and completion, or the text.

    A text or a list of words is one answer whatever its label or tags are: a row that stands in training with another
    label has been seen all the same. An anchor is the prompt of its positive.
    A prompt given as text equals the same prompt as one user message.
    """
    if isinstance(columns.get("messages"), Sequence):
        yield from _conversation(columns["messages"])
    if columns.get("prompt") is not None:
        asked = _prompt(columns)
        before = asked.digest()
        answers = [columns[name] for name in ("completion", "chosen") if columns.get(name) is not None]
        for answer in answers:
            whole = asked.copy()
            for message in as_messages(answer, "assistant"):
                _feed_message(whole, message)
            yield Turn(before, whole.digest())
        if not answers:
            yield Turn(before, b"")
    if isinstance(columns.get("text"), str):
        digest = _new()
        _feed(digest, folded(columns["text"]))
        yield Turn(b"", digest.digest())
    if columns.get("tokens") is not None:
        digest = _new()
        _feed(digest, folded(" ".join(columns["tokens"])))
        yield Turn(b"", digest.digest())
    if columns.get("anchor") is not None:
        asked = _new()
        _feed(asked, folded(columns["anchor"]))
        whole = asked.copy()
        _feed(whole, folded(columns.get("positive") or ""))
        yield Turn(asked.digest(), whole.digest())


def prompt(columns: Mapping[str, Any]) -> bytes:
    """Signature of what a row is about: the first user turn with what stands before it, the prompt, or the text."""
    if isinstance(columns.get("messages"), Sequence):
        return next((turn.prompt for turn in _conversation(columns["messages"])), b"")
    if columns.get("prompt") is not None:
        return _prompt(columns).digest()
    first = next(turns(columns), None)
    return content(columns) if first is None else first.prompt or first.whole


def _prompt(columns: Mapping[str, Any]) -> hashlib.blake2b:
    digest = _new()
    for message in as_messages(columns["prompt"], "user"):
        _feed_message(digest, message)
    return digest


def _conversation(messages: Sequence[Message]) -> Iterator[Turn]:
    digest = _new()
    for message in messages:
        before = digest.digest() if message["role"] == "assistant" else b""
        _feed_message(digest, message)
        if message["role"] == "assistant":
            yield Turn(before, digest.digest())


def _new() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def _feed(digest: hashlib.blake2b, text: str) -> None:
    """Length first, so that two fields never read like one."""
    data = text.encode("utf-8", "surrogatepass")
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)


def _feed_message(digest: hashlib.blake2b, message: Message) -> None:
    _feed(digest, message["role"])
    _feed(digest, folded(message["content"]))


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
