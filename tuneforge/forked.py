"""A saved run in a process of its own, forked from one warmed process: grid points and stages of programs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from tuneforge import saved
from tuneforge.errors import Preempted, TuneForgeError


class Forks:
    """Runs saved configs one after the other; a signal reaches the one that runs and is raised after it."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tuneforge.warm"])
        self._process: BaseProcess | None = None
        self._signal = 0

    def run(self, folder: Path, overrides: list[str], *, resume: bool = False) -> int:
        """The exit code of the run of that directory; what it says goes to its logs/output.txt."""
        arguments = (str(folder), os.getcwd(), overrides, resume)
        self._process = self._context.Process(target=_execute, args=arguments)
        self._process.start()
        self._process.join()
        return _exit_code(self._process.exitcode)

    def refuse_to_go_on(self, done: int, of: str) -> None:
        """Preempted after a signal; `of` is how many there are of what."""
        if self._signal:
            name = signal.Signals(self._signal).name
            raise Preempted(f"{name}: {done} of {of} were started", self._signal)

    def forward(self, number: int, frame: object) -> None:
        """Pass a signal on to the run at hand, which writes its checkpoint."""
        self._signal = number
        process = self._process
        if process is not None and process.pid is not None and process.is_alive():
            os.kill(process.pid, number)


@contextmanager
def forks() -> Iterator[Forks]:
    """A place to run from in which SIGINT and SIGTERM are passed on."""
    made = Forks()
    before = {number: signal.signal(number, made.forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield made
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_code(code: int | None) -> int:
    """A process that a signal killed has a negative code; shells add 128."""
    return 1 if code is None else 128 - code if code < 0 else code


def _execute(folder: str, place: str, overrides: list[str], resume: bool) -> None:
    """Runs in the forked process."""
    from tuneforge import execute

    os.chdir(place)
    os.setpgrp()
    with Path(folder, "logs", "output.txt").open("a" if resume else "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        run = saved.load(Path(folder))
        run.resume = folder if resume else run.resume
        execute.execute(run, Path(folder), {"overrides": overrides})
    except TuneForgeError as error:
        sys.stderr.write(f"tuneforge: {error}\n")
        sys.stderr.flush()
        sys.exit(error.exit_code)
