"""From the columns of a file to canonical columns, for rows whose layout is known."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuneforge import conversation
from tuneforge.components import Format
from tuneforge.preparation.mapping import Mapped, rendered
from tuneforge.preparation.messages import Message, Unusable, filled, message, messages, ordered, text, transcript

Side = str | list[Message]

WANTED = {"true": True, "1": True, "false": False, "0": False}
"""Label of an answer: whether it is wanted."""


@dataclass
class Layout:
    """How the rows of one source are laid out."""

    format: Format
    names: dict[str, str]
    """Canonical name: name in the file, or an expression over its columns."""
    said: str
    """What was recognised and why, for the report."""
    extra: Counter[str] = field(default_factory=Counter)
    """Columns that are not used: number of rows that have them."""
    mapped: Mapped = field(default_factory=lambda: Mapped({}))
    """The names that are expressions."""
    read: frozenset[str] = frozenset()
    """Columns that the expressions read."""

    def __post_init__(self) -> None:
        self._used = {*self.names.values(), *self.read}

    def convert(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Canonical columns of one row; Unusable with the reason otherwise."""
        raw = self.mapped.apply(raw)
        self.extra.update([column for column in raw if column not in self._used])
        made: dict[str, Any] = {}
        if "chosen" in self.names:
            made.update(self._preference(raw))
        elif "prompt" in self.names:
            made["prompt"] = self._prompt(raw)
        made.update(self._several(raw))
        if "completion" in self.names:
            made["completion"] = self._answer(raw, "completion")
        elif "references" in made:
            made["completion"] = made["references"][0]
        if "messages" in self.names and ("chosen" not in self.names or "prompt" in self.names):
            made["messages"] = self._conversation(raw)
        if "text" in self.names:
            made["text"] = filled(self._field(raw, "text"), self._said("text"))
        if "tokens" in self.names and "tags" in self.names:
            made.update(self._tagged(raw))
        made.update({name: self._plain(raw, name) for name in ("anchor", "positive") if name in self.names})
        if self._optional(raw, "negative") is not None:
            made["negative"] = self._plain(raw, "negative")
        made = _alike(made)
        made.update(self._label(raw))
        made.update(self._tools(raw))
        return made

    def _said(self, canonical: str) -> str:
        return f"'{self.names[canonical]}'"

    def _field(self, raw: Mapping[str, Any], canonical: str) -> Any:
        name = self.names[canonical]
        if name not in raw:
            raise Unusable(f"missing field: '{name}'")
        return raw[name]

    def _optional(self, raw: Mapping[str, Any], canonical: str) -> Any:
        """The value where the file has the column and the row fills it; null and absent are None."""
        return raw.get(self.names[canonical]) if canonical in self.names else None

    def _system(self, raw: Mapping[str, Any]) -> list[Message]:
        system = self._optional(raw, "system")
        if system is None or not text(system, self._said("system")).strip():
            return []
        return [{"role": "system", "content": system}]

    def _conversation(self, raw: Mapping[str, Any], last: str = "assistant") -> list[Message]:
        turns = messages(self._field(raw, "messages"), self._said("messages"), self.extra)
        allowed = ("assistant",) if last == "assistant" else ("user", "tool")
        return ordered(self._system(raw) + turns, allowed, self._said("messages"))

    def _prompt(self, raw: Mapping[str, Any]) -> Side:
        value, where = self._field(raw, "prompt"), self._said("prompt")
        if isinstance(value, list):
            turns = self._system(raw) + messages(value, where, self.extra)
            return ordered(turns, ("user", "tool"), where)
        further = self._optional(raw, "input")
        parts = [text(value, where)] + ([] if further is None else [text(further, self._said("input"))])
        asked = filled(
            "\n\n".join(p for p in parts if p.strip()) if len(parts) > 1 else parts[0], where, "empty prompt"
        )
        before = self._system(raw) + self._history(raw)
        return [*before, {"role": "user", "content": asked}] if before else asked

    def _history(self, raw: Mapping[str, Any]) -> list[Message]:
        """Earlier turns of an alpaca row: a list of [question, answer] pairs."""
        turns: list[Message] = []
        where = self._said("history") if "history" in self.names else ""
        for number, pair in enumerate(self._optional(raw, "history") or ()):
            if not isinstance(pair, list) or len(pair) != 2:
                raise Unusable(f"wrong type: {where}[{number}] is not a pair of question and answer")
            turns.append({"role": "user", "content": filled(pair[0], f"{where}[{number}]", "empty prompt")})
            turns.append({"role": "assistant", "content": filled(pair[1], f"{where}[{number}]", "empty answer")})
        return turns

    def _answer(self, raw: Mapping[str, Any], canonical: str) -> Side:
        """An answer alone: text, one message, or messages that begin with the assistant."""
        turns = self._side(raw, canonical)
        if not isinstance(turns, str):
            # An answer stands after a user's turn, so that is where the order of its roles begins.
            ordered([{"role": "user"}, *turns], ("assistant",), self._said(canonical))
        return turns

    def _several(self, raw: Mapping[str, Any]) -> dict[str, list[str]]:
        """All right answers, and the choices, as lists of texts."""
        made = {}
        for name in ("references", "choices"):
            value = self._optional(raw, name)
            if value is None:
                continue
            values = [value] if isinstance(value, str | int | float) else value
            if not isinstance(values, list) or not values:
                raise Unusable(f"wrong type: {self._said(name)} is no list with something in it")
            made[name] = [rendered(one, f"{self._said(name)}[{number}]") for number, one in enumerate(values)]
        return made

    def _side(self, raw: Mapping[str, Any], canonical: str) -> Side:
        value, where = self._field(raw, canonical), self._said(canonical)
        if self.format is Format.hh_rlhf and canonical != "completion":
            return transcript(value, where)
        if isinstance(value, list):
            return messages(value, where, self.extra)
        return [message(value, where, self.extra)] if isinstance(value, dict) else filled(value, where, "empty answer")

    def _preference(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        chosen, rejected = self._side(raw, "chosen"), self._side(raw, "rejected")
        given = self._given_prompt(raw)
        if _begins_with_prompt(chosen) or _begins_with_prompt(rejected):
            given, chosen, rejected = _shared_prompt(self._system(raw), given, chosen, rejected)
        elif given is None:
            raise Unusable("missing field: no prompt, and chosen does not begin with one")
        else:
            chosen, rejected = self._answer(raw, "chosen"), self._answer(raw, "rejected")
        if as_messages(chosen, "assistant") == as_messages(rejected, "assistant"):
            raise Unusable("chosen equals rejected: nothing is preferred")
        return {"prompt": given, "chosen": chosen, "rejected": rejected} | self._margin(raw)

    def _margin(self, raw: Mapping[str, Any]) -> dict[str, float]:
        """By how much the chosen answer is to win, where the row says it."""
        margin = self._optional(raw, "margin")
        if margin is None:
            return {}
        try:
            value = float(margin)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise Unusable(f"wrong type: {self._said('margin')} is {margin!r}, not a number")
        return {"margin": value}

    def _given_prompt(self, raw: Mapping[str, Any]) -> Side | None:
        if "prompt" in self.names:
            return self._prompt(raw)
        return self._conversation(raw, last="user") if "messages" in self.names else None

    def _label(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        label = self._optional(raw, "label")
        if label is None:
            if self.format in (Format.label, Format.unpaired):
                raise Unusable(f"no label: {self._said('label')} is empty")
            return {}
        where = self._said("label")
        if "completion" in self.names and "chosen" not in self.names:
            wanted = WANTED.get(str(label).strip().casefold())
            if wanted is None and self.format is Format.unpaired:
                raise Unusable(f"wrong label: {where} is {label!r}; an answer is wanted (true) or not (false)")
            return {"label": self._class(label, where) if wanted is None else wanted}
        if isinstance(label, list):
            return {"label": [str(self._class(one, f"{where}[{number}]")) for number, one in enumerate(label)]}
        return {"label": self._class(label, where)}

    def _class(self, label: Any, where: str, kind: str = "empty label") -> str | int:
        return label if isinstance(label, (bool, int)) else filled(label, where, kind)

    def _plain(self, raw: Mapping[str, Any], canonical: str) -> str:
        return filled(self._field(raw, canonical), self._said(canonical))

    def _tagged(self, raw: Mapping[str, Any]) -> dict[str, list[str]]:
        """Words and their tags, as lists of equal length."""
        found = {}
        for name, kind in (("tokens", "empty word"), ("tags", "empty tag")):
            value, where = self._field(raw, name), self._said(name)
            if not isinstance(value, list) or not value:
                raise Unusable(f"wrong type: {where} is no list with something in it")
            found[name] = [str(self._class(one, f"{where}[{i}]", kind)) for i, one in enumerate(value)]
        words, tags = len(found["tokens"]), len(found["tags"])
        if words != tags:
            raise Unusable(
                f"lengths differ: {self._said('tokens')} has {words} words, {self._said('tags')} {tags} tags"
            )
        return found

    def _tools(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Tools as a list of objects; many files hold that list as a JSON string."""
        tools = self._optional(raw, "tools")
        if isinstance(tools, str):
            try:
                tools = json.loads(tools) if tools.strip() else None
            except ValueError as error:
                raise Unusable(f"invalid tools: {self._said('tools')} is text, but not JSON ({error})") from None
        if tools is None or tools == []:
            return {}
        if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
            raise Unusable(f"invalid tools: {self._said('tools')} is not a list of objects")
        return {"tools": tools}


def _begins_with_prompt(side: Side) -> bool:
    return not isinstance(side, str) and side[0]["role"] != "assistant"


def _shared_prompt(
    system: list[Message], given: Side | None, chosen: Side, rejected: Side
) -> tuple[list[Message], list[Message], list[Message]]:
    """(prompt, chosen, rejected) of two whole conversations that must agree up to their last turn."""
    left, right = system + as_messages(chosen, "assistant"), system + as_messages(rejected, "assistant")
    prompt = left[:-1]
    if prompt != right[:-1]:
        raise Unusable("prompt differs: chosen and rejected do not answer the same prompt")
    for side, where in ((left, "chosen"), (right, "rejected")):
        ordered(side, ("assistant",), where)
    if given is not None and as_messages(given, "user")[-1]["content"] != prompt[-1]["content"]:
        raise Unusable("prompt differs: the prompt column is not the prompt in chosen and rejected")
    return prompt, left[-1:], right[-1:]


def as_messages(value: Side, role: str) -> list[Message]:
    """As `conversation.as_messages`, of plain dicts."""
    return [dict(message) for message in conversation.as_messages(value, role)]


def _alike(columns: dict[str, Any]) -> dict[str, Any]:
    """Prompt and answers of one row all as messages where one of them is, else all as text."""
    roles = {"prompt": "user", "completion": "assistant", "chosen": "assistant", "rejected": "assistant"}
    if not any(isinstance(columns.get(name), list) for name in roles):
        return columns
    return {name: as_messages(value, roles[name]) if name in roles else value for name, value in columns.items()}
