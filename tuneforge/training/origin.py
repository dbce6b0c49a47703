"""What a checkpoint was made with, so that another config is refused by what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.errors import TuneForgeError

if TYPE_CHECKING:
    from tuneforge.settings import Run

PARTS = ("strategy", "adapter", "optimizer", "scheduler")


def origin(run: Run) -> dict[str, dict[str, Any]]:
    """The choices and values on which a checkpoint depends, but the learning rate, which may change."""
    found = {part: {"": getattr(run, part).name} | asdict(getattr(run, part)) for part in PARTS}
    found["regularization"] = asdict(run.regularization)
    del found["optimizer"]["learning_rate"]
    return found


def refuse_another(saved: Mapping[str, Mapping[str, Any]], run: Run, step: int, folder: Path) -> None:
    """TuneForgeError that names what differs between the checkpoint of `step` in the run `folder` and this run."""
    mine, odd = origin(run), []
    for part, values in mine.items():
        if values.get("") != saved[part].get(""):
            odd.append(f"{part}={saved[part]['']} (now {values['']})")
            continue
        names = sorted({*values, *saved[part]})
        pairs = [(n, saved[part].get(n), values.get(n)) for n in names if saved[part].get(n) != values.get(n)]
        odd += [f"{part}.{name}={then} (now {now})" for name, then, now in pairs]
    if odd:
        raise TuneForgeError(
            f"cannot resume: the checkpoint of step {step} was made with {', '.join(odd)}; what may change"
            " is the length of training, the devices and optimizer.learning_rate. For another config start a new run"
            f" with: tuneforge --from {folder}"
        )
