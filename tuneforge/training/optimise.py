"""From settings to optimizer steps: how many, and at which learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from tuneforge.settings import Run


def device_count(run: Run) -> int:
    """How many devices train, on all machines together."""
    from tuneforge.training.devices import world

    size = world.current().size
    return size if size > 1 else local_devices(run) * run.trainer.num_nodes


def local_devices(run: Run) -> int:
    """How many devices `trainer.devices` means on this machine."""
    chosen = device_choice(run)
    return chosen if isinstance(chosen, int) else len(chosen)


def device_choice(run: Run) -> int | list[int]:
    """A number of devices, or which GPUs. ConfigError for anything else."""
    import torch

    from tuneforge.training.devices import world

    asked = str(run.trainer.devices).strip()
    if asked in ("auto", "-1"):
        if (here := world.current()).size > 1:
            return here.local_size
        on_gpu = run.trainer.accelerator in ("auto", "gpu", "cuda")
        return max(1, torch.cuda.device_count()) if on_gpu else 1
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    listed = [part.strip() for part in asked.strip("[]").split(",")]
    if len(listed) > 1 and all(part.isdecimal() for part in listed) and len(set(listed)) == len(listed):
        return [int(part) for part in listed]
    raise ConfigError(f"trainer.devices is '{asked}'; allowed: auto, a number from 1, or a list of GPUs such as 0,1")


def accumulation(run: Run, devices: int) -> int:
    """Forward passes per device and optimizer step. ConfigError unless batch.global_size divides evenly."""
    size = run.batch.size
    if size < 1:
        raise ConfigError(f"batch.size is {size}; it must be at least 1")
    whole = run.batch.global_size if run.batch.global_size is not None else size * devices
    if whole < 1 or whole % (size * devices):
        near = max(1, round(whole / (size * devices))) * size * devices
        raise ConfigError(
            f"batch.global_size={whole} is no multiple of batch.size={size} x {devices} device(s) = {size * devices};"
            f" nearest: batch.global_size={near}"
        )
    return whole // (size * devices)


def planned_steps(run: Run, units: int) -> tuple[int, int]:
    """(optimizer steps per epoch, steps of the whole run) for `units` rows or packs.

    The last step of an epoch may hold fewer rows. ConfigError where nothing bounds the run.
    """
    devices = device_count(run)
    epochs, steps = run.trainer.max_epochs, run.trainer.max_steps
    per_epoch = math.ceil(units / (run.batch.size * devices * accumulation(run, devices)))
    limits = [per_epoch * epochs] if epochs is not None and epochs >= 0 else []
    limits += [steps] if steps >= 0 else []
    if not limits:
        raise ConfigError("the run has no end: set trainer.max_epochs or trainer.max_steps")
    return per_epoch, min(limits)


def schedule(optimizer: Optimizer, warmup: int, steps: int, decay: Callable[[float], float]) -> LRScheduler:
    """Linear warm-up over `warmup` steps from 0, then `decay(share of the steps after it that are done)`."""
    return warmed_up(optimizer, warmup, lambda done: decay(min(1.0, done / max(1, steps - warmup))))


def warmed_up(optimizer: Optimizer, warmup: int, after: Callable[[int], float]) -> LRScheduler:
    """Linear warm-up over `warmup` steps from 0, then `after(steps since)` times each group's own learning rate."""
    from torch.optim.lr_scheduler import LambdaLR

    def factor(done: int) -> float:
        return done / warmup if done < warmup else max(0.0, after(done - warmup))

    return LambdaLR(optimizer, factor)


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Put a saved state back exactly: torch would cast it to the dtype of its parameter."""
    from torch import Tensor

    optimizer.load_state_dict(dict(state))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [i for group in state["param_groups"] for i in group["params"]]
    for parameter, number in zip(parameters, numbers, strict=True):
        for key, saved in state["state"].get(number, {}).items():
            mine = optimizer.state[parameter].get(key)
            if isinstance(saved, Tensor) and isinstance(mine, Tensor) and mine.dtype != saved.dtype:
                optimizer.state[parameter][key] = saved.to(mine.device)


def set_rates(optimizer: Optimizer, scheduler: Any, rates: Sequence[float]) -> None:
    """Other peak learning rates, one per group, at the scheduler's place."""
    scheduler.base_lrs = list(rates)
    for group, rate, factor in zip(optimizer.param_groups, rates, scheduler.lr_lambdas, strict=True):
        group["initial_lr"] = rate
        group["lr"] = rate * factor(scheduler.last_epoch)
