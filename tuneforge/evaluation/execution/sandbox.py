"""Runs what a model wrote in a process of its own that can do little, and says how that ended."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

INSIDE = Path(__file__).with_name("inside.py")
NAMESPACES = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child")
LONGEST = 4096
"""Bytes of a result that are read."""


class Program(NamedTuple):
    """Code with its tests, each a text of Python."""

    code: str
    tests: Sequence[str]
    setup: str = ""


class Outcome(NamedTuple):
    """How it ended: `pass`, `syntax`, `timeout`, `wrong` or `error`, and the exception behind it."""

    kind: str
    detail: str = ""
    confined: bool = True
    """The kernel itself kept files apart (Landlock)."""


def run_all(programs: Sequence[Program], seconds: float, memory: int) -> Iterator[Outcome]:
    """The outcome of each, in order; as many at a time as the machine has cores. `memory` is in MiB."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(partial(run, seconds=seconds, memory=memory), programs)


def run(program: Program, seconds: float, memory: int) -> Outcome:
    """Setup, code and tests in one fresh process, which is ended with all that it started."""
    token = secrets.token_hex(16)
    task = {**program._asdict(), "token": token, "memory": memory, "seconds": int(seconds) + 2}
    with tempfile.TemporaryDirectory(prefix="tuneforge-", ignore_cleanup_errors=True) as folder:
        work, result = Path(folder, "work"), Path(folder, "result")
        work.mkdir()
        with result.open("wb") as out:
            code = _process(json.dumps(task).encode(), work, out.fileno(), seconds)
        if code is None:
            return Outcome("timeout", f"longer than {seconds:g} s")
        with result.open("rb") as said:
            return _outcome(said.read(LONGEST), token, code)


def _process(task: bytes, work: Path, out: int, seconds: float) -> int | None:
    """The exit code; None where it had to be ended."""
    command = [*namespaces(), sys.executable, "-s", "-S", "-P", "-B", str(INSIDE)]
    environment = {"HOME": str(work), "TMPDIR": str(work), "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL, cwd=work, env=environment,
        start_new_session=True,
    )  # fmt: skip
    try:
        process.communicate(task, timeout=seconds)
        return process.returncode
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _outcome(said: bytes, token: str, code: int) -> Outcome:
    """What the inside wrote; without its token the code ended the process before the tests had ended."""
    with suppress(ValueError, TypeError):
        found, kind, detail, confined = json.loads(said)
        if found == token:
            return Outcome(kind, detail, confined)
    if code in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return Outcome("timeout", "out of processor time")
    return Outcome("error", f"the process ended with exit code {code} before its tests had")


@cache
def namespaces() -> tuple[str, ...]:
    """What puts a command into user, network and process namespaces of its own; empty where that is not allowed."""
    program = shutil.which(NAMESPACES[0])
    command = (program or "", *NAMESPACES[1:])
    if program is None:
        return ()
    tried = subprocess.run([*command, sys.executable, "-S", "-c", ""], capture_output=True, check=False)
    return command if tried.returncode == 0 else ()
