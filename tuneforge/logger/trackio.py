"""The training log in trackio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Logger

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger


@dataclass(kw_only=True)
class Trackio(Logger):
    """trackio: a local database that `trackio show` reads ($TRACKIO_DIR), or a Space on the Hugging Face hub.

    The hub's token is read from HF_TOKEN alone. A resumed run goes on as the same trackio run; steps after the
    checkpoint that it resumes from stand there twice.
    """

    name: ClassVar[str] = "trackio"
    extra: ClassVar[str] = "trackio"
    module: ClassVar[str] = "trackio"
    project: str = "tuneforge"
    """Project of the run."""
    space: str | None = None
    """Space that shows the figures, as org/name; null: this machine only."""

    def build(self, context: Context) -> LightningLogger:
        """A Lightning logger over the trackio package; Lightning has none."""
        from tuneforge.training.log.loggers import TrackioLog, kept_id

        run = f"{context.folder.name}-{kept_id(context.folder / 'logs' / 'trackio.id')}"
        return TrackioLog(self.project, run, self.space)
