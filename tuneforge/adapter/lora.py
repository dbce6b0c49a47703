"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.adapter.peft_adapter import (
    TASKS,
    PeftAdapter,
    check_layers,
    check_names,
    linear_names,
    output_head,
    saved_whole,
    short_names,
)

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch.nn import Module

    from tuneforge.settings import Run


class Init(StrEnum):
    """How the low-rank matrices start."""

    default = "default"
    gaussian = "gaussian"
    orthogonal = "orthogonal"
    mica = "mica"
    pissa = "pissa"
    olora = "olora"


MOVES_BASE = (Init.pissa, Init.olora)
"""Inits that take their start out of the base weights."""


@dataclass(kw_only=True)
class Lora(PeftAdapter):
    """Small low-rank matrices beside frozen weights (Hu et al. 2021, arXiv:2106.09685).

    1 to 2 % of the parameters train.
    With `rslora` after Kalajdzievski 2023 (arXiv:2312.03732), with `dora` after Liu et al. 2024 (arXiv:2402.09353).
    """

    name: ClassVar[str] = "lora"
    kind: ClassVar[str] = "LORA"
    learning_rate_factor: ClassVar[float] = 10.0

    r: int = 16
    """Rank of the matrices."""
    alpha: int = 32
    """Scale: the update is multiplied by alpha / r (alpha / sqrt(r) with rslora)."""
    dropout: float = 0.0
    """Dropout on the adapter's input."""
    targets: list[str] = field(default_factory=list)
    """Names of the linear layers to adapt, as `q_proj`; empty: all of the decoder, the output head excepted."""
    layers: list[int] = field(default_factory=list)
    """Numbers of the layers to adapt, from 0, negative ones from the end; empty: all."""
    rank_pattern: dict[str, int] = field(default_factory=dict)
    """Name or pattern of a linear layer: its own rank, as `+adapter.rank_pattern.down_proj=8`."""
    alpha_pattern: dict[str, int] = field(default_factory=dict)
    """Name or pattern of a linear layer: its own alpha."""
    rslora: bool = False
    """Rank-stabilised scaling."""
    dora: bool = False
    """Weight-decomposed adapters: magnitude and direction apart."""
    init: Init = Init.default
    """default, gaussian, orthogonal (even rank), mica: no update at the start; pissa, olora: move base weights."""
    modules_to_save: list[str] = field(default_factory=list)
    """Names of modules that train whole and are saved with the adapter, as `lm_head`."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range, or that do not go together."""
        if self.r < 1:
            yield f"adapter.r={self.r} must be at least 1"
        if self.alpha <= 0:
            yield f"adapter.alpha={self.alpha} must be above 0"
        if not 0 <= self.dropout < 1:
            yield f"adapter.dropout={self.dropout} must be in [0, 1)"
        for key in ("rank_pattern", "alpha_pattern"):
            for name, value in getattr(self, key).items():
                if value < 1:
                    yield f"adapter.{key}.{name}={value} must be at least 1"
        if self.init is Init.orthogonal and self.r % 2:
            yield f"adapter.r={self.r} must be even with adapter.init=orthogonal"
        if self.dora and self.init is Init.mica:
            yield "adapter.dora=true and adapter.init=mica are two forms of the layer; choose one"

    def peft_config(self, model: Module, head: str) -> LoraConfig:
        """The configuration; ConfigError for a name or a layer that the model does not have."""
        from peft import LoraConfig

        linear = linear_names(model)
        every = [n for n, m in model.named_modules() if n]
        output = [n for n, m in model.named_modules() if n and m is output_head(model)]
        check_names("targets", self.targets, [*linear, *output], "linear layer")
        check_names("modules_to_save", self.modules_to_save, every, "module")
        for key in ("rank_pattern", "alpha_pattern"):
            check_patterns(key, getattr(self, key), linear)
        targets = list(self.targets) or short_names(model, linear)
        layers = check_layers(model, self.layers) if self.layers else None
        return LoraConfig(
            task_type=TASKS.get(head),
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            layers_to_transform=layers,
            rank_pattern=dict(self.rank_pattern),
            alpha_pattern=dict(self.alpha_pattern),
            use_rslora=self.rslora,
            use_dora=self.dora,
            init_lora_weights=True if self.init is Init.default else self.init.value,
            modules_to_save=saved_whole(model, head, self.modules_to_save),
        )

    def off(self, model: Module) -> AbstractContextManager[Any] | None:
        """Adapters switched off. None for pissa and olora: their start takes its part out of the base weights."""
        return None if self.init in MOVES_BASE else super().off(model)


def check_patterns(key: str, patterns: Iterable[str], linear: list[str]) -> None:
    """ConfigError for a pattern that fits no linear layer: PEFT would pass over it."""
    import re

    for pattern in patterns:
        if not any(re.match(rf"(.*\.)?({pattern})$", name) for name in linear):
            check_names(key, [pattern], linear, "linear layer")
