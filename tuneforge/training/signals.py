"""SIGINT and SIGTERM: the first asks to stop at the end of the optimizer step, the second ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """A context in which the signals are caught; `requested` is the number of the first that came.

    Outside the main thread nothing is caught, since Python allows handlers only there.
    """

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self.requested: int | None = None
        self.say = say or _to_stderr
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def install(self) -> None:
        """Put the handlers (back) in place; Lightning wraps the one of SIGTERM when its loop starts."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            os._exit(128 + number)
        self.requested = number
        name = signal.Signals(number).name
        self.say(f"\n{name}: finishing the optimizer step and saving a checkpoint; once more ends at once")


def _to_stderr(text: str) -> None:
    # Unbuffered: a handler may interrupt a write to sys.stderr itself.
    os.write(2, f"{text}\n".encode())
