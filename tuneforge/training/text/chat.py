"""Conversations as text: the template, and which characters of its output an assistant wrote."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from tuneforge.training.text.literal import Literals, RenderError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

Messages = Sequence[Mapping[str, Any]]
Span = tuple[int, int]
MARK = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
MARKS = re.compile(r"\{%([-+]?)\s*(?:end)?generation\s*([-+]?)%\}")
ROLES = ("system", "user", "assistant", "tool")
NO_TEMPLATE = "no chat template; set model.chat_template=... (a .jinja file or the template itself)"


class Text(NamedTuple):
    """A rendered conversation: its text, the assistant's spans (characters), and sentinels where it has any."""

    text: str
    spans: list[Span]
    pair: str = ""


class Chat:
    """What a tokenizer makes of conversations. `template` is None for a tokenizer without one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        own = tokenizer.get_chat_template() if tokenizer.chat_template else None
        known = None if own is None or MARK.search(own) else training_template(own)
        self.template: str | None = known or own
        self.source = "none" if own is None else "trl" if known else "marks" if MARK.search(own) else "prefix"
        """Where masks come from: the template's generation marks, TRL's training template, or prefixes."""
        self.literals = Literals(tokenizer, self.template)
        self.affixes = _affixes(tokenizer)
        self.bare = _bare(tokenizer)
        """Whether calling the tokenizer is calling its backend, which is faster where nobody asks for offsets."""
        self.version = _version(tokenizer)

    def conversation(self, messages: Messages, tools: Any = None) -> Text:
        """The whole conversation with the spans of assistant turns of weight above 0. Raises RenderError."""
        messages, tools, pair = self._prepared(messages, tools)
        text, spans = self._render(messages, tools)
        if self.source == "prefix":
            spans = self._by_prefix(messages, tools, text)
        return Text(text, self._weighted(messages, tools, spans), pair)

    def prompt(self, messages: Messages, tools: Any = None) -> Text:
        """The conversation up to where the assistant is to answer. Raises RenderError."""
        messages, tools, pair = self._prepared(messages, tools)
        return Text(self._render(messages, tools, prompt=True)[0], [], pair)

    def _prepared(self, messages: Messages, tools: Any) -> tuple[list[dict[str, Any]], Any, str]:
        if self.template is None:
            raise RenderError(NO_TEMPLATE)
        check(messages)
        marked = self.literals.mark(messages, tools)
        return marked if marked is not None else ([dict(m) for m in messages], tools, "")

    def _render(self, messages: Messages, tools: Any, prompt: bool = False) -> tuple[str, list[Span]]:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        bare = [{k: v for k, v in m.items() if k != "weight" and v is not None} for m in messages]
        try:
            texts, spans = render_jinja_template(
                conversations=[bare],
                tools=tools or None,
                chat_template=self.template,
                return_assistant_tokens_mask=self.source in ("marks", "trl"),
                add_generation_prompt=prompt,
                **self.tokenizer.special_tokens_map,
            )
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise RenderError(f"the chat template refuses the conversation: {error}") from error
        return texts[0], [tuple(s) for s in spans[0]] if spans else []

    def _by_prefix(self, messages: Messages, tools: Any, text: str) -> list[Span]:
        """Spans of assistant turns, where each turn is rendered the same whatever follows it."""
        spans = []
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            through = self._render(messages[: i + 1], tools)[0]
            history = self._render(messages[:i], tools)[0]
            start = common(self._render(messages[:i], tools, prompt=True)[0], through)
            content = message.get("content") or ""
            same = text.startswith(through) and through.startswith(history) and start >= len(history)
            if not same or content.strip() not in through[start:]:
                raise RenderError(
                    f"the chat template has no generation marks and renders message {i + 1} differently once the"
                    " conversation goes on, so which tokens are the assistant's cannot be proved"
                )
            spans.append((start, start + len(through[start:].rstrip())))
        return spans

    def _weighted(self, messages: Messages, tools: Any, spans: list[Span]) -> list[Span]:
        turns = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
        off = {i for i in turns if messages[i].get("weight") == 0}
        if not off:
            return spans
        if len(turns) == len(spans):
            return [s for i, s in zip(turns, spans, strict=True) if i not in off]
        # Several spans a turn: the turn's own are those that appear when it is added.
        until = [len(self._render(messages[: i + 1], tools)[1]) for i in turns]
        if until != sorted(until) or until[-1] != len(spans):
            raise RenderError("a message of weight 0: its tokens cannot be told from those of other turns")
        starts = [0, *until[:-1]]
        return [s for i, a, b in zip(turns, starts, until, strict=True) if i not in off for s in spans[a:b]]


_chats: WeakKeyDictionary[Any, Chat] = WeakKeyDictionary()


def chat(tokenizer: Tokenizer) -> Chat:
    """The tokenizer's `Chat`, made once and again when its template or its vocabulary changes."""
    known = _chats.get(tokenizer)
    if known is None or known.version != _version(tokenizer):
        known = _chats[tokenizer] = Chat(tokenizer)
    return known


def trained_template(tokenizer: Tokenizer) -> Any:
    """The chat template to save: the tokenizer's own, or TRL's where conversations were trained in it, without marks.

    Engines that serve the model do not know generation marks; something else that writes nothing takes their
    place, so that white space is trimmed as before.
    """
    found = chat(tokenizer)
    if found.source != "trl" or found.template is None:
        return tokenizer.chat_template
    return MARKS.sub(r"{%\1 set trained = true \2%}", found.template)


def check(messages: Messages) -> None:
    """RenderError for a conversation that no template should see."""
    if not messages:
        raise RenderError("an empty conversation")
    last = ""
    for i, message in enumerate(messages, 1):
        role = message.get("role")
        if role not in ROLES:
            raise RenderError(f"message {i} has the role {role!r}; allowed are {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str) and not message.get("tool_calls"):
            raise RenderError(f"message {i} ({role}) has no text")
        if message.get("weight") not in (None, 0, 1):
            raise RenderError(f"message {i} has the weight {message['weight']!r}; allowed are 0 and 1")
        if (role == "system" and i > 1) or (role == last and role != "tool"):
            raise RenderError(f"roles out of order: message {i} is {role}" + (f" after {last}" if last else ""))
        if role in ("assistant", "tool") and last in ("", "system"):
            raise RenderError(f"roles out of order: the conversation starts with {role}")
        last = role


def common(a: Sequence[Any], b: Sequence[Any]) -> int:
    """Length of the longest common prefix."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next(i for i in range(n) if a[i] != b[i])


@lru_cache(maxsize=16)
def training_template(template: str) -> str | None:
    """TRL's training template for this very template: the same with generation marks. None where it has none.

    Read from the installed package without importing it, which would take seconds.
    """
    found = importlib.util.find_spec("trl")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "chat_templates"
    for path in sorted(folder.glob("*.jinja")):
        training = path.with_name(f"{path.stem}_training.jinja")
        if training.exists() and path.read_text(encoding="utf-8") == template:
            return training.read_text(encoding="utf-8")
    return None


def _affixes(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Ids that the tokenizer itself puts before and after a text."""
    bare: list[int] = tokenizer.encode("a", add_special_tokens=False)
    full: list[int] = tokenizer.encode("a")
    at = next((i for i in range(len(full) - len(bare) + 1) if full[i : i + len(bare)] == bare), 0)
    return full[:at], full[at + len(bare) :]


def _bare(tokenizer: Tokenizer) -> bool:
    from transformers import PreTrainedTokenizerFast as Fast

    own = [name for name in ("__call__", "_encode_plus") if getattr(type(tokenizer), name) is not getattr(Fast, name)]
    return isinstance(tokenizer, Fast) and not own


def _version(tokenizer: Tokenizer) -> tuple[Any, ...]:
    return (str(tokenizer.chat_template), len(tokenizer), tokenizer.eos_token, tokenizer.pad_token)
