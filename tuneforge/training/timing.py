"""How long one optimizer step takes, on a copy of the model."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tuneforge.rows import Encoded
from tuneforge.training import random_state
from tuneforge.training.collate import collate_packed
from tuneforge.training.groups import parameter_groups
from tuneforge.training.optimise import accumulation, device_count
from tuneforge.training.step import TrialStep

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.components import Context
    from tuneforge.rows import Batch, Loaded
    from tuneforge.settings import Run
    from tuneforge.training.encode import EncodedSet

COPIED = 500_000_000
"""Parameters up to which the model is copied to be timed with its adapter and optimizer."""
QUICK = 0.5
"""Seconds; steps that take less are timed three times."""


class Timing(NamedTuple):
    """Seconds per optimizer step; `exact` is False where the adapter could not be tried on a copy."""

    seconds: float
    exact: bool


def time_step(run: Run, loaded: Loaded, encoded: EncodedSet, packs: list[list[int]] | None, context: Context) -> Timing:
    """Forward, backward and optimizer on a batch of average size. The model, its gradients and all generators
    are left as they were."""
    with _untouched(loaded.model):
        exact = sum(p.numel() for p in loaded.model.parameters()) <= COPIED
        model: Module = loaded.model
        if exact:
            model = run.adapter.apply(copy.deepcopy(model), context)
        model.train()
        groups = parameter_groups(model, run.optimizer, run.learning_rate)
        optimizer = run.optimizer.build(groups, run.learning_rate) if exact else None
        step = TrialStep(run, model, loaded.tokenizer, context)
        step.prove_parts()
        step.share_prompts(encoded.rows)
        run.strategy.begin(encoded.rows, step)
        chosen = _units(run, encoded.rows, packs)
        step.rows = [encoded.sources[i] for unit in chosen for i in unit]
        batch = _batch(run, encoded.rows, chosen, packs is not None, int(loaded.tokenizer.pad_token_id or 0))
        device = next(model.parameters()).device
        seconds = _timed(run, step, {name: tensor.to(device) for name, tensor in batch.items()}, optimizer)
    return Timing(seconds * accumulation(run, device_count(run)), exact)


def _timed(run: Run, step: TrialStep, batch: Batch, optimizer: Any) -> float:
    model = step.model

    def once() -> float:
        start = time.perf_counter()
        loss = run.strategy.loss(model, run.strategy.roll_out(model, batch, step), step)
        loss.total.backward()  # type: ignore[no-untyped-call]
        if optimizer is not None:
            optimizer.step()
        for parameter in model.parameters():
            parameter.grad = None
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start

    warm = once()
    return statistics.median(once() for _ in range(3 if warm < QUICK else 1))


def _units(run: Run, rows: Sequence[Encoded], packs: list[list[int]] | None) -> list[list[int]]:
    """Packs spread over the set, or rows of every length."""
    units = packs if packs is not None else [[i] for i in range(len(rows))]
    size = min(run.batch.size, len(units))
    return [units[k * len(units) // size] for k in range(size)]


def _batch(run: Run, rows: Sequence[Encoded], chosen: list[list[int]], packed: bool, pad: int) -> Batch:
    if not packed:
        return run.strategy.collate([rows[i] for unit in chosen for i in unit], pad)
    length = max(sum(len(rows[i].parts["input_ids"]) for i in unit) for unit in chosen)
    return collate_packed([[rows[i] for i in unit] for unit in chosen], pad, length)


@contextmanager
def _untouched(model: Module) -> Iterator[None]:
    """Gradients none, modes and generators as they were."""
    modes = {m: m.training for m in model.modules()}
    generators = random_state.capture()
    try:
        yield
    finally:
        random_state.restore(generators)
        for module, mode in modes.items():
            module.training = mode
        for parameter in model.parameters():
            parameter.grad = None
