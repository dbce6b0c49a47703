"""Lightning's strategies for several devices: whole replicas, or shares of the model.

Gradients are added over the devices once per optimizer step, and never averaged: the module divides them by
the loss items of the whole step, so that it does not matter how many devices shared the work. Replicas are
not wrapped in DistributedDataParallel: its reducer expects one forward and one backward pass in which every
parameter takes part, and strategies call parts of the model, several times and without gradients in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor
from torch.nn import Module, Parameter

from tuneforge.training.devices.world import PATIENCE
from tuneforge.training.optimise import device_count

if TYPE_CHECKING:
    from tuneforge.settings import Run

BUCKET = 2**25
"""Elements that travel together."""


def strategy(run: Run) -> Any:
    """What Lightning's Trainer takes as `strategy` for this run."""
    devices = device_count(run)
    if devices == 1:
        return "auto"
    if run.trainer.strategy == "fsdp":
        return Shards(data_parallel_size=devices, tensor_parallel_size=1, timeout=PATIENCE)
    return Replicas(timeout=PATIENCE)


class Replicas(DDPStrategy):  # type: ignore[misc]
    """Every device holds the whole model; all begin with rank 0's weights and add up their gradients."""

    def _setup_model(self, model: Module) -> Module:
        for tensor in [*model.parameters(), *model.buffers()]:
            dist.broadcast(tensor.detach(), src=0)
        return model

    def _register_ddp_hooks(self) -> None:
        pass

    def add_gradients(self, parameters: Sequence[Parameter]) -> None:
        """Add the gradients of all devices. A parameter that no device used keeps none, as on one device."""
        used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8, device=self.root_device)
        dist.all_reduce(used, op=dist.ReduceOp.MAX)
        chosen = [p for p, some in zip(parameters, used.tolist(), strict=True) if some]
        for parameter in chosen:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        travelling = []
        for bucket in _buckets([p.grad for p in chosen if p.grad is not None]):
            flat = torch.cat([g.reshape(-1) for g in bucket])
            travelling.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, handle in travelling:
            handle.wait()
            for gradient, whole in zip(bucket, torch.split(flat, [g.numel() for g in bucket]), strict=True):
                gradient.copy_(whole.view_as(gradient))


class Shards(ModelParallelStrategy):  # type: ignore[misc]
    """Every device holds a share of each parameter, gradient and optimizer state (FSDP2)."""

    root: Root | None = None

    def shard(self, model: Module) -> None:
        """Share out the decoder layers one by one, and what is left together. Idempotent."""
        if self.root is not None:
            return
        from torch.distributed.fsdp import fully_shard

        self.root = Root(model)
        mesh = self.device_mesh["data_parallel"]
        for module in [*_layers(model), self.root]:
            sharded: Any = fully_shard(module, mesh=mesh)
            sharded.set_gradient_divide_factor(1.0)
            sharded.set_force_sum_reduction_for_comms(True)

    def inside(self, work: Callable[..., Any], *values: Any) -> Any:
        """Call `work` while embeddings, head and whatever is no layer are whole on this device."""
        assert self.root is not None
        return self.root(work, *values)

    def rest(self) -> None:
        """Put all parameters in shares, as the optimizer knows them, though a pass without gradients came last."""
        root: Any = self.root
        for module in root.modules():
            if hasattr(module, "reshard"):
                module.reshard()


class Root(Module):
    """The root that FSDP hooks into: its forward is whatever has to be computed with the model."""

    def __init__(self, model: Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[..., Any], *values: Any) -> Any:
        """The result of `work`."""
        return work(*values)


def _layers(model: Module) -> list[Any]:
    """The layers, as transformers knows them; without those that share a parameter with what is outside of them."""
    names = {name for m in model.modules() for name in (getattr(m, "_no_split_modules", None) or ())}
    uses = _uses(model)
    layers = [m for m in model.modules() if type(m).__name__ in names]
    return [m for m in layers if all(uses[p] == n for p, n in _uses(m).items())]


def _uses(module: Module) -> Counter[int]:
    """How often each parameter, by its id, stands in the module."""
    return Counter(id(p) for _, p in module.named_parameters(remove_duplicate=False))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Runs of gradients of one type with at most BUCKET elements."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and (gradient.dtype != bucket[0].dtype or sum(g.numel() for g in bucket) + gradient.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
