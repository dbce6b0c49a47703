"""Rows as token ids: conversations and plain texts, which tokens are the answer, and what ends a turn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tuneforge.conversation import as_messages, split
from tuneforge.rows import Row
from tuneforge.training.text.chat import NO_TEMPLATE, Chat, Messages, Span, Text, chat, common
from tuneforge.training.text.literal import RenderError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

__all__ = ["Answered", "RenderError", "Rendered", "answer_ids", "answers", "plain", "prompt_ids", "render", "stop_ids"]

LEAN = {"return_attention_mask": False, "return_token_type_ids": False, "verbose": False}
"""What a batched call leaves out: masks that nobody reads, and a warning about lengths that we judge ourselves."""


class Rendered(NamedTuple):
    """A row's tokens. `mask` is True at tokens of an assistant turn, its stop token included."""

    ids: list[int]
    mask: list[bool]
    literal: bool
    """The row spelled a control token and was tokenised by pieces, so that it stayed text."""


class Answered(NamedTuple):
    """A prompt and one answer: the answer's tokens are `ids[cut:]`, from where they diverge from the prompt's."""

    ids: list[int]
    cut: int
    prompt: list[int]
    literal: bool


def render(messages: Messages, tokenizer: Tokenizer, tools: Any = None) -> Rendered:
    """One conversation. Raises RenderError: no template, roles out of order, a mask that cannot be proved."""
    found = render_all([(messages, tools)], tokenizer)[0]
    if isinstance(found, RenderError):
        raise found
    return found


def render_all(conversations: Sequence[tuple[Messages, Any]], tokenizer: Tokenizer) -> list[Rendered | RenderError]:
    """Many conversations, tokenised in one call; a conversation that cannot be rendered gives its error."""
    of = chat(tokenizer)
    return _tokenise([_attempt(of.conversation, m, _tools(t)) for m, t in conversations], of)


def plain(texts: Sequence[str], tokenizer: Tokenizer) -> list[Rendered | RenderError]:
    """Texts as they are, with what the tokenizer adds itself and an end-of-text token; nothing is masked."""
    found = affixed(texts, tokenizer)
    return [r if isinstance(r, RenderError) else _ended(r, tokenizer.eos_token_id) for r in found]


def affixed(texts: Sequence[str], tokenizer: Tokenizer) -> list[Rendered | RenderError]:
    """Texts as they are, with what the tokenizer adds itself ([CLS], [SEP], a BOS) and nothing else."""
    of = chat(tokenizer)
    return _tokenise([_plain(t, of) for t in texts], of, affixes=True)


def answers(rows: Sequence[Mapping[str, Any]], tokenizer: Tokenizer, column: str) -> list[Answered | RenderError]:
    """Columns with a prompt and an answer in `column`, tokenised whole and cut where the prompt's ids diverge.

    With a chat template both are turns; without one, texts that are joined and ended by the eos token.
    """
    of = chat(tokenizer)
    pairs = [_sides(c, of, column) for c in rows]
    chatted = of.template is not None
    prompts = _tokenise([p if isinstance(p, RenderError) else p[0] for p in pairs], of, affixes=not chatted)
    wholes = _tokenise([p if isinstance(p, RenderError) else p[1] for p in pairs], of, affixes=not chatted)
    if not chatted:
        suffix = len(of.affixes[1])
        prompts = [p if isinstance(p, RenderError) else p._replace(ids=p.ids[: len(p.ids) - suffix]) for p in prompts]
        wholes = [w if isinstance(w, RenderError) else _ended(w, tokenizer.eos_token_id) for w in wholes]
    return [_answered(p, w) for p, w in zip(prompts, wholes, strict=True)]


def prompt_ids(
    columns: Mapping[str, Any], tokenizer: Tokenizer, shots: Sequence[Row] = (), column: str = "completion"
) -> list[int]:
    """Ids after which the model is to answer. Shots come first: as turns, or as blocks of text. Raises RenderError.

    Without a chat template the text in `preface`, where the columns have one, stands before the shots. A `text` without
    a prompt is to be gone on with: it stands alone, without turns, as texts are trained.
    """
    of = chat(tokenizer)
    if columns.get("prompt") is None and isinstance(columns.get("text"), str):
        found = _tokenise([_plain(columns["text"], of)], of, affixes=True)
        suffix = len(of.affixes[1])
    elif of.template is None:
        text = f"{columns['preface']}\n\n" if columns.get("preface") else ""
        text += "".join(f"{_string(s.columns, 'prompt')}{_string(s.columns, 'completion')}\n\n" for s in shots)
        found = _tokenise([_plain(text + _string(columns, "prompt"), of)], of, affixes=True)
        suffix = len(of.affixes[1])
    else:
        prompt = _turns(columns, column)[0]
        earlier = [m for s in shots for part in _turns(s.columns, "completion") for m in part if m["role"] != "system"]
        system = [m for m in prompt if m["role"] == "system"]
        turns = [*system, *earlier, *(m for m in prompt if m["role"] != "system")]
        found = _tokenise([_attempt(of.prompt, turns, _tools(columns.get("tools")))], of)
        suffix = 0
    if isinstance(found[0], RenderError):
        raise found[0]
    return found[0].ids[: len(found[0].ids) - suffix]


def answer_ids(columns: Mapping[str, Any], tokenizer: Tokenizer, column: str = "completion") -> list[int]:
    """Ids of the answer after `prompt_ids`, through the token that ends the turn. Raises RenderError.

    What a template writes after that token (a line break) is not part of the answer.
    """
    found = answers([columns], tokenizer, column)[0]
    if isinstance(found, RenderError):
        raise found
    ids = found.ids[found.cut :]
    stops = stop_ids(tokenizer)
    last = max((i for i, t in enumerate(ids) if t in stops), default=len(ids) - 1)
    tail = ids[last + 1 :]
    return ids[: last + 1] if not tokenizer.decode(tail).strip() else ids


def stop_ids(tokenizer: Tokenizer, model: Any = None) -> set[int]:
    """Ids that end a turn: eos, the template's end of an assistant turn, the model's generation config."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    found = {configured} if isinstance(configured, int) else set(configured or ())
    if tokenizer.eos_token_id is not None:
        found.add(tokenizer.eos_token_id)
    turn = _turn_end(chat(tokenizer))
    return found | {turn} if turn is not None else found


def _turn_end(of: Chat) -> int | None:
    """The control token that the template writes right after an assistant's words."""
    if of.template is None:
        return None
    try:
        text = of.conversation([{"role": "user", "content": "a"}, {"role": "assistant", "content": "Zq"}]).text
    except RenderError:
        return None
    tail: list[int] = (
        of.tokenizer.encode(text[text.rindex("Zq") + 2 :], add_special_tokens=False) if "Zq" in text else []
    )
    return next((t for t in tail[:3] if t in of.literals.ids), None)


def _attempt(make: Any, messages: Messages, tools: Any) -> Text | RenderError:
    try:
        found: Text = make(messages, tools)
    except RenderError as error:
        return error
    return found


def _plain(text: str, of: Chat) -> Text | RenderError:
    try:
        marked = of.literals.mark_text(text)
    except RenderError as error:
        return error
    return Text(text, []) if marked is None else Text(marked[0], [], marked[1])


def _tokenise(texts: Sequence[Text | RenderError], of: Chat, affixes: bool = False) -> list[Rendered | RenderError]:
    """Texts without sentinels in one batched call, the others by pieces."""
    whole = [i for i, t in enumerate(texts) if isinstance(t, Text) and not t.pair]
    found: list[Rendered | RenderError] = [t if isinstance(t, RenderError) else _PENDING for t in texts]
    if whole:
        some: list[Text] = [texts[i] for i in whole]  # type: ignore[misc]
        for i, rendered in zip(whole, _together(some, of, affixes), strict=True):
            found[i] = rendered
    for i, text in enumerate(texts):
        if isinstance(text, Text) and text.pair:
            found[i] = _by_pieces(text, of, affixes)
    return found


def _together(texts: Sequence[Text], of: Chat, affixes: bool) -> Iterable[Rendered | RenderError]:
    words = [text.text for text in texts]
    if not any(text.spans for text in texts) and of.bare:
        backend = of.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = of.tokenizer.split_special_tokens
        for encoding in backend.encode_batch_fast(words, add_special_tokens=affixes):
            ids = encoding.ids
            yield Rendered(ids, [False] * len(ids), False)
        return
    coded = of.tokenizer(words, add_special_tokens=affixes, **LEAN)
    for n, text in enumerate(texts):
        ids = coded["input_ids"][n]
        mask = _mask(coded, n, len(ids), text.spans)
        yield mask if isinstance(mask, RenderError) else Rendered(ids, mask, False)


_PENDING = RenderError("not tokenised")


def _mask(coded: Any, n: int, length: int, spans: list[Span]) -> list[bool] | RenderError:
    mask = [False] * length
    if not spans:
        return mask
    if not coded.is_fast:
        return RenderError("the tokenizer gives no offsets (not a fast one), so no mask can be proved")
    at = coded.encodings[n].char_to_token
    for start, end in spans:
        first = next((t for c in range(start, end) if (t := at(c)) is not None), None)
        if first is None:
            continue
        last = next(t for c in range(end - 1, start - 1, -1) if (t := at(c)) is not None)
        chars = coded.encodings[n].offsets
        while last + 1 < length and chars[last + 1][0] < end and chars[last + 1][1] > chars[last + 1][0]:
            last += 1  # further tokens of one character, as of an emoji
        mask[first : last + 1] = [True] * (last + 1 - first)
    return mask


def _by_pieces(text: Text, of: Chat, affixes: bool) -> Rendered | RenderError:
    if text.spans and not of.tokenizer.is_fast:
        return RenderError("the tokenizer gives no offsets (not a fast one), so no mask can be proved")
    try:
        tokens = of.literals.tokens(text.text, text.pair)
    except RenderError as error:
        return error
    mask = [any(a < end and b > start for start, end in text.spans) for a, b in tokens.spans]
    before, after = of.affixes if affixes else ([], [])
    ids = [*before, *tokens.ids, *after]
    mask = mask or [False] * len(tokens.ids)
    return Rendered(ids, [False] * len(before) + mask + [False] * len(after), True)


def _ended(found: Rendered, eos: int | None) -> Rendered:
    if eos is None or (found.ids and found.ids[-1] == eos):
        return found
    found.ids.append(eos)
    found.mask.append(False)
    return found


def _answered(prompt: Rendered | RenderError, whole: Rendered | RenderError) -> Answered | RenderError:
    if isinstance(prompt, RenderError) or isinstance(whole, RenderError):
        return prompt if isinstance(prompt, RenderError) else whole  # type: ignore[return-value]
    return Answered(whole.ids, common(prompt.ids, whole.ids), prompt.ids, prompt.literal or whole.literal)


def _sides(columns: Mapping[str, Any], of: Chat, column: str) -> tuple[Text, Text] | RenderError:
    try:
        if of.template is None:
            prompt, answer = _string(columns, "prompt"), _string(columns, column)
            whole = _plain(prompt + answer, of)
            # What the whole does not spell the prompt does not either.
            unmarked = isinstance(whole, Text) and not whole.pair
            sides: Iterable[Text | RenderError] = (Text(prompt, []) if unmarked else _plain(prompt, of), whole)
        else:
            before, after = _turns(columns, column)
            tools = _tools(columns.get("tools"))
            sides = (of.prompt(before, tools), of.conversation([*before, *after], tools))
    except RenderError as error:
        return error
    first, second = sides
    if isinstance(first, RenderError) or isinstance(second, RenderError):
        return first if isinstance(first, RenderError) else second  # type: ignore[return-value]
    return first, second


def _turns(columns: Mapping[str, Any], column: str) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Messages of the prompt and of the answer; the answer may be absent where only a prompt is asked for."""
    found = split(columns, column)
    if found is not None:
        return found
    if columns.get("prompt") is not None:
        return list(as_messages(columns["prompt"], "user")), []
    raise RenderError(f"the row has no prompt with an answer in '{column}'")


def _string(columns: Mapping[str, Any], name: str) -> str:
    value = columns.get(name)
    if isinstance(value, str):
        return value
    if value or columns.get("messages"):
        raise RenderError(f"a conversation, but {NO_TEMPLATE}")
    raise RenderError(f"the row has no '{name}'")


def _tools(tools: Any) -> Any:
    if not isinstance(tools, str):
        return tools or None
    try:
        return json.loads(tools) or None
    except json.JSONDecodeError as error:
        raise RenderError(f"tools are not JSON: {error}") from error
