"""Learned scales on keys, values and feed-forward activations (Liu et al. 2022, arXiv:2205.05638)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tuneforge.adapter.peft_adapter import TASKS, PeftAdapter, check_names, linear_names, saved_whole
from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from peft import IA3Config
    from torch.nn import Module

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Ia3(PeftAdapter):
    """IA3: one learned scale per key, value and feed-forward activation (Liu et al. 2022, arXiv:2205.05638).

    About a hundredth of a LoRA's parameters; for few rows. All scales start at 1.
    """

    name: ClassVar[str] = "ia3"
    kind: ClassVar[str] = "IA3"
    learning_rate_factor: ClassVar[float] = 100.0

    targets: list[str] = field(default_factory=list)
    """Linear layers to scale, as `k_proj`; empty: keys, values and the feed-forward's last, by PEFT's own table."""
    feedforward: list[str] = field(default_factory=list)
    """Those of `targets` that belong to the feed-forward part, where the input is scaled instead of the output."""
    modules_to_save: list[str] = field(default_factory=list)
    """Names of modules that train whole and are saved with the adapter, as `lm_head`."""

    def check(self, run: Run) -> Iterable[str]:
        """Feed-forward layers must be among the targets."""
        for name in self.feedforward:
            if name not in self.targets:
                yield f"adapter.feedforward: {name} must stand in adapter.targets too"

    def peft_config(self, model: Module, head: str) -> IA3Config:
        """The configuration; ConfigError for a name that the model lacks, or a model that PEFT does not know."""
        from peft import IA3Config

        linear = linear_names(model)
        check_names("targets", self.targets, linear, "linear layer")
        check_names("modules_to_save", self.modules_to_save, [n for n, _ in model.named_modules() if n], "module")
        targets, feedforward = (self.targets, self.feedforward) if self.targets else _known(model, linear)
        return IA3Config(
            task_type=TASKS.get(head),
            target_modules=list(targets),
            feedforward_modules=list(feedforward),
            modules_to_save=saved_whole(model, head, self.modules_to_save),
        )


def _known(model: Module, linear: list[str]) -> tuple[list[str], list[str]]:
    """(targets, feed-forward) of PEFT's table for this kind of model."""
    from peft.utils import constants

    kind = str(getattr(getattr(model, "config", None), "model_type", ""))
    targets = constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(kind)
    if targets is None:
        names = ", ".join(sorted({n.rsplit(".", 1)[-1] for n in linear}))
        raise ConfigError(
            f"adapter.targets: PEFT has no IA3 layers for model type '{kind}'; name keys, values and the feed-forward's"
            f" last layer in adapter.targets, and the latter in adapter.feedforward too; the model has {names}"
        )
    return list(targets), list(constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING[kind])
