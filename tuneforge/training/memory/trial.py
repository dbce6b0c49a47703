"""Steps on a copy of the model, before the first real one: how long they take, and how much they hold."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from tuneforge.training import random_state, reach
from tuneforge.training.batches.feed import Feed
from tuneforge.training.devices.place import place
from tuneforge.training.groups import parameter_groups
from tuneforge.training.loss import likelihood
from tuneforge.training.memory import plan as memory
from tuneforge.training.memory.recompute import checkpointed
from tuneforge.training.step import TrialStep

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.components import Context
    from tuneforge.rows import Batch, Loaded, Loss
    from tuneforge.settings import Run
    from tuneforge.training.batches.loader import Unit
    from tuneforge.training.text.encode import EncodedSet

T = TypeVar("T")
COPIED = 500_000_000
"""Parameters up to which the model is copied to be tried with its adapter and optimizer."""
QUICK = 0.5
"""Seconds; steps that take less are timed three times."""


class Trial:
    """The model in training for a moment. `exact` is False where it is too large to be copied with its adapter."""

    def __init__(self, run: Run, loaded: Loaded, encoded: EncodedSet, context: Context) -> None:
        self.run, self.context = run, context
        self.described = f"{loaded.model.config.to_json_string()} {loaded.model.dtype}"
        self.exact = sum(p.numel() for p in loaded.model.parameters()) <= COPIED
        self.model: Module = loaded.model
        self.optimizer: Any = None
        if self.exact:
            self.model = run.adapter.apply(copy.deepcopy(loaded.model), context).to(place(run))
            groups = parameter_groups(self.model, run.optimizer, run.learning_rate)
            self.optimizer = run.optimizer.build(groups, run.learning_rate)
        self.model.train()
        self.device = next(self.model.parameters()).device
        self.step = TrialStep(run, self.model, loaded.tokenizer, context)
        self.step.prove_parts()
        self.step.share_prompts(encoded.rows)
        run.strategy.begin(encoded.rows, self.step)
        pad = int(loaded.tokenizer.pad_token_id or 0)
        self._make: Callable[[bool], Feed] = lambda packed: Feed(encoded, run.strategy, pad, packed)
        self._feeds: dict[bool, Feed] = {}

    def feed(self, packed: bool) -> Feed:
        """The rows as units."""
        if packed not in self._feeds:
            self._feeds[packed] = self._make(packed)
        return self._feeds[packed]

    def seconds(self, units: Sequence[Unit], packed: bool, clock: Callable[[], float] = time.perf_counter) -> float:
        """Of forward, backward and optimizer on these units, median of three where they are quick."""
        batch = self._batch(units, packed)

        def once() -> float:
            start = clock()
            self._loss(batch).total.backward()  # type: ignore[no-untyped-call]
            if self.optimizer is not None:
                self.optimizer.step()
            self._forget()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            return clock() - start

        warm = once()
        return statistics.median(once() for _ in range(3 if warm < QUICK else 1))

    def held(self, units: Sequence[Unit], packed: bool) -> tuple[float, int]:
        """(bytes that a unit's forward pass keeps for its backward pass, bytes of a unit's logits)."""
        batch = self._batch(units, packed)
        with memory.kept_for_backward(self.model) as kept:
            loss = self._loss(batch)
        activations = sum(kept.values())
        del loss
        logits = self._logits(batch)
        if self.run.batch.gradient_checkpointing:  # one layer at a time is whole
            with checkpointed(self.model, False), memory.kept_for_backward(self.model) as plain:
                loss = self._loss(batch)
            del loss
            layers = int(getattr(getattr(self.model, "config", None), "num_hidden_layers", 1) or 1)
            activations += sum(plain.values()) // layers
        return activations / len(units), logits // len(units)

    def plan(self, units: Sequence[Unit], packed: bool) -> memory.Plan:
        """The memory of a step whose longest rows or packs these are."""
        activations, logits = self.held(units, packed)
        model, state = self.model, None
        if self.exact:
            state = memory.optimizer_bytes(self.optimizer) or None
        else:
            model = self.run.adapter.apply(memory.skeleton(self.model), self.context)
        copied = self.step.keeps_reference and self.run.adapter.off(model) is None
        others = memory.Others(memory.loaded(self.context), memory.size_of(model) if copied else 0)
        return memory.plan(self.run, model, activations, logits, state, self.device, others)

    def _loss(self, batch: Batch) -> Loss:
        strategy = self.run.strategy
        return strategy.loss(self.model, strategy.roll_out(self.model, batch, self.step), self.step)

    def _batch(self, units: Sequence[Unit], packed: bool) -> Batch:
        feed = self.feed(packed)
        self.step.rows = [feed.sources[i] for unit in units for i in unit]
        return {name: tensor.to(self.device) for name, tensor in feed.make(units).items()}

    def _logits(self, batch: Batch) -> int:
        if self.run.strategy.head not in ("causal_lm", "masked_lm"):
            return 0
        vocabulary = int(getattr(getattr(self.model, "config", None), "vocab_size", 0) or 0)
        counted = [(t[:, 1:] != likelihood.IGNORE).sum() for n, t in batch.items() if n.endswith("labels")]
        return 4 * vocabulary * sum(map(int, counted))

    def _forget(self) -> None:
        for parameter in self.model.parameters():
            parameter.grad = None


@contextmanager
def trial(run: Run, loaded: Loaded, encoded: EncodedSet, context: Context) -> Iterator[Trial]:
    """A trial that leaves the model, its gradients and all generators as they were.

    ConfigError where nothing that trains has a say in the output.
    """
    modes = {m: m.training for m in loaded.model.modules()}
    generators = random_state.capture()
    try:
        found = Trial(run, loaded, encoded, context)
        with checkpointed(found.model, run.batch.gradient_checkpointing):
            if found.exact:
                reach.require(found.model, _tokens(encoded), run.adapter.name)
            yield found
    finally:
        random_state.restore(generators)
        for module, mode in modes.items():
            module.training = mode
        for parameter in loaded.model.parameters():
            parameter.grad = None


def spread(units: Sequence[T], size: int) -> list[T]:
    """At most `size` of the units, spread over the set."""
    size = min(size, len(units))
    return [units[k * len(units) // size] for k in range(size)]


def _tokens(encoded: EncodedSet) -> Sequence[int]:
    """The token ids of some part of the first row."""
    return next(ids for name, ids in encoded.rows[0].parts.items() if name.endswith("input_ids"))
