"""The training log in MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Logger

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger


@dataclass(kw_only=True)
class MLflow(Logger):
    """MLflow: `logs/mlflow.db` in the run directory, or a tracking server.

    A server's credentials are read from the variables that MLflow names (MLFLOW_TRACKING_TOKEN and others). A resumed
    run goes on as the same MLflow run; steps after the checkpoint that it resumes from stand there twice.
    """

    name: ClassVar[str] = "mlflow"
    extra: ClassVar[str] = "mlflow"
    module: ClassVar[str] = "mlflow"
    experiment: str = "tuneforge"
    """Experiment of the run."""
    tracking_uri: str | None = None
    """Address of a server or store; null: logs/mlflow.db in the run directory."""

    def build(self, context: Context) -> LightningLogger:
        """Lightning's MLFlowLogger."""
        from tuneforge.training.log.loggers import mlflow_log

        return mlflow_log(context.folder, self.experiment, self.tracking_uri)
