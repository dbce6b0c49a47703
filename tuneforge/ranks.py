"""The processes that train beside this one: handed their orders, started, watched and ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig, OmegaConf

from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.files import write_json
from tuneforge.settings import Run
from tuneforge.terminal import say
from tuneforge.training.devices import world

ORDERS = ".ranks.json"
"""In the run directory: what rank 0 has decided before training."""
GRACE = 5.0
"""Seconds that a process is given to end by itself."""
STOPPED = (0, 130, 143)
"""Exit codes of a process that did what it was asked."""


@contextmanager
def together(
    run: Run, folder: Path, decided: Mapping[str, Any], give_up: Callable[[str], None]
) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    """The body as rank 0 of all processes of this run, which enter by the saved config in `folder`.

    Starts those of this machine, unless torchrun or srun has; one alone needs none. When one of them dies, all
    end within seconds with TuneForgeError, which names it and the end of what it wrote; where this process
    cannot be reached, since it waits for the dead one, `give_up` is called with the text, and the process ends.
    """
    from tuneforge.training.optimise import device_count

    here = world.current()
    world.check(run, here)
    size = device_count(run)
    if size == 1 or here.size > 1:
        if here.size > 1:
            give_orders(folder, decided)
        yield ()
        return
    with _place_of_first(run, size) as environment:
        give_orders(folder, decided)
        others = Others(folder, size, environment, give_up)
        say("ranks", f"{size} processes; the others write to {folder}/logs/rank-N.txt")
        with others.alive():
            yield others.processes


def give_orders(folder: Path, decided: Mapping[str, Any]) -> None:
    """Say what the other ranks wait for."""
    write_json(folder / ORDERS, {"world": world.identity(), **decided})


def orders(folder: Path) -> dict[str, Any] | None:
    """What rank 0 of this very start has decided; None as long as it has not."""
    try:
        found = json.loads((folder / ORDERS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return dict(found) if found["world"] == world.identity() else None


def shared_folder(overrides: Sequence[str]) -> Path:
    """The run directory that all processes of torchrun or srun are told; ConfigError where they are not."""
    named = [o.split("=", 1)[1] for o in overrides if o.startswith(("output_dir=", "resume="))]
    if not named or named[-1] in ("", "null"):
        raise ConfigError(
            f"output_dir: {world.current().size} processes were started, and all must find the run: name its directory,"
            " as in output_dir=outputs/run"
        )
    return Path(named[-1]).expanduser()


def same_step(config: DictConfig, devices: int) -> str:
    """Keep the rows of an optimizer step where a run goes on with other `devices`; what was changed, or empty.

    ConfigError where they cannot be divided over the devices.
    """
    from tuneforge.training.optimise import device_count

    now = device_count(OmegaConf.to_object(config))  # type: ignore[arg-type]
    if now == devices:
        return ""
    batch = config.batch
    whole = batch.global_size or batch.size * devices
    if whole % now:
        raise ConfigError(
            f"trainer.devices: the run was begun with {whole} rows per optimizer step, which {now} devices cannot share"
            f" evenly; take {', '.join(str(n) for n in range(1, whole + 1) if whole % n == 0)} of them"
        )
    batch.global_size = whole
    batch.size = max(n for n in range(1, batch.size + 1) if whole % (n * now) == 0)
    return f"{now} device(s) instead of {devices}: batch.global_size={whole} as before, batch.size={batch.size}"


@contextmanager
def _place_of_first(run: Run, size: int) -> Iterator[dict[str, str]]:
    """The environment in which this process is rank 0 of a new world; put back afterwards."""
    import torch

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
        "RANK": "0", "LOCAL_RANK": "0", "NODE_RANK": "0", "TUNEFORGE_RANKS": uuid.uuid4().hex,
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in words}
    threads = torch.get_num_threads()
    each = max(1, (os.cpu_count() or 1) // size)
    os.environ |= words
    torch.set_num_threads(min(threads, each))
    try:
        yield {"OMP_NUM_THREADS": str(each), **os.environ}
    finally:
        torch.set_num_threads(threads)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class Others:
    """Ranks 1 and above on this machine."""

    def __init__(self, folder: Path, size: int, environment: Mapping[str, str], give_up: Callable[[str], None]) -> None:
        self.folder, self.environment, self.give_up = folder, environment, give_up
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ready: list[IO[bytes]] = []
        self.over = threading.Event()
        self.size = size

    @contextmanager
    def alive(self) -> Iterator[None]:
        """The body while all are alive; afterwards none is."""
        try:
            for rank in range(1, self.size):
                self._start(rank)
            self._await_ready()
            threading.Thread(target=self._watch, daemon=True).start()
            try:
                yield
            except Exception as error:
                self._blame(error)
                raise
            self._await_end()
        finally:
            self.over.set()
            self._end()
            for pipe in self.ready:
                pipe.close()

    def _start(self, rank: int) -> None:
        reading, writing = os.pipe()
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONUNBUFFERED": "1"}
        own |= {"TUNEFORGE_READY": str(writing), "TUNEFORGE_PARENT": str(os.getpid())}
        with self.log(rank).open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tuneforge.rank", str(self.folder)],
                    env={**self.environment, **own}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    pass_fds=[writing],
                    start_new_session=True,  # Ctrl-C reaches rank 0 alone, which tells the others at the end of a step
                )
            )  # fmt: skip
        os.close(writing)
        self.ready.append(os.fdopen(reading, "rb", 0))

    def _await_ready(self) -> None:
        """Until all have loaded model and rows; TuneForgeError when one ends instead."""
        waiting = list(self.ready)
        while waiting:
            for pipe in select.select(waiting, [], [], 1.0)[0]:
                if not pipe.read(1):
                    self.processes[self.ready.index(pipe)].wait()
                    raise TuneForgeError(self.failure())
                waiting.remove(pipe)

    def _await_end(self) -> None:
        self.over.set()
        end = time.monotonic() + 60
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))
        if text := self.failure():
            raise TuneForgeError(f"{text}\nThe training itself had ended, its last checkpoint is whole")

    def _watch(self) -> None:
        """In a thread: when one dies, end the others, and this process too if it does not notice."""
        while not self.over.wait(0.2):
            if text := self.failure():
                for process in self.processes:
                    process.kill()
                if not self.over.wait(GRACE):
                    self.give_up(text)
                    sys.stdout.flush()
                    os._exit(1)

    def _blame(self, error: Exception) -> None:
        """Raise what another process died of, unless all stop for the same reason as this one."""
        end = time.monotonic() + GRACE
        expected = getattr(error, "exit_code", None)
        while not (text := self.failure()) and expected is None and time.monotonic() < end:
            time.sleep(0.1)
        died = [p.returncode for p in self.processes if p.poll() not in (None, *STOPPED)]
        if text and any(code != expected for code in died if code != -signal.SIGKILL or len(died) == 1):
            raise TuneForgeError(text) from error

    def failure(self) -> str:
        """Which process died, of what; empty while none has."""
        for rank, process in enumerate(self.processes, start=1):
            code = process.poll()
            if code is not None and code not in STOPPED:
                how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                end = f"The end of {self.log(rank)}:\n{self._tail(rank)}"
                return f"rank {rank} of {self.size} {how}; all were stopped. {end}"
        return ""

    def log(self, rank: int) -> Path:
        """Where a rank writes."""
        return self.folder / "logs" / f"rank-{rank}.txt"

    def _tail(self, rank: int, lines: int = 8) -> str:
        text = self.log(rank).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n".join(f"  {line}" for line in text[-lines:]) or "  (nothing)"

    def _end(self) -> None:
        """End what is still there: asked first, then without asking."""
        end = time.monotonic() + (GRACE if any(p.poll() is None for p in self.processes) else 0)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()
