"""Lightning's loggers for services, as they serve a run that may be resumed."""

from __future__ import annotations

import contextlib
import io
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only


def kept_id(file: Path) -> str:
    """The name of this run in a service, made once and found again when the run is resumed."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
    return file.read_text(encoding="utf-8")


def saved_config(folder: Path) -> dict[str, Any]:
    """The saved config, in which secrets are names of environment variables; empty where there is none."""
    from omegaconf import OmegaConf

    file = folder / "config.yaml"
    found: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False) if file.exists() else {}
    return dict(found)


class TensorBoardLog(TensorBoardLogger):  # type: ignore[misc]
    """TensorBoard, which hides what was logged after the step at which a run resumes."""

    def truncate(self, step: int) -> None:
        """Hide what was logged after `step`."""
        self._kwargs["purge_step"] = step + 1


class WandbLog(WandbLogger):  # type: ignore[misc]
    """W&B, whose run ends with the training, not with the process."""

    @rank_zero_only  # type: ignore[untyped-decorator]
    def finalize(self, status: str) -> None:
        """End the W&B run."""
        super().finalize(status)
        run: Any = self._experiment
        if run is not None:
            run.finish(exit_code=0 if status == "success" else 1)
            self._experiment: Any = None


def mlflow_log(folder: Path, experiment: str, uri: str | None) -> Logger:
    """Lightning's MLFlowLogger; its run is found again in `logs/mlflow.id`."""
    logs = (folder / "logs").resolve()
    logs.mkdir(parents=True, exist_ok=True)
    known, local = logs / "mlflow.id", uri is None
    log = MLFlowLogger(
        experiment_name=experiment, run_name=folder.name, tracking_uri=f"sqlite:///{logs}/mlflow.db" if local else uri,
        artifact_location=f"file:{logs}/mlflow" if local else None,
        run_id=known.read_text(encoding="utf-8") if known.exists() else None,
    )  # fmt: skip
    known.write_text(str(log.run_id), encoding="utf-8")
    return log


class TrackioLog(Logger):  # type: ignore[misc]
    """A Lightning logger over the trackio package."""

    def __init__(self, project: str, run: str, space: str | None) -> None:
        super().__init__()
        self.project, self.run, self.space = project, run, space
        self._config: dict[str, Any] = {}
        self._experiment: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return self.project

    @property
    def version(self) -> str:
        """The run."""
        return self.run

    @property
    def experiment(self) -> Any:
        """The trackio run, begun or continued at the first figure."""
        if self._experiment is None:
            import trackio

            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._experiment = trackio.init(
                    project=self.project, name=self.run, space_id=self.space, config=self._config, resume="allow",
                    embed=False, auto_log_gpu=False, auto_log_cpu=False,
                )  # fmt: skip
        return self._experiment

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_hyperparams(self, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        """The config that the run begins with."""
        self._config = dict(params)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """The figures of one step."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def finalize(self, status: str) -> None:
        """End the trackio run."""
        if self._experiment is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                self._experiment.finish()
            self._experiment = None
