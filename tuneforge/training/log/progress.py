"""What is seen of training: a bar on a terminal, a line per tenth elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


HEADLINES = {"reward": "reward", "groups_alike": "groups alike", "rewards/accuracies": "told apart"}
"""Figures of a strategy that tell more of its progress than the loss, and what they are called on the line."""


def clock(seconds: float) -> str:
    """`1:50`, `1:02:03`."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def short(number: float) -> str:
    """`38.2k`, `1.2M`, `950`."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return f"{number:.0f}"


class Progress:
    """Shows one run's steps. Call `start`, then `step` after each optimizer step, then `close`."""

    def __init__(self, total: int, out: TextIO | None = None, unit: str = "tokens") -> None:
        """`unit` is what the loss counts."""
        self.total, self.unit = total, "loss-tok" if unit == "tokens" else unit
        self.out = out or sys.stdout
        self.began, self.first, self.validation = time.monotonic(), 0, None
        self._bar: RichProgress | None = None

    def start(self, done: int) -> None:
        """Begin at `done` steps of the total."""
        self.began, self.first = time.monotonic(), done
        if not self.out.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("Train  "),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total}  {task.fields[text]}"),
        )
        self._bar = RichProgress(*columns, console=Console(file=self.out), transient=False)
        self._bar.add_task("train", total=self.total, completed=done, text="")
        self._bar.start()

    def step(self, done: int, numbers: dict[str, Any]) -> None:
        """`numbers`: loss, grad_norm, learning_rate, speed (items per second), validation_loss where new, HEADLINES."""
        self.validation = numbers.get("validation_loss", self.validation)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, text=self._text(done, numbers))
        elif done == self.total or done * 10 // self.total > (done - 1) * 10 // self.total:
            self.out.write(f"Train   {done}/{self.total}  {self._text(done, numbers)}\n")
            self.out.flush()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _text(self, done: int, numbers: dict[str, Any]) -> str:
        left = (time.monotonic() - self.began) / max(1, done - self.first) * (self.total - done)
        parts = [f"loss {numbers['loss']:.3f}"]
        parts += [f"val {self.validation:.3f}"] if self.validation is not None else []
        parts += [f"{word} {numbers[name]:.2f}" for name, word in HEADLINES.items() if name in numbers]
        parts += [f"grad {numbers['grad_norm']:.2g}", f"lr {numbers['learning_rate']:.1e}"]
        parts += [f"{short(numbers['speed'])} {self.unit}/s", f"ETA {clock(left)}"]
        return "  ".join(parts)
