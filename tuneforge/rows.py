"""The values that travel through a run: rows, encodings, losses, requests and answers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Batch = dict[str, Tensor]

Stats = Mapping[str, float]
NO_FIELDS: Mapping[str, Any] = {}
"""One object for all rows without any; nobody changes it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One example, and where it came from. Change it with `dataclasses.replace`.

    Canonical columns follow the ecosystem: `text`; `messages` (list of {role, content, weight?}) and
    `tools`; `prompt` + `completion`; `prompt` + `chosen` + `rejected`; `text` + `label` (a text, a number
    or a list of texts); `tokens` + `tags` (lists of equal length); `anchor` + `positive` (+ `negative`); `prompt` +
    `completion` + `label` (a bool: whether the answer is wanted). A `prompt` is a string or a list of messages;
    so are `completion`, `chosen` and `rejected`. Beside an answer may stand `references` (all texts that would be
    right) and `choices` (the texts to choose from).
    """

    columns: Mapping[str, Any]
    source: str = ""
    """Key of the data source in the config, as in `data.alpaca`."""
    file: str = ""
    line: int | str = 0
    """1-based line, row number, or key of the row in its file."""
    id: str = ""
    """Content hash, set by the core."""
    history: tuple[str, ...] = ()
    """Names of the transforms that touched the row, set by the core."""
    group: str = ""
    """Rows of one group are split, and left out of intervals, together."""
    task: str = ""
    """Kind of task that an instruction sets, where a transform told it."""
    fields: Mapping[str, Any] = field(default_factory=lambda: NO_FIELDS)
    """Columns kept as the file has them (`data.X.keep`), for evaluators and slices; no model sees them."""

    @property
    def place(self) -> str:
        """`file:line`, for messages."""
        return f"{self.file}:{self.line}" if self.file else f"{self.source}:{self.line}"


class Rejected(NamedTuple):
    """A row that is not used, with the reason that is counted and written to the quarantine."""

    row: Row
    reason: str


Kept = Iterator[Row | Rejected]


class Encoded(NamedTuple):
    """Token ids of one row: `input_ids` and `labels`, or `chosen.input_ids`, `chosen.labels`, …

    Labels stand at the token they name (not shifted); -100 carries no loss. `extras` are numbers that
    travel with the row into the batch as float tensors of shape (rows,).
    """

    parts: Mapping[str, Sequence[int]]
    extras: Stats = MappingProxyType({})


class Loss(NamedTuple):
    """A loss SUM and the number of items it sums over; the core divides over the whole step.

    A log is a sum over the same items, or a tensor (2,): a sum, and what it is divided by.
    """

    total: Tensor
    items: Tensor | int
    logs: Mapping[str, Tensor] = MappingProxyType({})


class Sampling(NamedTuple):
    """How continuations are drawn: temperature 0 is greedy, top_p 1 and top_k 0 keep every token."""

    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


class Loaded(NamedTuple):
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


class Request(NamedTuple):
    """One call to a teacher."""

    messages: Sequence[Mapping[str, Any]]
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int = 0
    row: Row | None = None
    """Handed back with the answer; not part of the store's key."""


class Answer(NamedTuple):
    """What a model or teacher said. `finish` is `stop` or `length`; `cost` is in US dollars."""

    text: str
    error: str = ""
    finish: str = "stop"
    prompt_tokens: int = 0
    tokens: int = 0
    cost: float = 0.0
    log_prob: float | None = None
    """Summed log-probability (nats) of the generated tokens and of the one that ended them; None: not known."""


UNIT = (0.0, 1.0)
"""Bounds of shares and of means of them."""


class Metric(NamedTuple):
    """A number that an evaluator reports."""

    name: str
    higher_is_better: bool = True
    own_unit: bool = False
    """In the model's own unit: nothing is reported of a variant that says it counts another, as a rule may."""
    share: bool = True
    """Values that all happen to be 0, ½ or 1 are those of a share; False: of a scale, where they are numbers."""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """Least and greatest value that there can be; no interval leaves them."""


class Stage(NamedTuple):
    """A named list of overrides on top of the user's config; `model_from` names an earlier stage."""

    name: str
    overrides: Sequence[str]
    model_from: str = ""


class Conclusion(NamedTuple):
    """What the stages of a program say together."""

    decision: str
    """A word or two, as a verdict."""
    text: str
    """One sentence with the figures behind it."""
    facts: Mapping[str, Any] = MappingProxyType({})
    """Written to program.json; `curve` and `slices` are drawn in the report."""


@dataclass(frozen=True)
class HeldOut:
    """An evaluation set: `name` is its key in the config, `split` is validation or test."""

    name: str
    split: str
    role: str
    rows: Sequence[Row] = field(default_factory=tuple)


def content_hash(columns: Mapping[str, Any]) -> str:
    """Hash of canonical columns: equal for equal content whatever the key order. 16 hex digits."""
    text = json.dumps(columns, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
