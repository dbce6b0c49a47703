"""Vectors of the tokens of a text in its context, and how alike those of two texts are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneforge.components import Context
from tuneforge.errors import ConfigError
from tuneforge.evaluation.lm import context_length
from tuneforge.rows import Loaded
from tuneforge.training.devices.place import place

BATCH_TOKENS = 16384
Floats = NDArray[np.float64]


class Vectors(NamedTuple):
    """(tokens, width) vectors of length 1, and (tokens,) how much each token weighs: 0 or 1."""

    vectors: Floats
    weights: Floats


class TokenVectors:
    """Reads texts with one layer of a model. `cut` holds the texts that are longer than `limit` tokens."""

    def __init__(self, loaded: Loaded, layer: int | None, name: str, context: Context) -> None:

        whole: Any = loaded.model.to(place(context.run))
        self.model = whole.get_encoder() if whole.config.is_encoder_decoder else whole
        self.tokenizer, self.layer = loaded.tokenizer, -1 if layer is None else layer
        self.limit = min(context_length(whole) or 2**30, self.tokenizer.model_max_length)
        self.cut: set[str] = set()
        layers = int(whole.config.get_text_config().num_hidden_layers)
        if not -1 <= self.layer <= layers:
            raise ConfigError(f"evaluator.bert_score.layer={layer}: {name} has layers 0 to {layers}")

    def read(self, texts: Iterable[str]) -> dict[str, Vectors]:
        """Text → its tokens' vectors; without any for a text of white space."""
        ids = {text: self._ids(text) for text in texts}
        found = {text: Vectors(np.zeros((0, 1)), np.zeros(0)) for text in ids}
        for batch in _batches({text: one for text, one in ids.items() if text.strip()}):
            found |= zip(batch, self._forward([ids[text] for text in batch]), strict=True)
        return found

    def _ids(self, text: str) -> list[int]:
        ids = list(self.tokenizer(text.strip(), verbose=False)["input_ids"])
        if len(ids) <= self.limit:
            return ids
        self.cut.add(text)
        return list(self.tokenizer(text.strip(), truncation=True, max_length=self.limit)["input_ids"])

    def _forward(self, batch: Sequence[Sequence[int]]) -> list[Vectors]:
        import torch

        width = max(map(len, batch))
        pad = int(self.tokenizer.pad_token_id or 0)
        ids = torch.tensor([[*one, *[pad] * (width - len(one))] for one in batch], device=self.model.device)
        mask = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in batch], device=self.model.device)
        with torch.no_grad():
            states = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[self.layer]
        special = set(self.tokenizer.all_special_ids)
        found = []
        for one, state in zip(batch, states.double().cpu().numpy(), strict=True):
            weights = np.array([float(token not in special) for token in one])
            found.append(Vectors(state[: len(one)] / np.linalg.norm(state[: len(one)], axis=1, keepdims=True), weights))
        return found


def matched(answer: Vectors, reference: Vectors) -> tuple[float, float, float]:
    """Precision, recall and F1: equations 1 of arXiv:1904.09675, 0 where either text has no token that weighs."""
    if not answer.weights.sum() or not reference.weights.sum():
        return 0.0, 0.0, 0.0
    similar = answer.vectors @ reference.vectors.T
    precision = float(np.average(similar.max(1), weights=answer.weights))
    recall = float(np.average(similar.max(0), weights=reference.weights))
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def _batches(ids: dict[str, list[int]]) -> Iterable[list[str]]:
    """Texts of similar length, longest first, at most BATCH_TOKENS with their padding."""
    batch: list[str] = []
    for text in sorted(ids, key=lambda text: -len(ids[text])):
        if batch and (len(batch) + 1) * len(ids[batch[0]]) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch
