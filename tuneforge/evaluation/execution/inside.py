"""What runs inside the sandbox: code that a model wrote, and its tests. A program of its own, standard library only.

It reads a task from standard input (JSON: `token`, `code`, `setup`, `tests`, `memory` in MiB, `seconds`), gives up what
the code shall not have, runs setup, code and tests in one namespace, and writes `[token, outcome, detail, confined]`
to where its standard output pointed. Whoever ends the process before that has not passed.
"""

from __future__ import annotations

import json
import os
import resource
import stat
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

MIB = 2**20
FILES = 64
"""How often the code may open a file to write."""
READABLE = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
REFUSED = (
    "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "os.kill", "os.killpg", "os.startfile", "pty.",
    "subprocess.", "_thread.start_new_thread", "socket.", "ctypes.", "resource.", "signal.pthread_kill", "sqlite3.",
    "os.chown", "os.chflags", "os.setxattr", "os.removexattr", "syslog.", "fcntl.", "mmap.", "gc.get_", "sys._current",
)  # fmt: skip
"""Beginnings of the audit events of what no answer needs."""
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.utime",
)
EXECUTE, READ_FILE, READ_DIR = 1, 4, 8
"""Landlock's rights (linux/landlock.h)."""


def main() -> NoReturn:
    """One task, from standard input to what standard output was."""
    write, leave, dumps = os.write, os._exit, json.dumps
    task = json.load(sys.stdin)
    out, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    roots = [path for path in {*sys.path, *READABLE} if os.path.exists(path)]
    limit(task["memory"] * MIB, task["seconds"])
    confined = landlock(roots, os.getcwd())
    guard(roots, os.getcwd())
    outcome, detail = run(task)
    write(out, dumps([task["token"], outcome, detail, confined]).encode())
    leave(0)


def run(task: Mapping[str, Any]) -> tuple[str, str]:
    """`pass`, `syntax`, `wrong` or `error`, and the exception behind it."""
    try:
        code = compile(task["code"], "answer", "exec")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        return "syntax", said(error)
    space: dict[str, Any] = {"__name__": "answer", "__builtins__": __builtins__}
    testing = False
    try:
        exec(task["setup"], space)
        exec(code, space)
        testing = True
        for test in task["tests"]:
            exec(test, space)
    except AssertionError as error:
        return "wrong" if testing else "error", said(error)
    except BaseException as error:
        return "error", said(error)
    return "pass", ""


def said(error: BaseException) -> str:
    """The exception in 200 characters."""
    try:
        return f"{type(error).__name__}: {error}"[:200].rstrip(": ")
    except BaseException:
        return type(error).__name__


def limit(memory: int, seconds: int) -> None:
    """Bounds that the kernel keeps, also against the code itself."""
    limits = {"AS": memory, "CPU": seconds, "FSIZE": 8 * MIB, "NOFILE": 64, "NPROC": 0, "CORE": 0}
    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(which)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(which, (value, value))


def guard(roots: list[str], here: str) -> None:
    """Refuse processes, threads, sockets, signals, and files outside; an audit hook cannot be taken off."""
    import _posixsubprocess
    import _thread

    # Python 3.11 audits neither of these.
    _thread.start_new_thread = _posixsubprocess.fork_exec = refuse
    realpath, fspath, here = os.path.realpath, os.fsdecode, os.path.realpath(here)
    readable = tuple(os.path.join(realpath(root), "") for root in [*roots, here])
    opened = [0]

    def below(path: Any, tops: tuple[str, ...]) -> bool:
        return isinstance(path, int) or os.path.join(realpath(fspath(path)), "").startswith(tops)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(REFUSED):
            raise PermissionError(f"{event} is refused in the sandbox")
        if event == "open":
            path, flags = arguments[0], arguments[2]
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
            opened[0] += writes
            devices = isinstance(path, str) and path in DEVICES
            if opened[0] > FILES or not (devices or below(path, readable[-1:] if writes else readable)):
                raise PermissionError(f"{path!r} is refused in the sandbox")
        elif event.startswith(CHANGES):
            paths = [one for one in arguments if isinstance(one, str | bytes)]
            if not all(below(one, readable[-1:]) for one in paths):
                raise PermissionError(f"{event} is refused outside of the working folder")

    sys.addaudithook(hook)


def refuse(*arguments: Any) -> NoReturn:
    """What stands for a function that no answer needs."""
    raise PermissionError("processes and threads are refused in the sandbox")


def landlock(roots: list[str], here: str) -> bool:
    """The kernel lets nothing but `here` be written and only the roots be read (Linux 5.13); False: it cannot."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(444, None, 0, 1)
    if version < 1:
        return False
    handled = (1 << (13, 14, 15, 15, 16)[min(version, 5) - 1]) - 1
    rights = ctypes.c_uint64(handled)
    ruleset = libc.syscall(444, ctypes.byref(rights), 8, 0)
    rules = dict.fromkeys([*roots, *DEVICES], READ_FILE | READ_DIR) | {
        os.devnull: READ_FILE | 2,
        here: handled & ~EXECUTE,
    }
    for path, allowed in rules.items():
        if not os.path.exists(path):
            continue
        opened = os.open(path, os.O_RDONLY)
        allowed &= ~0 if stat.S_ISDIR(os.fstat(opened).st_mode) else ~READ_DIR
        rule = (ctypes.c_uint8 * 12).from_buffer_copy(
            allowed.to_bytes(8, sys.byteorder) + opened.to_bytes(4, sys.byteorder)
        )
        libc.syscall(445, ruleset, 1, rule, 0)
        os.close(opened)
    done: bool = libc.prctl(38, 1, 0, 0, 0) == 0 and libc.syscall(446, ruleset, 0) == 0
    os.close(ruleset)
    for name in [name for name in sys.modules if name.startswith(("ctypes", "_ctypes"))]:
        del sys.modules[name]
    return done


if __name__ == "__main__":
    main()
