"""How much memory training takes: planned before the first step, measured while it runs.

At its peak a step holds parameters, the optimizer's state, other models, and either what the forward pass keeps for the
backward pass with the logits at hand, or the gradients; with several forward passes per step, both.
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn import Module, Parameter

from tuneforge.training.groups import parameter_groups
from tuneforge.training.loss import likelihood

if TYPE_CHECKING:
    from tuneforge.components import Context
    from tuneforge.settings import Run

USED = 0.9
"""Share of the available memory that a plan may take."""
KEPT_ON_CPU = 1.5
"""What a CPU process holds against what is alive: its allocator keeps freed blocks. Measured 1.2 to 2.2; GPUs: 1."""
TINY = 128
"""Sides of the tensors on which an optimizer shows its state: 8-bit states begin at 4,096 elements."""


class Plan(NamedTuple):
    """Bytes of one device, and how many rows or packs go into a forward pass."""

    parameters: int
    gradients: int
    optimizer: int
    activations: int
    """What the forward pass of one row or pack keeps for the backward pass."""
    logits: int
    """Of one forward pass of `micro` rows or packs."""
    available: int
    """Free memory, the model's own included; 0 where it is not known."""
    size: int
    micro: int
    kept: float
    """What the process holds of activations and logits, against what is alive of them."""
    others: int = 0
    """Other models held beside it: a teacher, a copy as the reference, reward models."""

    @property
    def peak(self) -> int:
        """Most bytes at once."""
        held = self.parameters + self.optimizer + self.others
        work = round(self.kept * (self.activations * self.micro + self.logits))
        return held + (work + self.gradients if self.micro < self.size else max(work, self.gradients))


class Others(NamedTuple):
    """Bytes of the models beside the one that trains."""

    loaded: int = 0
    """Held already: teachers, reward models."""
    to_come: int = 0
    """A copy of the model that training will make, as the reference."""


def plan(
    run: Run, model: Module, activations: float, logits: int, optimizer: int | None, device: torch.device,
    others: Others | None = None,
) -> Plan:  # fmt: skip
    """The plan of a step of `batch.size` rows or packs, cut into as few forward passes as fit.

    `model` has its adapter. `activations` and `logits` are bytes of one row or pack, `optimizer` the state's, or
    None where no step was tried.
    """
    parameters = size_of(model)
    gradients = sum(_bytes(p) for p in model.parameters() if p.requires_grad)
    state = state_bytes(run, model) if optimizer is None else optimizer
    others = others or Others()
    room = available(device, parameters + others.loaded)
    whole = run.batch.size
    kept = KEPT_ON_CPU if device.type == "cpu" else 1.0
    found = Plan(parameters, gradients, state, round(activations), _logits(logits, 1, device), room, whole, 1, kept)
    found = found._replace(others=sum(others))

    def at(micro: int) -> Plan:
        return found._replace(micro=micro, logits=_logits(logits, micro, device))

    if run.batch.micro is not None:
        return at(min(run.batch.micro, whole))
    passes = 1
    while room and run.strategy.divisible and at(-(-whole // passes)).peak > USED * room and passes < whole:
        passes += 1
    return at(-(-whole // passes))


def _logits(each: int, micro: int, device: torch.device) -> int:
    """Logits and their gradient, at most one chunk of them."""
    largest = likelihood.LARGEST if device.type == "cpu" else likelihood.LARGEST_ON_GPU
    return min(2 * each * micro, 8 * largest)


def size_of(model: Module) -> int:
    """Bytes of parameters and buffers, tied ones once."""
    return sum(map(_bytes, model.parameters())) + sum(map(_bytes, model.buffers()))


def loaded(context: Context) -> int:
    """Bytes of the other models that the run holds."""
    return sum(size_of(other.model) for other in context.others)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def optimizer_bytes(optimizer: Any) -> int:
    """Bytes of an optimizer's state."""
    return sum(_bytes(t) for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor))


def state_bytes(run: Run, model: Module) -> int:
    """Bytes of the optimizer's state for this model, from one step on tiny parameters of the same kinds."""
    groups = parameter_groups(model, run.optimizer, run.learning_rate)
    real = [p for group in groups for p in group["params"]]
    kinds = {
        (min(p.ndim, 2), p.dtype): Parameter(torch.zeros([TINY] * min(p.ndim, 2) or [1], dtype=p.dtype)) for p in real
    }
    tiny = [group | {"params": []} for group in groups]
    for group, of in zip(groups, tiny, strict=True):
        of["params"] = [copy.deepcopy(kinds[key]) for key in {(min(p.ndim, 2), p.dtype) for p in group["params"]}]
    optimizer = run.optimizer.build(tiny, run.learning_rate)
    for parameter in (p for group in tiny for p in group["params"]):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    total = 0.0
    for group, of in zip(groups, tiny, strict=True):
        each = {(p.ndim, p.dtype): _state_of(optimizer, p) / p.numel() for p in of["params"]}
        total += sum(each[max(1, min(p.ndim, 2)), p.dtype] * p.numel() for p in group["params"])
    return round(total)


def _state_of(optimizer: Any, parameter: Tensor) -> int:
    return sum(_bytes(t) for t in optimizer.state[parameter].values() if isinstance(t, Tensor) and t.ndim)


def skeleton(model: Module) -> Module:
    """A copy of the model without memory of its own: every tensor on the meta device."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, memo)


@contextmanager
def kept_for_backward(model: Module) -> Iterator[dict[int, int]]:
    """Address → bytes of every storage that autograd keeps inside the block, the model's own left out."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield found


def available(device: torch.device, resident: int) -> int:
    """Bytes that training may take on the device, `resident` of which the model takes already; 0: not known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device) + resident
    free = _meminfo("MemAvailable")
    limits = [limit - used for limit, used in _cgroups()]
    return min([free, *limits]) + resident if free else 0


def _meminfo(key: str, file: str = "/proc/meminfo") -> int:
    try:
        lines = Path(file).read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), 0)


def _cgroups() -> Iterator[tuple[int, int]]:
    """(limit, use) of the container's memory, of either version of cgroups."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            numbers = [(Path("/sys/fs/cgroup") / name).read_text(encoding="ascii").strip() for name in (limit, used)]
        except OSError:
            continue
        if all(number.isdecimal() for number in numbers):
            yield int(numbers[0]), int(numbers[1])


class Watch(pl.Callback):  # type: ignore[misc]
    """Measures the peak of training: of the device's allocations, or of the process's resident set."""

    def __init__(self) -> None:
        self.peak = 0
        """Bytes, the model's own and other models' included; 0 where it could not be measured."""
        self._before: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start afresh: what stood before is no part of training, but for the model."""
        self._model = size_of(pl_module.model) + loaded(pl_module.step.context)
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
            return
        try:
            with suppress(AttributeError, TypeError):  # another C library than GNU's
                ctypes.CDLL(None).malloc_trim(0)  # what earlier work left in the heap would hide what training takes
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak becomes what is now
        except OSError:
            return
        self._before = _meminfo("VmRSS", "/proc/self/status")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the measure."""
        if pl_module.device.type == "cuda":
            self.peak = torch.cuda.max_memory_allocated(pl_module.device)
        elif self._before is not None:
            self.peak = _meminfo("VmHWM", "/proc/self/status") - self._before + self._model
