"""All rows as tokens: what is too long is rejected or cut, and everything is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from tuneforge.components import Context, Strategy
from tuneforge.conversation import as_messages
from tuneforge.errors import ConfigError
from tuneforge.preparation.store import streams
from tuneforge.preparation.view import View
from tuneforge.rows import Encoded, Rejected, Row
from tuneforge.training.batches.collate import IGNORE
from tuneforge.training.text.chat import chat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.settings import Run
    from tuneforge.training.text.spool import Spool

BATCH = 1000
"""Rows per call of a strategy's `encode`: a fast tokenizer is twice as fast on many texts at once."""
DEFAULT_LENGTH = 1024
SPEAKERS = {"prompt": "user"} | dict.fromkeys(
    ("text", "completion", "chosen", "rejected", "anchor", "positive", "negative"), "assistant"
)
"""Columns of text, and who speaks there."""
AFTER_PADDING = (
    "camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip
"""Model types whose positions begin after the padding's."""
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


@dataclass
class EncodedSet:
    """Encoded rows and their counts."""

    rows: Sequence[Encoded] = field(default_factory=list)
    sources: Sequence[Row] = field(default_factory=list)
    """The row that each encoding was made from; a text cut into chunks stands here once per chunk."""
    rejected: list[Rejected] = field(default_factory=list)
    tokens: int = 0
    by_source: dict[str, list[int]] = field(default_factory=dict)
    """Source → [tokens, loss items] of its rows."""
    loss_tokens: int = 0
    """Loss items: tokens that are predicted and carry loss, or what else the strategy counts."""
    stop_trained: int = 0
    """Rows whose stop token carries a label."""
    stops: Counter[int] = field(default_factory=Counter)
    """Stop token → rows that train it."""
    literal: int = 0
    """Rows that spell a control token, which stayed text."""
    chunked: int = 0
    """Rows longer than the limit that were cut into chunks."""
    texts: int = 0
    """Rows that were encoded; one that was cut into chunks counts once."""
    max_length: int = 0
    cached: bool = False
    """The rows are views of the cache on disk."""
    sizes: Any = None
    """(rows, 2) int64: tokens and loss items of each; None: not counted yet."""
    places: Any = None
    """(rows,) int64: which of the rows that were given each encoding was made from."""
    rejected_places: list[int] = field(default_factory=list)
    """Which of the rows that were given are rejected."""


def model_context(config: Mapping[str, Any]) -> int | None:
    """The longest sequence that the model was made for, in tokens; None where its config does not say."""
    inner = config.get("text_config") or {}
    sizes = [source[key] for source in (config, inner) for key in CONTEXT_KEYS if isinstance(source.get(key), int)]
    return sizes[0] - positions_before(config) if sizes else None


def positions_before(config: Mapping[str, Any]) -> int:
    """Positions that no token takes: models like RoBERTa count from the one after their padding's."""
    return int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in AFTER_PADDING else 0


def max_length(run: Run, config: Mapping[str, Any]) -> int:
    """Longest sequence in tokens: batch.max_length, else the smaller of the model's context and 1024."""
    longest, taken = model_context(config), run.adapter.positions()
    if longest is not None:
        longest -= taken
    asked = run.batch.max_length
    if asked is None:
        return min(longest or DEFAULT_LENGTH, DEFAULT_LENGTH)
    if asked < 2:
        raise ConfigError(f"batch.max_length={asked}: at least 2 tokens are needed")
    if longest is not None and asked > longest:
        less = f", less {taken} that adapter={run.adapter.name} takes" if taken else ""
        raise ConfigError(
            f"batch.max_length={asked} is longer than the model's context of {longest + taken} tokens{less}"
        )
    return asked


def encode(
    run: Run, rows: Sequence[Row], tokenizer: Tokenizer, context: Context, place: str = "training"
) -> EncodedSet:
    """Every row encoded by the run's strategy, or rejected with a reason; none is truncated.

    `place` names the set in what the strategy says of making examples. What was encoded before, by any run, is read
    from the cache.
    """
    from tuneforge.training.text.spool import Spool
    from tuneforge.training.text.token_cache import Placed, TokenCache, Watched

    rows = run.strategy.examples(rows, cast("Context", Placed(context, place)))
    limit = max_length(run, run.model.config())
    cache, watched = TokenCache(run, rows, tokenizer, context, limit), Watched(context)
    found = cache.load()
    if found is None:
        spool = Spool(context.cache / "tokens" if streams(run) else None)
        found = _encoded(run, rows, tokenizer, cast("Context", watched), limit, spool)
        found = cache.save(found, watched)
    if found.chunked:
        context.note(
            f"{found.chunked:,} texts longer than {limit} tokens were cut into chunks; nothing is lost",
            chunked=found.chunked,
        )
    if found.literal:
        context.note(f"{found.literal:,} rows spell a control token; it stayed text", literal=found.literal)
    return found


def _encoded(
    run: Run, rows: Sequence[Row], tokenizer: Tokenizer, context: Context, limit: int, spool: Spool
) -> EncodedSet:
    from tuneforge.training.text.render import stop_ids

    found = EncodedSet(max_length=limit)
    stops = _Stops(tokenizer, stop_ids(tokenizer))
    literals = chat(tokenizer).literals
    for place, (row, encoded) in enumerate(context.progress(_encodings(run, rows, tokenizer, context), "tokens")):
        if isinstance(encoded, Rejected):
            found.rejected.append(encoded)
            found.rejected_places.append(place)
            continue
        pieces = _fitted(encoded, limit, run.strategy)
        if pieces is None:
            reason = f"too long: {_longest(encoded):,} tokens, and batch.max_length is {limit}"
            found.rejected.append(Rejected(row, reason))
            found.rejected_places.append(place)
            continue
        found.texts += 1
        found.chunked += len(pieces) > 1
        found.literal += literals.found(_spoken(row.columns), row.columns.get("tools"))
        count = found.by_source.setdefault(row.source, [0, 0])
        for piece in pieces:
            tokens, items = _tokens(piece), run.strategy.loss_items(piece)
            spool.add(place, piece, tokens, items)
            count[0], count[1] = count[0] + tokens, count[1] + items
        stop = stops.trained(encoded)
        if stop is not None:
            found.stop_trained += 1
            found.stops[stop] += 1
    found.tokens, found.loss_tokens = (sum(count[i] for count in found.by_source.values()) for i in (0, 1))
    found.rows, found.places, found.sizes = spool.rows(), spool.placed(), spool.sizes()
    found.sources = View(rows, found.places)
    return found


def _encodings(
    run: Run, rows: Sequence[Row], tokenizer: Tokenizer, context: Context
) -> Iterator[tuple[Row, Encoded | Rejected]]:
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        encoded = list(run.strategy.encode(batch, tokenizer, context))
        if len(encoded) != len(batch):
            raise RuntimeError(
                f"strategy={run.strategy.name}: encode gave {len(encoded)} results for {len(batch)} rows;"
                " every row must be encoded or rejected"
            )
        yield from zip(batch, encoded, strict=True)


def _spoken(columns: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All texts of a row as messages of those who speak them."""
    found = list(columns.get("messages") or ())
    for name, role in SPEAKERS.items():
        if said := columns.get(name):
            found += as_messages(said, role)
    return found


def _tokens(encoded: Encoded) -> int:
    return sum(len(ids) for name, ids in encoded.parts.items() if name.endswith("input_ids"))


def _longest(encoded: Encoded) -> int:
    return max(len(ids) for name, ids in encoded.parts.items() if name.endswith("input_ids"))


def _fitted(encoded: Encoded, limit: int, strategy: Strategy) -> list[Encoded] | None:
    """The row, or its chunks; None where it is too long and may not be cut."""
    if _longest(encoded) <= limit:
        return [encoded]
    return (list(strategy.chunks(encoded, limit)) or None) if strategy.chunked else None


def overlapping(encoded: Encoded, limit: int) -> Iterator[Encoded]:
    """Chunks that overlap by one token, which gives each chunk's first prediction its context."""
    ids, labels = encoded.parts["input_ids"], encoded.parts["labels"]
    for start in range(0, len(ids) - 1, limit - 1):
        first = [IGNORE] if start else list(labels[:1])
        yield Encoded(
            {"input_ids": ids[start : start + limit], "labels": [*first, *labels[start + 1 : start + limit]]},
            encoded.extras,
        )


class _Stops:
    """Whether the last words of a row's answers are followed by a stop token that carries a label."""

    def __init__(self, tokenizer: Tokenizer, stops: set[int]) -> None:
        self.tokenizer = tokenizer
        self.stops = stops
        self.blank: dict[int, bool] = {}

    def trained(self, encoded: Encoded) -> int | None:
        """The stop token that every part ends with, labelled; None where one does not."""
        ends = [self._end(labels) for name, labels in encoded.parts.items() if name.endswith("labels")]
        return ends[0] if ends and None not in ends else None

    def _end(self, labels: Sequence[int]) -> int | None:
        """The last label that is not white space, if it is a stop token."""
        for label in reversed(labels):
            if label in self.stops:
                return label
            if label != IGNORE and not self._blank(label):
                return None
        return None

    def _blank(self, token: int) -> bool:
        if token not in self.blank:
            self.blank[token] = not self.tokenizer.decode([token]).strip()
        return self.blank[token]
