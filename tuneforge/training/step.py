"""What a strategy may ask of the training step: log-probabilities, references, other models."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch

from tuneforge.errors import TuneForgeError
from tuneforge.rows import Sampling
from tuneforge.training import reference
from tuneforge.training.loss import likelihood, pairs
from tuneforge.training.loss.sampling import cooled, prompts_of, sample, sequences
from tuneforge.training.mode import evaluating
from tuneforge.training.random_state import seed_of, streams
from tuneforge.training.text.render import stop_ids

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.components import Context
    from tuneforge.rows import Batch, Encoded, Loaded, Row
    from tuneforge.settings import Run
    from tuneforge.training.as_found import AsFound


class TrainingStep:
    """Implements the `Step` protocol for one model. `parts` is set where head and decoder can be called apart."""

    def __init__(self, run: Run, model: Module, tokenizer: Tokenizer, context: Context) -> None:
        self.run, self.model = run, model
        self._tokenizer, self._context = tokenizer, context
        self.parts: likelihood.Parts | None = None
        self.rows: Sequence[Row] = ()
        """The rows of the batch at hand, in its order."""
        self.counts = True
        """Whether they count; False for a filler that keeps this device in step with the others."""
        self._draws: Sequence[tuple[int, ...]] | None = None
        self._drawn = 0
        self.shared = pairs.SharedPrompt()
        self.as_found: AsFound | None = None
        """The model before its adapter was applied, for objectives with a reference."""
        self._window: Iterable[tuple[Batch, bool]] | None = None
        self._sums: dict[str, Tensor] = {}
        self._reference: Module | None = None

    @property
    def context(self) -> Context:
        """The run's context."""
        return self._context

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._tokenizer

    def at(self, rows: Sequence[Row], counts: bool = True, draws: Sequence[tuple[int, ...]] | None = None) -> None:
        """Turn to the next batch. `draws`: what the random stream of each row depends on beside the seed."""
        self.rows, self.counts, self._draws, self._drawn = rows, counts, draws, 0

    def streams(self, count: int) -> list[torch.Generator]:
        """As the `Step` protocol says."""
        if self._draws is None:
            return streams([int(torch.randint(2**62, ())) for _ in range(count)])
        self._drawn += 1
        if len(self._draws) != count:
            raise ValueError(f"streams for {count} rows, and the batch has {len(self._draws)}")
        return streams([seed_of(self.run.seed, self._drawn, *draw) for draw in self._draws])

    def prove_parts(self) -> str:
        """Find and prove head and decoder of a causal model; why they cannot be called apart, or empty."""
        if self.run.strategy.head != "causal_lm":
            return ""
        self.parts, why = likelihood.proved_parts(self.model)
        return why

    def share_prompts(self, rows: Sequence[Encoded]) -> str:
        """Compute the prompt of a preference pair once where that pays and is exact; what was decided, in words."""
        self.shared.on, why = pairs.decide(self.model, self.parts, rows)
        return why

    @contextmanager
    def window(self, batches: Iterable[tuple[Batch, bool]]) -> Iterator[None]:
        """One optimizer step, or validation, with its batches on this device, and whether each counts; nothing of it
        is kept."""
        self._window, self._sums = batches, {}
        try:
            yield
        finally:
            self._window, self._sums = None, {}
            self.shared.forget()

    def over_step(self, batch: Batch, key: str, compute: Callable[[Batch], Tensor]) -> Tensor:
        """As the `Step` protocol says."""
        with torch.no_grad():
            if self._window is None:
                return compute(batch)
            if key not in self._sums:
                # Every device does as many passes as the others, also where some of them do not count.
                mine = [(compute(b), counts) for b, counts in self._window]
                self._sums[key] = torch.stack([x if counts else torch.zeros_like(x) for x, counts in mine]).sum(0)
                if torch.distributed.is_initialized():
                    torch.distributed.all_reduce(self._sums[key])
            return self._sums[key]

    def log_probs(self, model: Module, batch: Batch, part: str = "") -> tuple[Tensor, Tensor]:
        """Summed log-probability (nats, float32) of the labelled tokens and their count, each (rows,)."""
        scores, keep = self.token_log_probs(model, batch, part)
        return scores.sum(1), keep.sum(1)

    def total_log_prob(
        self, model: Module, batch: Batch, part: str = "", smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Log-probability (nats, float32) of all labelled tokens together, and their count, both ()."""
        parts = self.parts if model is self.model else None
        return likelihood.summed(model, parts, batch, part, smoothing)

    def token_log_probs(
        self, model: Module, batch: Batch, part: str = "", temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """(rows, length - 1) float32 log-probability of each labelled token, 0 elsewhere; and the mask of them."""
        parts = self.parts if model is self.model else None
        if temperature != 1:
            model, parts = cooled(model, parts, temperature)
        elif model is self.model and self.shared.serves(batch, part):
            return self.shared.side(model, parts, batch, part)
        return likelihood.token_log_probs(model, parts, batch, part)

    def reference_log_probs(self, batch: Batch, part: str = "") -> Tensor:
        """(rows,) summed log-probabilities under the model as this run found it; no gradient."""
        known = batch.get(reference.key(part))
        if known is not None:
            return known.float()
        if self.run.adapter.off(self.model) is None:
            return self._no_reference(batch, part)
        return self.as_reference(batch, part)

    def as_reference(self, batch: Batch, part: str = "") -> Tensor:
        """(rows,) summed log-probabilities with the adapter turned off, or where it cannot be, as it is now."""
        off = self.run.adapter.off(self.model) or nullcontext()
        with off, self.shared.reference(), evaluating(self.model), torch.no_grad():
            return self.log_probs(self.model, batch, part)[0]

    def keep_reference(self) -> None:
        """A copy of the model as found, unless the adapter can be turned off; its memory is said."""
        if self.run.adapter.off(self.model) is not None:
            return
        self._reference = copy.deepcopy(self.model).eval().requires_grad_(False)
        size = sum(p.numel() * p.element_size() for p in self._reference.parameters()) / 2**20
        self.context.note(f"a frozen copy of the model is kept as the reference: {size:,.0f} MiB", mebibytes=size)

    def reference_token_log_probs(self, batch: Batch, part: str = "", temperature: float = 1.0) -> Tensor:
        """(rows, length - 1) as `token_log_probs`, under the model as found; no gradient, no dropout."""
        off = self.run.adapter.off(self.model)
        model = self.model if off is not None else self._reference
        if model is None:
            return self._no_reference(batch, part)
        with off or nullcontext(), self.shared.reference(), evaluating(model), torch.no_grad():
            return self.token_log_probs(model, batch, part, temperature)[0]

    def _no_reference(self, batch: Batch, part: str) -> Tensor:
        raise TuneForgeError(
            f"strategy '{self.run.strategy.name}' asks for reference log-probabilities but does not declare"
            " `reference = True`, and the adapter cannot be turned off"
        )

    def generate(
        self,
        model: Module,
        batch: Batch,
        n: int,
        sampling: Sampling | None = None,
        part: str = "",
        streams: Sequence[torch.Generator] | None = None,
    ) -> Batch:
        """n sampled continuations per prompt of `part`, as the `Step` protocol says."""
        prompts, pad = prompts_of(batch, part), int(self.tokenizer.pad_token_id or 0)
        stop = stop_ids(self.tokenizer, model)
        found = sample(model, prompts, n, sampling or Sampling(), stop, pad, streams)
        return sequences(prompts, found, pad, next(model.parameters()).device)

    def frozen(self, path: str, head: str = "causal_lm") -> Loaded:
        """Another model in eval mode, without gradients, on the device of this one; loaded once per run."""
        loaded = self.context.frozen(path, head)
        loaded.model.to(next(self.model.parameters()).device)
        return loaded


class TrialStep(TrainingStep):
    """The step that is timed: references that are computed once before training cost it nothing."""

    def keep_reference(self) -> None:
        """The model itself takes as long as a copy."""
        self._reference = self.model

    @property
    def keeps_reference(self) -> bool:
        """Whether the objective asked for one."""
        return self._reference is not None

    def reference_token_log_probs(self, batch: Batch, part: str = "", temperature: float = 1.0) -> Tensor:
        """Those of the model itself, whose adapter need not be there yet."""
        with self.shared.reference(), evaluating(self.model), torch.no_grad():
            return self.token_log_probs(self.model, batch, part, temperature)[0]

    def reference_log_probs(self, batch: Batch, part: str = "") -> Tensor:
        """Zeros for an objective whose references are at hand before the first step."""
        if not self.run.strategy.reference:
            return super().reference_log_probs(batch, part)
        ids = batch[f"{part}.input_ids" if part else "input_ids"]
        return ids.new_zeros(len(ids), dtype=torch.float32)
