"""Loggers over Lightning's: figures by step, the unresolved config, one run in a service over resumed runs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training import small
from tuneforge.components import Logger
from tuneforge.logger.mlflow import MLflow
from tuneforge.logger.tensorboard import TensorBoard
from tuneforge.logger.wandb import Wandb
from tuneforge.training.fit import fit
from tuneforge.training.log.loggers import kept_id

pytest.importorskip("tensorboard")
CONFIG = "seed: 3\ntrainer: {max_steps: 4}\nmodel: {token: '${oc.env:HF_TOKEN}'}\n"


def train(folder: Path, logger: Logger, steps: int, resume: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG)
    run = small.settings(trainer__max_steps=steps, checkpoint__every=2, resume=str(folder) if resume else None)
    run.logger = {logger.name: logger}
    data = small.encoded(small.rows(40))
    fit(run, small.loaded(small.llama()), data, None, False, small.context(run, folder))


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), purge_orphaned_data=True).Reload()


def test_tensorboard_has_every_step_once_after_a_resume(tmp_path: Path) -> None:
    """Steps 5 and 6 are trained twice: the first run is thrown back to its checkpoint of step 4."""
    import shutil

    train(tmp_path / "run", TensorBoard(), 6)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000006")
    train(tmp_path / "run", TensorBoard(), 8, resume=True)
    found = events(tmp_path / "run" / "logs" / "tensorboard")
    assert [e.step for e in found.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert found.Scalars("train/loss")[0].value == pytest.approx(4.6, abs=0.3)
    assert {"learning_rate", "grad_norm", "epoch"} <= set(found.Tags()["scalars"])


def test_the_config_is_logged_as_it_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret stays the name of its variable."""
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    train(tmp_path / "run", TensorBoard(), 2)
    written = b"".join(p.read_bytes() for p in (tmp_path / "run" / "logs").rglob("*") if p.is_file())
    assert b"oc.env:HF_TOKEN" in written
    assert b"hf_very_secret" not in written


@pytest.mark.skipif(not importlib.util.find_spec("trackio"), reason="needs trackio")
def test_trackio_goes_on_in_the_same_run(tmp_path: Path) -> None:
    """In a process of its own: trackio reads its folder when it is imported."""
    code = (
        "import sys; from pathlib import Path; from tests.unit.logger import test_loggers as t\n"
        "folder = Path(sys.argv[1])\n"
        "t.train(folder, t.Trackio(), 4)\n"
        "t.train(folder, t.Trackio(), 6, resume=True)\n"
        "import trackio\n"
        "(run,) = trackio.Api().runs('tuneforge')\n"
        "print('FOUND', run.name)\n"
    )
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert f"FOUND run-{kept_id(tmp_path / 'run' / 'logs' / 'trackio.id')}" in done.stdout
    import sqlite3

    (database,) = (tmp_path / "trackio").glob("tuneforge*.db")
    with sqlite3.connect(database) as opened:
        steps = [row[0] for row in opened.execute("select step from metrics order by id")]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_service_run_keeps_its_name(tmp_path: Path) -> None:
    first = kept_id(tmp_path / "logs" / "wandb.id")
    assert kept_id(tmp_path / "logs" / "wandb.id") == first
    assert kept_id(tmp_path / "other" / "wandb.id") != first


@pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="needs wandb")
def test_wandb_is_offline_and_goes_on_in_the_same_run(tmp_path: Path) -> None:
    train(tmp_path / "run", Wandb(), 4)
    train(tmp_path / "run", Wandb(), 6, resume=True)
    name = kept_id(tmp_path / "run" / "logs" / "wandb.id")
    found = list((tmp_path / "run" / "logs" / "wandb").glob("offline-run-*"))
    assert found
    assert all(folder.name.endswith(name) for folder in found)


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of the libraries under it
@pytest.mark.skipif(not importlib.util.find_spec("mlflow"), reason="needs mlflow")
def test_mlflow_goes_on_in_the_same_run(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    train(tmp_path / "run", MLflow(), 4)
    train(tmp_path / "run", MLflow(), 6, resume=True)
    client = MlflowClient(f"sqlite:///{tmp_path / 'run' / 'logs' / 'mlflow.db'}")
    name = (tmp_path / "run" / "logs" / "mlflow.id").read_text()
    assert [m.step for m in client.get_metric_history(name, "train/loss")] == [1, 2, 3, 4, 5, 6]
    assert client.get_run(name).data.params["model/token"] == "${oc.env:HF_TOKEN}"
