"""Tensors that are shared out over devices along their first dimension: whole, saved and put back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard
from torch.nn import Module, Parameter


class Stored:
    """A tensor that a checkpoint holds in pieces, one in each of several files; read only as far as it is needed."""

    def __init__(self, files: list[Path], key: str, shape: tuple[int, ...]) -> None:
        self.files, self.key, self.shape = files, key, torch.Size(shape)

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of the whole tensor."""
        from safetensors import safe_open

        found, at = [], 0
        for file in self.files:
            with safe_open(file, "pt") as content:
                piece = content.get_slice(self.key)
                size = piece.get_shape()[0]
                low, high = max(start - at, 0), min(stop - at, size)
                if low < high:
                    found.append(piece[low:high])
                at += size
        return torch.cat(found) if found else torch.empty(0, *self.shape[1:])


def is_shared(tensor: Any) -> bool:
    """Whether each device holds other rows of it."""
    return isinstance(tensor, DTensor) and tensor.placements == (Shard(0),)


def whole(tensor: Tensor) -> Tensor:
    """All of it, on every device; all must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def put(target: Tensor, value: Tensor | Stored) -> None:
    """Copy a saved value into a tensor of the same whole shape; each device takes the rows that it holds."""
    if isinstance(target, DTensor):
        local = target.to_local()
        local.copy_(_rows_of(target, value).to(local))
    else:
        target.copy_(value.rows(0, value.shape[0]) if isinstance(value, Stored) else value)


def shared_like(parameter: Tensor, value: Any) -> Any:
    """A saved optimizer state of this parameter as the optimizer expects it here."""
    if not isinstance(value, Tensor | Stored):
        return value
    if isinstance(parameter, DTensor) and value.shape == parameter.shape:
        local = _rows_of(parameter, value).to(parameter.to_local().device)
        return DTensor.from_local(
            local, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
        )
    return value.rows(0, value.shape[0]) if isinstance(value, Stored) else value


def optimizer_state(optimizer: Any, saved: Mapping[str, Any]) -> dict[str, Any]:
    """A saved optimizer state whose tensors are shared out as the parameters are."""
    groups = zip(optimizer.param_groups, saved["param_groups"], strict=True)
    owners = {n: p for mine, theirs in groups for p, n in zip(mine["params"], theirs["params"], strict=True)}
    state = {n: {k: shared_like(owners[n], v) for k, v in kept.items()} for n, kept in saved["state"].items()}
    return {**saved, "state": state}


def skeleton(model: Module) -> Module:
    """A copy of the model without the memory of its parameters, to be filled by `fill`."""
    import copy

    memo: dict[int, Any] = {
        id(p): Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad) for p in model.parameters()
    }
    return copy.deepcopy(model, memo)


def gather(model: Module) -> dict[str, Tensor]:
    """All parameters and buffers by name on the processor, each whole; every device must ask, rank 0 gets them."""
    import torch.distributed as dist

    found = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        full = whole(tensor.detach())
        if dist.get_rank() == 0:
            found[name] = full.cpu().clone()
    return found


def fill(bones: Module, values: Mapping[str, Tensor]) -> Module:
    """The skeleton with these values; parameters that are tied stay tied."""
    full = {id(p): Parameter(values[name], requires_grad=p.requires_grad) for name, p in bones.named_parameters()}
    for module in bones.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = full[id(parameter)]
    for name, buffer in bones.named_buffers():
        buffer.copy_(values[name])
    return bones


def _rows_of(target: DTensor, value: Tensor | Stored) -> Tensor:
    """The rows of a whole value that this device holds of the target."""
    if target.placements != (Shard(0),):
        raise NotImplementedError(f"a tensor placed as {target.placements}")
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shape, offset = compute_local_shape_and_global_offset(target.shape, target.device_mesh, target.placements)
    start, stop = (offset[0], offset[0] + shape[0]) if shape[0] else (0, 0)
    return value.rows(start, stop) if isinstance(value, Stored) else value[start:stop]
