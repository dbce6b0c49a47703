"""torch.compile for the time of training."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch

from tuneforge.components import Context
from tuneforge.training import random_state
from tuneforge.training.loss import likelihood


class Compiling(pl.Callback):  # type: ignore[misc]
    """Compiles the decoder in place, so that names of weights stay as they are; tries it; says when it cannot be."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._target: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compile, and make one small step, which leaves gradients and generators as they were."""
        model: Any = pl_module.model
        parts = likelihood.find_parts(model)
        self._target = parts.decoder if parts is not None else model
        generators = random_state.capture()
        try:
            self._target.compile(dynamic=True)
            ids = torch.arange(1, 13, device=pl_module.device).reshape(2, 6)
            with trainer.precision_plugin.train_step_context():
                found = self._target(input_ids=ids, **({"use_cache": False} if parts is not None else {}))
            found[0].float().sum().backward()
        except Exception as error:  # a compiler raises whatever its parts raise
            self._off()
            reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
            self.context.note(f"trainer.compile: training goes on without it: {reason[0]}")
        finally:
            random_state.restore(generators)
            for parameter in model.parameters():
                parameter.grad = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluation and saving meet the plain model."""
        self._off()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """As at the end."""
        self._off()

    def _off(self) -> None:
        if self._target is not None:
            self._target._compiled_call_impl = None
