"""What the core hands to components: the model under evaluation, the training step, the run's context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tuneforge.rows import Answer, HeldOut, Row, Sampling

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Generator, Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.components import Evaluator, Model, Teacher
    from tuneforge.rows import Batch, Loaded
    from tuneforge.settings import Run


class LM(Protocol):
    """One variant (base, prompted or tuned) of the model under evaluation.

    It applies its own prompt and template, batches by length, and caches per row.
    """

    variant: str

    def generate(self, rows: Sequence[Row], max_tokens: int) -> list[Answer]:
        """Greedy answers to the rows' prompts, in the order of the rows."""
        ...

    def log_probs(self, rows: Sequence[Row], column: str) -> ndarray:
        """(n, 3) float64: summed log-probability in nats, tokens and UTF-8 bytes of `column` given the prompt."""
        ...

    def predict(self, rows: Sequence[Row]) -> ndarray:
        """(n, labels) float64 probabilities of a classification head."""
        ...

    def tag(self, rows: Sequence[Row]) -> list[list[str]]:
        """A tag per token of each row, from a token classification head."""
        ...

    def embed(self, texts: Sequence[str]) -> ndarray:
        """(n, d) float32 embeddings."""
        ...

    def reward(self, rows: Sequence[Row], column: str) -> ndarray:
        """(n,) float64 rewards of `column` from a reward head."""
        ...


class Step(Protocol):
    """What a strategy may ask of the training step."""

    @property
    def context(self) -> Context:
        """The run's context."""
        ...

    @property
    def model(self) -> Module:
        """The model in training, adapter included."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        ...

    @property
    def rows(self) -> Sequence[Row]:
        """The rows of the batch at hand, in its order."""
        ...

    @property
    def counts(self) -> bool:
        """False where the batch at hand is another device's, and only keeps this one in step with the others."""
        ...

    def streams(self, count: int) -> list[Generator]:
        """A random stream for each of the `count` rows of the batch at hand, others at each call.

        In training they depend on seed, optimizer step and row alone: neither on how a step is cut into forward
        passes, nor on which device has the row, nor on where the run was resumed. Outside of a step they are seeded
        by torch's global generator.
        """
        ...

    def log_probs(self, model: Module, batch: Batch, part: str = "") -> tuple[Tensor, Tensor]:
        """Summed log-probability (nats, float32) of the labelled tokens and their count, each (rows,)."""
        ...

    def total_log_prob(
        self, model: Module, batch: Batch, part: str = "", smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Log-probability (nats, float32) of all labelled tokens together, and their count, both (); the cheapest.

        `smoothing` is the share of each label that is spread over the whole vocabulary.
        """
        ...

    def token_log_probs(
        self, model: Module, batch: Batch, part: str = "", temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """(rows, length - 1) float32 log-probability of each labelled token, 0 elsewhere; and the bool mask of them.

        Logits are divided by `temperature` first.
        """
        ...

    def reference_log_probs(self, batch: Batch, part: str = "") -> Tensor:
        """(rows,) summed log-probabilities under the model as this run found it; no gradient."""
        ...

    def over_step(self, batch: Batch, key: str, compute: Callable[[Batch], Tensor]) -> Tensor:
        """`compute` summed over all batches of this optimizer step, on all devices; once per step and `key`.

        In validation over all its batches; outside of both of `batch` alone. No gradient. As the devices meet here, a
        loss has to call it whatever its rows are.
        """
        ...

    def keep_reference(self) -> None:
        """Keep the model as this run found it, for `reference_token_log_probs`; called in `begin`."""
        ...

    def reference_token_log_probs(self, batch: Batch, part: str = "", temperature: float = 1.0) -> Tensor:
        """As `token_log_probs`, under the model as this run found it; no gradient."""
        ...

    def generate(
        self,
        model: Module,
        batch: Batch,
        n: int,
        sampling: Sampling | None = None,
        part: str = "",
        streams: Sequence[Generator] | None = None,
    ) -> Batch:
        """n sampled continuations of each prompt, one prompt's after the other, in eval mode without gradients.

        `part` holds the prompts; None samples with the defaults of `Sampling`, from torch's global generator; with
        `streams`, one per prompt, from these. The result is right-padded:
        `input_ids`, `attention_mask` and `labels` (sequences, length), labels on the continuation and its stop
        token; `truncated` (sequences,) is True where no stop token came within the limit.
        """
        ...

    def frozen(self, path: str, head: str = "causal_lm") -> Loaded:
        """Another model in eval mode, without gradients, on this device: a folder, a run or a hub name; loaded once."""
        ...


class Context(Protocol):
    """What a component may ask of the run. It grows; signatures do not change."""

    @property
    def run(self) -> Run:
        """The whole configuration."""
        ...

    @property
    def seed(self) -> int:
        """Seed of every random choice."""
        ...

    @property
    def folder(self) -> Path:
        """The run directory."""
        ...

    @property
    def cache(self) -> Path:
        """A directory shared by runs; anything in it may be deleted."""
        ...

    @property
    def whole(self) -> bool:
        """A model that is loaded must bring all its weights: nobody will train new ones."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """Class names, for strategies with labels."""
        ...

    @property
    def train(self) -> Sequence[Row]:
        """The rows that train, after all transforms; empty before they are prepared."""
        ...

    @property
    def held_out(self) -> Sequence[HeldOut]:
        """The validation and test sets; empty before they are prepared."""
        ...

    @property
    def counts(self) -> Counter[str]:
        """Counters that the report of the transform at hand shows, by name; empty when it begins."""
        ...

    @property
    def spent(self) -> dict[str, dict[str, float]]:
        """Per key of a teacher what it was asked and took in this run; `teacher.store` counts."""
        ...

    def teacher(self, name: str) -> Teacher:
        """The configured teacher of that key; ConfigError with the nearest name otherwise."""
        ...

    def model(self, path: str) -> Model:
        """A model component for a folder, a run or a hub name, or the name of an installed one."""
        ...

    def evaluator(self, name: str) -> Evaluator:
        """The configured evaluator of that key, as a reward or verifier."""
        ...

    def frozen(self, path: str, head: str = "causal_lm") -> Loaded:
        """Another model in eval mode, without gradients, loaded once per run: a folder, a run or a hub name."""
        ...

    @property
    def others(self) -> Sequence[Loaded]:
        """The models that `frozen` has loaded."""
        ...

    def note(self, text: str, **numbers: float) -> None:
        """Say something that the user must see: terminal, run.json and report."""
        ...

    def progress(self, items: Iterable[Any], text: str) -> Iterator[Any]:
        """Iterate with a progress bar on a terminal, silently elsewhere."""
        ...
