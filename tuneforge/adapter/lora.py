"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tuneforge.components import Adapter, Context
from tuneforge.errors import ConfigError, nearest

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch.nn import Module

    from tuneforge.settings import Run


class Init(StrEnum):
    """How the low-rank matrices start."""

    default = "default"
    gaussian = "gaussian"
    pissa = "pissa"
    olora = "olora"


@dataclass(kw_only=True)
class Lora(Adapter):
    """Small low-rank matrices beside frozen weights; 1 to 2 % of the parameters train."""

    name: ClassVar[str] = "lora"
    learning_rate_factor: ClassVar[float] = 10.0

    r: int = 16
    """Rank of the matrices."""
    alpha: int = 32
    """Scale: the update is multiplied by alpha / r (alpha / sqrt(r) with rslora)."""
    dropout: float = 0.0
    """Dropout on the adapter's input."""
    targets: list[str] = field(default_factory=list)
    """Names of the linear layers to adapt, as `q_proj`; empty: all of the decoder, the output head excepted."""
    rslora: bool = False
    """Rank-stabilised scaling."""
    dora: bool = False
    """Weight-decomposed adapters: magnitude and direction apart."""
    init: Init = Init.default
    """default (zero update), gaussian, pissa or olora; the last two change the base weights."""
    modules_to_save: list[str] = field(default_factory=list)
    """Names of modules that train whole and are saved with the adapter, as `lm_head`."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range."""
        if self.r < 1:
            yield f"adapter.r={self.r} must be at least 1"
        if self.alpha <= 0:
            yield f"adapter.alpha={self.alpha} must be above 0"
        if not 0 <= self.dropout < 1:
            yield f"adapter.dropout={self.dropout} must be in [0, 1)"

    def apply(self, model: Module, context: Context) -> Module:
        """The model with adapters, seeded; exactly they (and `modules_to_save`) train."""
        import torch
        from peft import get_peft_model

        self._check_names(model)
        torch.manual_seed(context.seed)
        with warnings.catch_warnings():
            # PEFT reads a property that transformers renamed.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
            return cast("Module", get_peft_model(model, self._config()))

    def off(self, model: Module) -> AbstractContextManager[Any] | None:
        """Adapters switched off. None for pissa and olora: their start takes its part out of the base weights."""
        if self.init in (Init.pissa, Init.olora):
            return None
        return cast("AbstractContextManager[Any]", model.disable_adapter())  # type: ignore[operator]

    def save(self, model: Module, folder: Path) -> None:
        """`adapter_config.json` and `adapter_model.safetensors`, as PEFT loads them."""
        model.save_pretrained(str(folder))  # type: ignore[operator]

    def load(self, model: Module, folder: Path, trainable: bool) -> Module:
        """The adapter in `folder` on the freshly loaded base."""
        from peft import PeftModel

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
            return cast("Module", PeftModel.from_pretrained(model, str(folder), is_trainable=trainable))

    def merge(self, model: Module) -> Module:
        """The base model with the update added to its weights."""
        return cast("Module", model.merge_and_unload())  # type: ignore[operator]

    def _config(self) -> LoraConfig:
        from peft import LoraConfig

        return LoraConfig(
            task_type="CAUSAL_LM",
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(self.targets) or "all-linear",
            use_rslora=self.rslora,
            use_dora=self.dora,
            init_lora_weights=True if self.init is Init.default else self.init.value,
            modules_to_save=list(self.modules_to_save) or None,
        )

    def _check_names(self, model: Module) -> None:
        """PEFT matches a name against the end of each module's path; one that matches nothing is refused."""
        linear = {
            n
            for n, m in model.named_modules()
            if type(m).__name__ in ("Linear", "Conv1D", "Linear4bit", "Linear8bitLt")
        }
        every = {n for n, _ in model.named_modules() if n}
        for key, names, paths in (("targets", self.targets, linear), ("modules_to_save", self.modules_to_save, every)):
            allowed = sorted({p.rsplit(".", 1)[-1] for p in paths if not p.rsplit(".", 1)[-1].isdigit()})
            for name in names:
                if not any(p == name or p.endswith(f".{name}") for p in paths):
                    raise ConfigError(
                        f"adapter.{key}: the model has no {'linear layer' if paths is linear else 'module'} "
                        f"'{name}'; it has {', '.join(allowed)}.{nearest(name, allowed)}"
                    )
