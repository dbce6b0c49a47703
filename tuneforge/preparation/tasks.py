"""The kinds of task that an instruction may set, and what is looked at to tell them apart.

They follow those of InstructGPT (Ouyang et al. 2022, arXiv:2203.02155, table 1) and databricks-dolly-15k, with
translation, mathematics, role play, planning, tool calls and refusals set apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from tuneforge.conversation import Message, as_messages, split


class Task(StrEnum):
    """What an instruction asks for."""

    open_qa = "open_qa"
    closed_qa = "closed_qa"
    extraction = "extraction"
    summarization = "summarization"
    classification = "classification"
    rewriting = "rewriting"
    translation = "translation"
    code = "code"
    math = "math"
    brainstorming = "brainstorming"
    creative_writing = "creative_writing"
    role_play = "role_play"
    planning = "planning"
    conversation = "conversation"
    tool_call = "tool_call"
    refusal = "refusal"
    other = "other"


KINDS: dict[Task, str] = {
    Task.open_qa: "A question, or something to explain, from knowledge alone.",
    Task.closed_qa: "A question about a text that is given.",
    Task.extraction: "Parts of a text that is given.",
    Task.summarization: "The same, shorter.",
    Task.classification: "One of several answers that are known beforehand: classes, options, yes or no.",
    Task.rewriting: "A given text in other words, another form, corrected or completed.",
    Task.translation: "A given text in another language.",
    Task.code: "A program, a query, or what one does.",
    Task.math: "A calculation or a proof.",
    Task.brainstorming: "A list of ideas, names, examples.",
    Task.creative_writing: "A text to be composed: a story, verse, an article, a letter.",
    Task.role_play: "Speaking as somebody else.",
    Task.planning: "Steps towards a goal: a plan, a recipe, a schedule.",
    Task.conversation: "Several turns, or small talk.",
    Task.tool_call: "Tools are offered.",
    Task.refusal: "The answer declines.",
    Task.other: "None of these.",
}
"""Each with what it is."""

END = 3000
"""Characters at the beginning and at the end of a long text that are looked at."""

LEAD = 400
"""Characters of a first paragraph that are looked at."""


class Asked(NamedTuple):
    """An instruction, taken apart."""

    request: str
    """The last turn of the user before the answer, lower case."""
    lead: str
    """The beginning of its first paragraph."""
    context: str
    """What follows it."""
    answer: str
    """Lower case."""
    turns: int
    """Turns of the user."""
    tools: bool


def asked(columns: Mapping[str, Any]) -> Asked | None:
    """The instruction of a row; None for a row that is none: documents, classes, tags, pairs.

    Of a preference the chosen answer counts; a prompt without an answer has an empty one.
    """
    parts = split(columns) or split(columns, "chosen")
    if parts is None and columns.get("prompt") is not None:
        parts = as_messages(columns["prompt"], "user"), []
    if parts is None:
        return None
    before, answer = parts
    said = [_content(m) for m in before if m["role"] == "user"]
    request = _ends(said[-1] if said else "")
    lead, _, context = request.partition("\n\n")
    tools = bool(columns.get("tools")) or any(m["role"] == "tool" for m in before)
    text = _ends("\n".join(map(_content, answer))).replace("\u2019", "'")
    return Asked(request, lead[:LEAD], context or lead[LEAD:], text, len(said), tools)


def _ends(text: str) -> str:
    """Lower case, without the middle of a long text: what is asked stands at its ends."""
    whole = text if len(text) <= 2 * END else f"{text[:END]}\n{text[-END:]}"
    return whole.lower().strip()


def _content(message: Message) -> str:
    return str(message.get("content") or "")
