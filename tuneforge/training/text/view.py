"""Rows as text with the mask visible, and the mask held against what was to be trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, groupby, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from tuneforge.conversation import classes
from tuneforge.rows import Encoded, Row
from tuneforge.training.batches.collate import IGNORE, parts_of, predicted
from tuneforge.training.text.chat import Chat, chat, common
from tuneforge.training.text.literal import RenderError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.components import Strategy

OPEN, CLOSE = "[[", "]]"


class Stretch(NamedTuple):
    """Text of neighbouring tokens that all carry loss, or all do not."""

    text: str
    loss: bool
    head: str
    """Text of the first token: it may hold the end of a prompt and the start of an answer. Without a chat template,
    of the first three: prompt and answer are one text there, whose tokens may diverge a little earlier."""


class WrongMask(NamedTuple):
    """A row whose loss does not stand where it should, and what was found."""

    row: Row
    part: str
    found: str


def stretches(encoded: Encoded, tokenizer: Tokenizer, part: str = "") -> list[Stretch]:
    """The row decoded, cut where loss begins and ends. The label of the first token is never used."""
    prefix = f"{part}." if part else ""
    ids, labels = encoded.parts[f"{prefix}input_ids"], encoded.parts[f"{prefix}labels"]
    merging = 3 if chat(tokenizer).template is None else 1
    found, at, before = [], 0, ""
    for loss, run in groupby(enumerate(labels), key=lambda pair: pair[0] > 0 and pair[1] != IGNORE):
        end = at + len(list(run))
        # Decoded with all that stands before: a decoder may treat the start of a text differently.
        whole = _decode(tokenizer, ids[:end])
        text = whole[len(before) :] if whole.startswith(before) else _decode(tokenizer, ids[at:end])
        found.append(Stretch(text, loss, _decode(tokenizer, ids[at : at + merging])))
        at, before = end, whole
    return found


def bracketed(found: Sequence[Stretch]) -> str:
    """One text with `[[` and `]]` around what carries loss."""
    return "".join(f"{OPEN}{s.text}{CLOSE}" if s.loss else s.text for s in found)


def preview(
    rows: Sequence[Encoded],
    sources: Sequence[Row],
    tokenizer: Tokenizer,
    n: int,
    items: Callable[[Encoded], int] = predicted,
) -> list[dict[str, Any]]:
    """The first rows, one entry per part: place, part, tokens, loss_tokens, text with marks, stretches.

    A row whose tokens have no labels of their own is one entry with its class, tags or texts, and its loss `items`.
    """
    found = []
    for encoded, source in islice(zip(rows, sources, strict=True), n):
        if not parts_of(encoded):
            found.append(_unlabelled(encoded, source, tokenizer) | {"loss_tokens": items(encoded)})
        for part in parts_of(encoded):
            labels = encoded.parts[f"{part}.labels" if part else "labels"]
            view = stretches(encoded, tokenizer, part)
            found.append(
                {
                    "place": source.place,
                    "source": source.source,
                    "part": part,
                    "tokens": len(labels),
                    "loss_tokens": len(labels[1:]) - list(labels[1:]).count(IGNORE),
                    "text": bracketed(view),
                    "stretches": [[s.text, s.loss] for s in view],
                }
            )
    return found


def _unlabelled(encoded: Encoded, source: Row, tokenizer: Tokenizer) -> dict[str, Any]:
    """A row of a model with a head: what it is told stands between the marks."""
    columns = source.columns
    texts = {name: ids for name, ids in encoded.parts.items() if name.endswith("input_ids")}
    if "class" in encoded.parts:
        marks, view = "class", [(f"{columns['text']}  ", False), (", ".join(classes(columns) or ()), True)]
    elif "tags" in encoded.parts:
        marks = "tag"
        pairs = list(zip(columns["tokens"], columns["tags"], strict=True))
        view = [s for w, t in pairs for s in ((w, False), *([] if t == "O" else [(t, True)]), (" ", False))]
    else:
        marks = "loss"
        view = [(f"{name.partition('.')[0]}: {_decode(tokenizer, ids)}  ", False) for name, ids in texts.items()]
    return {
        "place": source.place,
        "source": source.source,
        "part": "",
        "tokens": sum(map(len, texts.values())),
        "text": "".join(f"{OPEN}{text}{CLOSE}" if told else text for text, told in view),
        "stretches": [[text, told] for text, told in view],
        "marks": marks,
    }


def check_mask(
    strategy: Strategy, rows: Sequence[Encoded], sources: Sequence[Row], tokenizer: Tokenizer
) -> tuple[list[WrongMask], int]:
    """Rows whose loss is not on exactly the texts that the strategy names, and how many could not be compared.

    Compared without white space, as decoders add and drop it. Beside its texts a row may train what the
    template itself writes around an answer: the stop token, a line break, an empty thought.
    """
    around = _around(chat(tokenizer))
    wrong, unknown = [], 0
    for encoded, source in zip(rows, sources, strict=True):
        unknown += not parts_of(encoded)
        for part in parts_of(encoded):
            texts = strategy.trained_texts(source.columns, part)
            if texts is None:
                unknown += 1
                continue
            spelled = [_spelled(t, tokenizer) for t in texts]
            found = _compare(stretches(encoded, tokenizer, part), spelled, around)
            # Neighbouring unknown characters may be one token, half prompt and half answer.
            if found is None or (found and any((tokenizer.unk_token or "\0") in t for t in spelled)):
                unknown += 1
            elif found:
                wrong.append(WrongMask(source, part, found))
    return wrong, unknown


def _compare(view: Sequence[Stretch], texts: Sequence[str], around: tuple[str, str]) -> str | None:
    """Empty: as it should be; None: the template rewrites a text, so they cannot be compared; else what is wrong."""
    row = "".join(_bare(s.text) for s in view)
    loss = "".join(("1" if s.loss else "0") * len(_bare(s.text)) for s in view)
    starts = {n: _bare(s.head) for s, n in zip(view, _starts(view), strict=True)}
    at, left = 0, list(loss)
    for text in texts:
        places = _occurrences(row, text, at)
        if not places:
            return None
        start = next((p for p in places if "0" not in loss[p : p + len(text)]), None)
        if start is None:
            return f"the answer {_short(text)} carries no loss, or not all of it"
        left[start : start + len(text)] = "." * len(text)
        at = start + len(text)
    for mark, run in groupby(enumerate(left), key=lambda pair: pair[1]):
        if mark == "1":
            where = [i for i, _ in run]
            extra = row[where[0] : where[-1] + 1]
            head = starts.get(where[0], "")
            merged = head.startswith(extra) and len(head) > len(extra)
            if not merged and not _allowed(extra, around):
                return f"{_short(extra)} carries loss, which is no part of an answer"
    return ""


def _starts(view: Sequence[Stretch]) -> list[int]:
    return list(accumulate((len(_bare(s.text)) for s in view[:-1]), initial=0))


def _allowed(extra: str, around: tuple[str, str]) -> bool:
    before, after = around
    return extra in (before, after, after + before) or after.startswith(extra)


def _occurrences(row: str, text: str, start: int) -> list[int]:
    found = []
    while (start := row.find(text, start)) >= 0:
        found.append(start)
        start += 1
        if not text or len(found) > 1000:
            break
    return found


def _around(of: Chat) -> tuple[str, str]:
    """What the template itself writes right before and after an answer, without white space."""
    if of.template is None:
        return "", _bare(of.tokenizer.eos_token or "")
    turns: list[Mapping[str, Any]] = [{"role": "user", "content": "Zq"}, {"role": "assistant", "content": "Zy"}]
    try:
        prompt, whole = of.prompt(turns[:1]).text, of.conversation(turns).text
    except RenderError:
        return "", ""
    answer = whole.rfind("Zy")
    around = whole[common(prompt, whole) : answer], whole[answer + 2 :]
    before, after = (_spelled(text, of.tokenizer, split=False) for text in around)
    return before, after


def _spelled(text: str, tokenizer: Tokenizer, split: bool = True) -> str:
    """The text as it comes back from the tokenizer, which may normalise it."""
    ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=split)
    return _bare(_decode(tokenizer, ids))


def _decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def _bare(text: str) -> str:
    return "".join(text.split())


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
