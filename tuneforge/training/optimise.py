"""From settings to optimizer steps: how many, over which parameters, at which learning rate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module, Parameter
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from tuneforge.settings import Run

NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""Names of parameters that are not decayed: the rule of Hugging Face's Trainer, as results must agree with it."""


def device_count(run: Run) -> int:
    """How many devices `trainer.devices` means on this machine."""
    import torch

    asked = str(run.trainer.devices).strip()
    if asked in ("auto", "-1"):
        on_gpu = run.trainer.accelerator in ("auto", "gpu", "cuda")
        return max(1, torch.cuda.device_count()) if on_gpu else 1
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    listed = [part.strip() for part in asked.strip("[]").split(",")]
    if len(listed) > 1 and all(part.isdecimal() for part in listed):
        return len(listed)
    raise ConfigError(f"trainer.devices is '{asked}'; allowed: auto, a number from 1, or a list such as 0,1")


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


def parameter_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters that train, in two groups: decayed, and norms and biases, which are not. ConfigError for none."""
    from torch.nn import LayerNorm

    norms = {
        f"{m}.{p}" for m, layer in model.named_modules() if isinstance(layer, LayerNorm) for p in ("weight", "bias")
    }
    decayed: list[Parameter] = []
    plain: list[Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (plain if name in norms or NO_DECAY.search(name.lower()) else decayed).append(parameter)
    if not decayed and not plain:
        raise ConfigError("nothing trains: the adapter left no parameter that requires gradients")
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [g for g in groups if g["params"]]


def schedule(optimizer: Optimizer, warmup: int, steps: int, decay: Callable[[float], float]) -> LRScheduler:
    """Linear warm-up over `warmup` steps from 0, then `decay(share of the steps after it that are done)`."""
    from torch.optim.lr_scheduler import LambdaLR

    def factor(done: int) -> float:
        if done < warmup:
            return done / warmup
        return max(0.0, decay(min(1.0, (done - warmup) / max(1, steps - warmup))))

    return LambdaLR(optimizer, factor)
