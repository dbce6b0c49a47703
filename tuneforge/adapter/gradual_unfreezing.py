"""Gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tuneforge.adapter.whole import load_whole, refuse_quantized, save_whole
from tuneforge.components import Adapter, Context
from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class GradualUnfreezing(Adapter):
    """The last layer trains first, then one more group from the top down at a time (ULMFiT, arXiv:1801.06146).

    The number of parameters that train stands in the training log as `training_parameters`.
    """

    name: ClassVar[str] = "gradual_unfreezing"

    layers: int = 1
    """Layers per group. The last group holds the embeddings; what stands above the layers trains from the start."""
    until: float = 0.5
    """Share of training that is cut into equal parts, one per group; in the last of them everything trains."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range, and several devices."""
        if self.layers < 1:
            yield f"adapter.layers={self.layers} must be at least 1"
        if not 0 < self.until <= 1:
            yield f"adapter.until={self.until} must be above 0 and at most 1"
        if run.trainer.devices not in ("auto", "1"):
            yield _several(run.trainer.devices)

    def apply(self, model: Module, context: Context) -> Module:
        """The model with all parameters requiring gradients: all will train; `before_step` holds the lower ones back.

        ConfigError for a quantised model, one without layers, and several devices.
        """
        from tuneforge.training.depth import layers_of
        from tuneforge.training.optimise import device_count

        refuse_quantized(model, self.name)
        layers_of(model)
        if device_count(context.run) > 1:
            raise ConfigError(_several(context.run.trainer.devices))
        return model.requires_grad_(True)

    def groups(self, model: Module) -> list[list[str]]:
        """Names of parameters in the order in which they thaw."""
        from tuneforge.training.depth import by_depth

        top, *layers, embeddings = by_depth(model)
        found = [[*chain(*layers[i : i + self.layers])] for i in range(0, len(layers), self.layers)]
        return [top + found[0], *found[1:], *([embeddings] if embeddings else [])]

    def thawed(self, groups: int, done: int, total: int) -> int:
        """How many groups train in the step after `done` of `total` steps."""
        return min(groups, 1 + int(done * groups / max(1.0, self.until * total)))

    def before_step(self, model: Module, done: int, total: int) -> None:
        """Exactly the groups whose turn has come require gradients."""
        from tuneforge.training.depth import train_only

        groups = self.groups(model)
        train_only(model, [*chain(*groups[: self.thawed(len(groups), done, total)])])

    def logs(self, model: Module) -> Mapping[str, float]:
        """How many parameters train."""
        return {"training_parameters": float(sum(p.numel() for p in model.parameters() if p.requires_grad))}

    def save(self, model: Module, folder: Path) -> None:
        """The whole model: `config.json` and safetensors, as transformers loads them."""
        save_whole(model, folder)

    def load(self, model: Module, folder: Path, trainable: bool) -> Module:
        """The weights in `folder` put into the freshly loaded base."""
        return load_whole(model, folder).requires_grad_(trainable)

    def merge(self, model: Module) -> Module:
        """The model itself."""
        return model


def _several(devices: str) -> str:
    return (
        f"adapter=gradual_unfreezing with trainer.devices={devices}: what trains changes on the way, which several"
        " devices do not follow; use trainer.devices=1"
    )
