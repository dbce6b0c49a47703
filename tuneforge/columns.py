"""What a row may hold and what it is for: the names in a source's config."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(kw_only=True)
class Columns:
    """Where each canonical column comes from: a column's name, a dotted path (`instances.0.output`, `paragraphs.text`),
    or a template of them (`{CONTEXTS}\\n\\n{QUESTION}`, `{answer:, }`). A column of the whole name wins."""

    text: str | None = None
    """Plain text to continue pretraining on."""
    messages: str | None = None
    """A conversation: a list of messages."""
    prompt: str | None = None
    """What the model is asked (alpaca: instruction)."""
    input: str | None = None
    """Further input, appended to the prompt after a blank line (alpaca: input)."""
    completion: str | None = None
    """What the model should answer (alpaca: output)."""
    references: str | None = None
    """All answers that would be right, as a list of texts; without a completion the first is trained on."""
    choices: str | None = None
    """The texts to choose from, as a list; the completion is one of them, its letter, or its number from 0."""
    chosen: str | None = None
    """The preferred answer."""
    rejected: str | None = None
    """The answer that is not preferred."""
    margin: str | None = None
    """By how much the chosen answer is to win, a number (strategy=reward)."""
    label: str | None = None
    """The class of the text, or a list of classes; with prompt and completion: whether the answer is wanted."""
    tokens: str | None = None
    """The words of a text, as a list."""
    tags: str | None = None
    """One tag for each word, as a list."""
    anchor: str | None = None
    """A text to which another belongs: a question, a query."""
    positive: str | None = None
    """The text that belongs to the anchor."""
    negative: str | None = None
    """A text that does not belong to the anchor."""
    system: str | None = None
    """A system message put before the conversation."""
    tools: str | None = None
    """Tools that the conversation may call."""
    id: str | None = None
    """An identifier to show instead of the line."""
    group: str | None = None
    """Rows with an equal value are split, and left out of intervals, together."""


class Format(StrEnum):
    """How a row's columns are laid out in the file."""

    auto = "auto"
    text = "text"
    messages = "messages"
    sharegpt = "sharegpt"
    alpaca = "alpaca"
    prompt_completion = "prompt_completion"
    preference = "preference"
    hh_rlhf = "hh_rlhf"
    label = "label"
    tags = "tags"
    pair = "pair"
    unpaired = "unpaired"


class Role(StrEnum):
    """What an evaluation set stands for in the verdict."""

    target = "target"
    general = "general"
    safety = "safety"
