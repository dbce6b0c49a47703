"""Models with a head other than a causal one under evaluation: classes, tags, embeddings, rewards."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneforge.components import Context
from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.evaluation.lm import context_length
from tuneforge.evaluation.memory import Memory
from tuneforge.evaluation.unable import Unable
from tuneforge.rows import Encoded, Loaded, Rejected, Row

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.rows import Batch

BATCH_TOKENS = 16384
HIDDEN, SEED = 0.15, 0
"""Share of a text's tokens that a masked language model has to guess, and the seed by which they are chosen."""
POOLINGS = ("mean", "last")
"""How the states of a text's tokens become one vector of features."""


class HeadLM(Unable):
    """Implements `components.LM` for a transformers model with the head of the run's strategy.

    Rows become tokens as in training, are batched by length, and are read in eval mode. A row that does not become
    tokens, or does not fit the context, is an error that names it: nothing is cut or skipped here.

    With `cache`, a directory, what the model gives is kept there batch by batch, by model and tokens, so that no later
    evaluation computes it again; without, everything is computed whenever it is asked.
    """

    def __init__(self, variant: str, loaded: Loaded, context: Context, cache: Path | None = None) -> None:
        super().__init__(variant)
        self.model: Any = loaded.model
        self.tokenizer, self.context = loaded.tokenizer, context
        self.memory = Memory(self.model, cache) if cache else None
        self.strategy = context.run.strategy
        self.head = self.strategy.head
        names = self.model.config.id2label or {}
        self.names = [names[i] for i in sorted(names)]
        """The model's own classes, in the order of its outputs."""
        self.labels = list(context.labels) or self.names
        """The classes in the order of what `predict` gives."""

    # ---------------------------------------------------------------- the protocol

    def predict(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """(n, labels) probabilities: of all classes together, or of each by itself where a row may have several."""
        import torch

        if self.head != "sequence_classification":
            return super().predict(rows)
        several = self.model.config.problem_type == "multi_label_classification"
        logits = self._rowwise("scores of classes", self._parts(rows, "input_ids"), self._logits)
        found = _unpacked(logits).astype(np.float64) if logits else np.zeros((0, len(self.names)))
        wide = torch.from_numpy(found)
        return self._in_order((wide.sigmoid() if several else wide.softmax(1)).numpy())

    def tag(self, rows: Sequence[Row]) -> list[list[str]]:
        """A tag per word, read at the token where it was trained."""
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.words import encode_words

        if self.head != "token_classification":
            return super().tag(rows)
        words = []
        for row, found in zip(rows, encode_words([r.columns["tokens"] for r in rows], self.tokenizer), strict=True):
            if isinstance(found, RenderError):
                raise TuneForgeError(f"{self.variant}: {row.place}: {found}")
            words.append(found)
        best = self._rowwise("tags", [_plain(w.ids) for w in words], self._best)
        places = [w.at(getattr(self.strategy, "read", "first")) for w in words]
        return [
            [self.names[best[n][at[i]]] for i in range(len(row.columns["tokens"]))]
            for n, (row, at) in enumerate(zip(rows, places, strict=True))
        ]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) embeddings, pooled as in training."""
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.render import affixed

        if self.head != "embedding":
            return super().embed(texts)
        pieces = []
        for text, found in zip(texts, affixed(texts, self.tokenizer), strict=True):
            if isinstance(found, RenderError):
                raise TuneForgeError(f"{self.variant}: the text {text[:60]!r} cannot be embedded: {found}")
            pieces.append(_plain(found.ids))
        vectors = self._rowwise(
            "embeddings", pieces, lambda batch: _packed(self.strategy.embed(self.model, batch)), repr(self.strategy)
        )
        return _unpacked(vectors)

    def reward(self, rows: Sequence[Row], column: str) -> NDArray[np.float64]:
        """(n,) rewards of the prompt with the answer in `column`."""
        if self.head != "reward":
            return super().reward(rows, column)
        found = self._rowwise("rewards", self._parts(rows, f"{column}.input_ids"), self._logits)
        return _unpacked(found)[:, 0].astype(np.float64) if found else np.zeros(0)

    def log_probs(self, rows: Sequence[Row], column: str) -> NDArray[np.float64]:
        """(n, 3): nats and number of the tokens hidden in `text`, always the same ones, and the bytes of the text."""
        if self.head != "masked_lm":
            return super().log_probs(rows, column)
        found = np.zeros((len(rows), 3))
        pieces: list[Encoded] = []
        owners: list[int] = []
        for n, (row, encoded) in enumerate(zip(rows, self._encoded(rows), strict=True)):
            found[n, 2] = len(row.columns[column].encode("utf-8", "surrogatepass"))
            limit = context_length(self.model) or len(encoded.parts["input_ids"])
            fits = len(encoded.parts["input_ids"]) <= limit
            cut = [encoded] if fits else list(self.strategy.chunks(encoded, limit))
            pieces += cut
            owners += [n] * len(cut)
        asked = [HIDDEN, SEED, self.tokenizer.mask_token_id, len(self.tokenizer)]
        scores = self._rowwise("log-probabilities of hidden tokens", pieces, self._hidden, asked)
        for at, (nats, tokens) in zip(owners, scores, strict=True):
            found[at, :2] += nats, tokens
        return found

    def pooled(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """(n, poolings, width) states of the model's last layer for each text. ConfigError where it gives none."""
        from tuneforge.training.loss.embedding import pool

        def read(batch: Batch) -> Iterator[NDArray[np.float32]]:
            mask = batch["attention_mask"]
            out = self.model(input_ids=batch["input_ids"], attention_mask=mask, output_hidden_states=True)
            states = getattr(out, "hidden_states", None)
            if states is None:
                raise ConfigError(f"{type(self.model).__name__} gives no states of its layers")
            pools = [pool(states[-1], mask, pooling).float().cpu().numpy() for pooling in POOLINGS]
            return iter(np.stack(pools, 1))

        return np.stack(self._computed(self._parts(rows, "input_ids"), read))

    # ---------------------------------------------------------------- how

    def _hidden(self, batch: Batch) -> list[tuple[float, int]]:
        """(nats, tokens) of what is hidden in each piece."""
        from tuneforge.training.loss import masking

        mask = masking.Mask(HIDDEN, int(self.tokenizer.mask_token_id), len(self.tokenizer))
        ids, targets = masking.hide(batch, mask, SEED)
        scores = masking.log_probs(self.model, ids, batch["attention_mask"], targets)
        counts = (targets != masking.IGNORE).sum(1).tolist()
        rows = scores.double().split(counts)  # type: ignore[no-untyped-call]
        return [(float(row.sum()), len(row)) for row in rows]

    def _encoded(self, rows: Sequence[Row]) -> Iterator[Encoded]:
        for row, encoded in zip(rows, self.strategy.encode(rows, self.tokenizer, self.context), strict=True):
            if isinstance(encoded, Rejected):
                raise TuneForgeError(f"{self.variant}: {row.place}: {encoded.reason}")
            yield encoded

    def _parts(self, rows: Sequence[Row], name: str) -> list[Encoded]:
        return [_plain(encoded.parts[name]) for encoded in self._encoded(rows)]

    def _rowwise(
        self, kind: str, pieces: Sequence[Encoded], read: Callable[[Batch], Iterable[Any]], asked: Any = None
    ) -> list[Any]:
        """What `read` gives per piece, as JSON values: found again by model, kind, tokens and what else was `asked`."""
        memory = self.memory
        if memory is None:
            return self._computed(pieces, read)
        parts = [{name: list(tokens) for name, tokens in piece.parts.items()} for piece in pieces]
        names, unknown = memory.unknown(kind, [[asked, part] for part in parts], self.trouble)
        new = list(unknown)
        for places, values in self._batchwise([pieces[place] for place in unknown.values()], read):
            memory.keep(dict(zip((new[i] for i in places), values, strict=True)), self.trouble)
        return [memory[name] for name in names]

    def _computed(self, pieces: Sequence[Encoded], read: Callable[[Batch], Iterable[Any]]) -> list[Any]:
        """What `read` gives per piece."""
        found: list[Any] = [None] * len(pieces)
        for places, values in self._batchwise(pieces, read):
            for i, one in zip(places, values, strict=True):
                found[i] = one
        return found

    def _batchwise(
        self, pieces: Sequence[Encoded], read: Callable[[Batch], Iterable[Any]]
    ) -> Iterator[tuple[list[int], Iterable[Any]]]:
        """Places of the pieces in each right-padded batch, and what `read` gives for each."""
        import torch

        from tuneforge.training.batches.collate import collate
        from tuneforge.training.mode import evaluating

        lengths = [len(piece.parts["input_ids"]) for piece in pieces]
        longest, limit = max(lengths, default=0), context_length(self.model)
        if limit is not None and longest > limit:
            raise TuneForgeError(f"{self.variant}: a row has {longest:,} tokens, and the model's context is {limit}")
        with evaluating(self.model), torch.no_grad():
            for places in _batches(lengths):
                yield places, read(self._on_device(collate([pieces[i] for i in places], self._pad)))

    def _logits(self, batch: Batch) -> list[str]:
        """(outputs,) of each row, packed."""
        return _packed(self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits)

    def _best(self, batch: Batch) -> list[list[int]]:
        """The likeliest output at each token of each row."""
        out: Tensor = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        lengths = batch["attention_mask"].sum(1).tolist()
        return [row[:n] for row, n in zip(out.float().argmax(-1).tolist(), lengths, strict=True)]

    def _in_order(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Columns in the order of `labels`; a class that the model lacks has probability 0."""
        if self.names == self.labels:
            return probabilities
        index = {name: i for i, name in enumerate(self.names)}
        found = np.zeros((len(probabilities), len(self.labels)))
        for i, name in enumerate(self.labels):
            if name in index:
                found[:, i] = probabilities[:, index[name]]
        return found

    def _on_device(self, batch: Batch) -> Batch:
        device = next(self.model.parameters()).device
        return {name: tensor.to(device) for name, tensor in batch.items()}

    @property
    def _pad(self) -> int:
        return int(self.tokenizer.pad_token_id or 0)

    def describe(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Head and classes."""
        return {"head": self.head} | ({"labels": self.names} if "classification" in self.head else {})


def _plain(ids: Sequence[int]) -> Encoded:
    return Encoded({"input_ids": ids})


def _packed(rows: Tensor) -> list[str]:
    """Each row of a matrix as text: its float32 numbers, to the bit."""
    return [base64.b64encode(row.tobytes()).decode() for row in rows.float().cpu().numpy()]


def _unpacked(rows: Sequence[str]) -> NDArray[np.float32]:
    """(n, width) float32."""
    return np.stack([np.frombuffer(base64.b64decode(row), dtype=np.float32) for row in rows])


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of rows of similar length, longest first, as many as fit the token budget."""
    batch: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch
