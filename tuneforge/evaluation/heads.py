"""Models with a head other than a causal one under evaluation: classes, tags, embeddings, rewards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneforge.components import Context
from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.evaluation.lm import context_length
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
Ids = Sequence[int]


class HeadLM(Unable):
    """Implements `components.LM` for a transformers model with the head of the run's strategy.

    Rows become tokens as in training, are batched by length, and are read in eval mode. A row that does not become
    tokens, or does not fit the context, is an error that names it: nothing is cut or skipped here.
    """

    def __init__(self, variant: str, loaded: Loaded, context: Context) -> None:
        super().__init__(variant)
        self.model: Any = loaded.model
        self.tokenizer, self.context = loaded.tokenizer, context
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
        logits = self._rowwise(self._parts(rows, "input_ids"), self._logits)
        found = np.stack(logits).astype(np.float64) if logits else np.zeros((0, len(self.names)))
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
        best = self._rowwise([w.ids for w in words], lambda b: [x.argmax(-1).numpy() for x in self._trimmed(b)])
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
        ids = []
        for text, found in zip(texts, affixed(texts, self.tokenizer), strict=True):
            if isinstance(found, RenderError):
                raise TuneForgeError(f"{self.variant}: the text {text[:60]!r} cannot be embedded: {found}")
            ids.append(found.ids)
        vectors = self._rowwise(ids, lambda batch: self.strategy.embed(self.model, batch).float().cpu().numpy())
        return np.stack(vectors).astype(np.float32)

    def reward(self, rows: Sequence[Row], column: str) -> NDArray[np.float64]:
        """(n,) rewards of the prompt with the answer in `column`."""
        if self.head != "reward":
            return super().reward(rows, column)
        found = self._rowwise(self._parts(rows, f"{column}.input_ids"), self._logits)
        return np.array([float(one[0]) for one in found], dtype=np.float64)

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
        for at, (nats, tokens) in zip(owners, self._hidden(pieces), strict=True):
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

        return np.stack(self._rowwise(self._parts(rows, "input_ids"), read))

    # ---------------------------------------------------------------- how

    def _hidden(self, pieces: Sequence[Encoded]) -> list[tuple[float, int]]:
        """(nats, tokens) of what is hidden in each piece."""
        import torch

        from tuneforge.training.loss import masking
        from tuneforge.training.mode import evaluating

        tokenizer: Any = self.tokenizer
        mask = masking.Mask(HIDDEN, int(tokenizer.mask_token_id), len(tokenizer))
        found: list[tuple[float, int]] = [(0.0, 0)] * len(pieces)
        with evaluating(self.model), torch.no_grad():
            for places in _batches([len(p.parts["input_ids"]) for p in pieces]):
                batch = self._on_device(self.strategy.collate([pieces[i] for i in places], self._pad))
                ids, targets = masking.hide(batch, mask, SEED)
                scores = masking.log_probs(self.model, ids, batch["attention_mask"], targets)
                counts = (targets != masking.IGNORE).sum(1).tolist()
                for i, row in zip(places, scores.double().split(counts), strict=True):  # type: ignore[no-untyped-call]
                    found[i] = float(row.sum()), len(row)
        return found

    def _encoded(self, rows: Sequence[Row]) -> Iterator[Encoded]:
        for row, encoded in zip(rows, self.strategy.encode(rows, self.tokenizer, self.context), strict=True):
            if isinstance(encoded, Rejected):
                raise TuneForgeError(f"{self.variant}: {row.place}: {encoded.reason}")
            yield encoded

    def _parts(self, rows: Sequence[Row], name: str) -> list[Ids]:
        return [encoded.parts[name] for encoded in self._encoded(rows)]

    def _rowwise(self, ids: Sequence[Ids], read: Callable[[Batch], Iterable[Any]]) -> list[Any]:
        """What `read` gives per row of a right-padded batch, in the order of the rows."""
        import torch

        from tuneforge.training.batches.collate import collate
        from tuneforge.training.mode import evaluating

        longest, limit = max(map(len, ids), default=0), context_length(self.model)
        if limit is not None and longest > limit:
            raise TuneForgeError(f"{self.variant}: a row has {longest:,} tokens, and the model's context is {limit}")
        found: list[Any] = [None] * len(ids)
        with evaluating(self.model), torch.no_grad():
            for places in _batches([len(one) for one in ids]):
                batch = self._on_device(collate([Encoded({"input_ids": ids[i]}) for i in places], self._pad))
                for i, one in zip(places, read(batch), strict=True):
                    found[i] = one
        return found

    def _logits(self, batch: Batch) -> NDArray[np.float32]:
        """(rows, outputs), or (rows, length, outputs)."""
        out: Tensor = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return out.float().cpu().numpy()

    def _trimmed(self, batch: Batch) -> list[Any]:
        """Logits of each row without those of the padding, as tensors."""
        out: Tensor = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        lengths = batch["attention_mask"].sum(1).tolist()
        return [row[:n].float().cpu() for row, n in zip(out, lengths, strict=True)]

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
