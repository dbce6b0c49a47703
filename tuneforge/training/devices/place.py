"""On which device this process computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneforge.training.devices import world
from tuneforge.training.optimise import device_choice

if TYPE_CHECKING:
    import torch

    from tuneforge.settings import Run


def place(run: Run) -> torch.device:
    """The GPU of this process, as `trainer.accelerator` and `trainer.devices` say; the CPU where there is no CUDA.

    Apple's GPUs train, but nothing is measured on them: they have no float64.
    """
    import torch

    if run.trainer.accelerator not in ("auto", "gpu", "cuda") or not torch.cuda.is_available():
        return torch.device("cpu")
    chosen, at = device_choice(run), world.current().local_rank
    return torch.device("cuda", at if isinstance(chosen, int) else chosen[at])
