"""The run directory and run.json: what ran, with what, for how long, and how it ended."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from tuneforge import plugins
from tuneforge.errors import ConfigError, DataRefused, GateFailed, Preempted, TuneForgeError
from tuneforge.files import write_json
from tuneforge.hookspecs import RunFinished, RunStarted, StageFinished
from tuneforge.settings import Run

LIBRARIES = ("torch", "transformers", "peft", "lightning", "tokenizers", "hydra-core", "omegaconf", "pyarrow", "numpy")


def new_folder(run: Run) -> Path:
    """The run directory: `output_dir`, else outputs/<date>/<time>-<name>; made, and free of another run."""
    folder = free_folder(run.output_dir, run.name or run.strategy.name)
    (folder / "logs").mkdir(exist_ok=True)
    return folder


def free_folder(output_dir: str | None, name: str) -> Path:
    """`output_dir`, else outputs/<date>/<time>-<name>; made, and free of another run."""
    if output_dir is not None:
        folder = Path(output_dir).expanduser()
        if (folder / "run.json").exists():
            status = read_record(folder).get("status")
            begun = any((folder / name).exists() for name in ("checkpoints", "metrics.json", "stages", "rungs"))
            if status in ("refused", "failed") and not begun:
                raise ConfigError(f"output_dir={folder}: holds a run that {_ENDED[status]}; delete it, or name another")
            raise ConfigError(
                f"output_dir={folder}: holds a run already; continue it with resume={folder}, or name another"
            )
    else:
        now = datetime.now()
        stem = Path("outputs", now.strftime("%Y-%m-%d"), f"{now.strftime('%H-%M-%S')}-{name}")
        folder = next(
            c for n in range(1, 1000) if not (c := stem if n == 1 else stem.with_name(f"{stem.name}-{n}")).exists()
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"output_dir={folder}: cannot be made: {error.strerror}") from error
    return folder


_ENDED = {"refused": "was refused", "failed": "failed before it trained"}


def link_latest(folder: Path) -> None:
    """Point outputs/latest at this run; only for runs below ./outputs."""
    outputs = Path("outputs").resolve()
    if outputs not in folder.resolve().parents:
        return
    temporary = outputs / f".latest.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.resolve().relative_to(outputs))
    os.replace(temporary, outputs / "latest")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the directory for this process; ConfigError names the process that holds it already."""
    with (folder / ".lock").open("a+", encoding="utf-8") as file:
        _lock(file, folder)
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _lock(file: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        raise ConfigError(f"output_dir={folder}: is in use by {file.read() or 'another process'}") from error


@dataclass
class Record:
    """run.json while the run goes on; every change is written at once."""

    run: Run
    folder: Path
    content: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(cls, run: Run, folder: Path, notes: list[dict[str, Any]], **facts: Any) -> Record:
        """A record of status `running`; `facts` are command, choices, overrides, lineage."""
        content = {
            "schema": 1,
            "run": {"name": run.name or run.strategy.name, "folder": str(folder)},
            "status": "running",
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": run.seed,
            **facts,
            "lineage": {"model": getattr(run.model, "path", "") or run.model.name, **facts.get("lineage", {})},
            "versions": versions(),
            "plugins": [str(owner) for owner in plugins.load().plugins],
            "git": git_state(),
            "hardware": hardware(),
            "seconds": {},
            "notes": notes,
        }
        record = cls(run, folder, content)
        record.write()
        record.tell("tuneforge_run_started", RunStarted(run=run, folder=folder))
        return record

    def update(self, **facts: Any) -> None:
        """Add facts and write."""
        self.content.update(facts)
        self.write()

    def write(self) -> None:
        """Write run.json."""
        write_json(self.folder / "run.json", self.content)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one step of the run."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self.content["seconds"][name] = round(seconds, 3)
        self.write()
        self.tell(
            "tuneforge_stage_finished", StageFinished(run=self.run, folder=self.folder, stage=name, seconds=seconds)
        )

    def tell(self, hook: str, event: Any) -> None:
        """Call an event hook; a plugin that raises is noted and does not end the run."""
        for implementation in getattr(plugins.load().manager.hook, hook).get_hookimpls():
            try:
                implementation.function(*(event for _ in implementation.argnames))
            except Exception as error:  # a plugin may raise anything; the run is not its hostage
                self.content["notes"].append({"text": f"plugin {implementation.plugin_name}: {hook} raised {error!r}"})

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Write how the run ended, whatever happens inside."""
        try:
            yield
        except BaseException as error:
            self.finish(_status(error), error=str(error) or type(error).__name__)
            raise
        else:
            self.finish("finished")

    def finish(self, status: str, **facts: Any) -> None:
        """The last word: status, seconds in all, peak memory."""
        started = datetime.fromisoformat(self.content["started"])
        self.content["seconds"]["all"] = round((datetime.now(UTC) - started).total_seconds(), 1)
        self.content |= {"status": status, "peak_memory_bytes": peak_memory(), **facts}
        self.write()
        event = RunFinished(run=self.run, folder=self.folder, status=status, record=self.content)
        self.tell("tuneforge_run_finished", event)
        self.write()


def _status(error: BaseException) -> str:
    if isinstance(error, GateFailed):
        return "finished"
    if isinstance(error, DataRefused):
        return "refused"
    return "preempted" if isinstance(error, Preempted | KeyboardInterrupt) else "failed"


def read_record(folder: Path) -> dict[str, Any]:
    """run.json of a run directory; ConfigError where there is none."""
    try:
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} is no run directory: it has no run.json") from error
    except ValueError as error:
        raise TuneForgeError(f"{folder}/run.json is damaged: {error}") from error
    return dict(content)


def versions() -> Mapping[str, str]:
    """Versions of Python, TuneForge and the libraries under it."""
    found = {"python": platform.python_version()}
    for name in ("tuneforge", *LIBRARIES):
        found[name] = metadata.version(name)
    return found


def git_state() -> Mapping[str, Any] | None:
    """Commit and cleanliness of the repository in the current directory, if it is one."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> Mapping[str, Any]:
    """Processor cores, accelerators and platform; asks torch only if it is loaded."""
    torch = sys.modules.get("torch")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch else []
    return {"platform": platform.platform(), "cores": os.cpu_count(), "accelerators": gpus}


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
