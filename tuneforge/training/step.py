"""What a strategy may ask of the training step: log-probabilities, references, other models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from tuneforge.errors import TuneForgeError
from tuneforge.training import likelihood, reference

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.components import Context
    from tuneforge.rows import Batch, Loaded, Row
    from tuneforge.settings import Run


class TrainingStep:
    """Implements the `Step` protocol for one model. `parts` is set where head and decoder can be called apart."""

    def __init__(self, run: Run, model: Module, tokenizer: Tokenizer, context: Context) -> None:
        self.run, self.model = run, model
        self._tokenizer, self._context = tokenizer, context
        self.parts: likelihood.Parts | None = None
        self.rows: Sequence[Row] = ()
        """The rows of the batch at hand, in its order."""
        self._others: dict[tuple[str, str], Loaded] = {}

    @property
    def context(self) -> Context:
        """The run's context."""
        return self._context

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._tokenizer

    def prove_parts(self) -> str:
        """Find and prove head and decoder of a causal model; why they cannot be called apart, or empty."""
        if self.run.strategy.head != "causal_lm":
            return ""
        self.parts, why = likelihood.proved_parts(self.model)
        return why

    def log_probs(self, model: Module, batch: Batch, part: str = "") -> tuple[Tensor, Tensor]:
        """Summed log-probability (nats, float32) of the labelled tokens and their count, each (rows,)."""
        scores, keep = self.token_log_probs(model, batch, part)
        return scores.sum(1), keep.sum(1)

    def token_log_probs(self, model: Module, batch: Batch, part: str = "") -> tuple[Tensor, Tensor]:
        """(rows, length - 1) float32 log-probability of each labelled token, 0 elsewhere; and the mask of them."""
        parts = self.parts if model is self.model else None
        return likelihood.token_log_probs(model, parts, batch, part)

    def reference_log_probs(self, batch: Batch, part: str = "") -> Tensor:
        """(rows,) summed log-probabilities under the model as this run found it; no gradient."""
        known = batch.get(reference.key(part))
        if known is not None:
            return known.float()
        off = self.run.adapter.off(self.model)
        if off is None:
            return self._no_reference(batch, part)
        return reference.adapter_off(off, self.model, batch, part, lambda b, p: self.log_probs(self.model, b, p))

    def _no_reference(self, batch: Batch, part: str) -> Tensor:
        raise TuneForgeError(
            f"strategy '{self.run.strategy.name}' asks for reference log-probabilities but does not declare"
            " `reference = True`, and the adapter cannot be turned off"
        )

    def generate(self, model: Module, batch: Batch, n: int) -> Batch:
        """n sampled continuations per prompt."""
        raise TuneForgeError("this version has no on-policy sampling during training")

    def frozen(self, path: str, head: str = "causal_lm") -> Loaded:
        """Another model in eval mode, without gradients, on the device of this one; loaded once."""
        key = (path, head)
        if key not in self._others:
            loaded = self.context.model(path).load(head, self.context)
            device = next(self.model.parameters()).device
            loaded.model.to(device).eval().requires_grad_(False)
            self._others[key] = loaded
        return self._others[key]


class TrialStep(TrainingStep):
    """The step that is timed: references that are computed once before training cost it nothing."""

    def _no_reference(self, batch: Batch, part: str) -> Tensor:
        ids = batch[f"{part}.input_ids" if part else "input_ids"]
        return ids.new_zeros(len(ids), dtype=torch.float32)
