"""The training log for TensorBoard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Logger

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger


@dataclass(kw_only=True)
class TensorBoard(Logger):
    """`logs/<folder>` in the run directory, for `tensorboard --logdir`.

    A resumed run hides what was logged after the checkpoint that it resumes from.
    """

    name: ClassVar[str] = "tensorboard"
    extra: ClassVar[str] = "tensorboard"
    module: ClassVar[str] = "tensorboard"
    folder: str = "tensorboard"
    """Name of the folder in `logs/`."""

    def build(self, context: Context) -> LightningLogger:
        """Lightning's TensorBoardLogger."""
        from tuneforge.training.log.loggers import TensorBoardLog

        return TensorBoardLog(context.folder / "logs", name="", version=self.folder)
