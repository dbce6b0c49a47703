"""The lines of the training log: what stands in one, and when one is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from tuneforge.settings import Run
    from tuneforge.training.batches.loader import WindowLoader
    from tuneforge.training.log.progress import Progress
    from tuneforge.training.module import TrainingModule

LOG_NAMES = {
    "loss": "train/loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "speed": "loss_tokens_per_second",
    "validation_loss": "validation/loss",
}
"""Keys of `Fitted.history` → columns of the training log; others keep their names."""


class History:
    """Writes a step to the terminal, to the tally's history and to the loggers."""

    def __init__(self, run: Run, module: TrainingModule, loader: WindowLoader, progress: Progress) -> None:
        self.run, self.module, self.loader, self.progress = run, module, loader, progress

    def step(self, trainer: pl.Trainer, step: int, extra: Mapping[str, float]) -> None:
        """Show the step; write a line where one is due, or where there is something `extra`.

        `learning_rate/PLACE` stands beside `learning_rate` where layers learn at rates of their own.
        """
        tally, module = self.module.tally, self.module
        since = tally.since
        items = since.get("items", 0.0)
        numbers: dict[str, Any] = {
            "loss": since.get("loss", 0.0) / items if items else float("nan"),
            "learning_rate": module.learning_rate,
            "grad_norm": module.grad_norm,
            "speed": since["loss_tokens"] / max(since["seconds"], 1e-9),
            **extra,
        }
        own = {
            name: total / since[f"of/{name}"]
            for name, total in ((k.removeprefix("own/"), v) for k, v in since.items() if k.startswith("own/"))
            if since[f"of/{name}"]
        }
        self.progress.step(step, numbers | own)
        due = step in (1, module.total) or step % max(1, self.run.trainer.log_every_n_steps) == 0
        if not (extra or due):
            return
        own |= {f"learning_rate/{place}": rate for place, rate in module.rates.items()}
        own |= self.run.adapter.logs(module.model)
        tally.history.append({"step": step, "epoch": self.loader.epoch, **numbers, **own})
        tally.since = {}
        self._log(trainer, step, numbers, own)

    def _log(self, trainer: pl.Trainer, step: int, numbers: Mapping[str, float], own: Mapping[str, float]) -> None:
        metrics = {LOG_NAMES[k]: v for k, v in numbers.items()} | dict(own)
        metrics |= {"epoch": self.loader.done / len(self.loader), "seconds": self.module.tally.seconds}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step)
        for name in ("train/loss", "validation/loss"):  # for callbacks that monitor
            if name in metrics:
                trainer.callback_metrics[name] = torch.tensor(metrics[name])
