"""The training log as a CSV file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Logger

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger


@dataclass(kw_only=True)
class Csv(Logger):
    """`logs/<file>` in the run directory: one line per logged optimizer step.

    A resumed run goes on in the same file; lines after the checkpoint it resumes from are replaced.
    """

    name: ClassVar[str] = "csv"
    file: str = "metrics.csv"
    """Name of the file in `logs/`."""

    def build(self, context: Context) -> LightningLogger:
        """A Lightning logger that writes the file."""
        from tuneforge.training.log.csv_log import CsvLog

        return CsvLog(context.folder / "logs" / self.file)
