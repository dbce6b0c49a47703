"""The training log in Weights & Biases."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Logger

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger


class Mode(StrEnum):
    """Where the figures go."""

    offline = "offline"
    online = "online"


@dataclass(kw_only=True)
class Wandb(Logger):
    """Weights & Biases: `logs/wandb` in the run directory, and the service where `mode=online`.

    The key is read from WANDB_API_KEY alone. A resumed run goes on as the same W&B run; steps after the checkpoint
    that it resumes from stand there twice.
    """

    name: ClassVar[str] = "wandb"
    extra: ClassVar[str] = "wandb"
    module: ClassVar[str] = "wandb"
    project: str = "tuneforge"
    """Project of the run."""
    mode: Mode = Mode.offline
    """offline: files only, for `wandb sync`; online: sent at once."""

    def build(self, context: Context) -> LightningLogger:
        """Lightning's WandbLogger."""
        from tuneforge.training.log.loggers import WandbLog, kept_id

        folder = context.folder / "logs"
        return WandbLog(
            name=context.folder.name, save_dir=folder, version=kept_id(folder / "wandb.id"), project=self.project,
            offline=self.mode == Mode.offline,
        )  # fmt: skip
