"""Muon (Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Optimizer
from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

    from tuneforge.settings import Run


class Scaling(StrEnum):
    """How a matrix's learning rate follows its shape (rows A, columns B)."""

    match_rms_adamw = "match_rms_adamw"
    original = "original"


@dataclass(kw_only=True)
class Muon(Optimizer):
    """torch's Muon for the matrices of layers, AdamW for embeddings, head, norms and biases.

    A matrix's momentum is orthogonalised before it is applied (arXiv:2502.16982).
    """

    name: ClassVar[str] = "muon"
    matrices: ClassVar[bool] = True

    scaling: Scaling = Scaling.match_rms_adamw
    """match_rms_adamw: 0.2 sqrt(max(A, B)), so that AdamW's learning rates serve; original: sqrt(max(1, A / B))."""
    momentum: float = 0.95
    """Decay of the running mean of a matrix's gradient."""
    nesterov: bool = True
    """Look one step of momentum ahead."""
    ns_steps: int = 5
    """Newton-Schulz iterations that orthogonalise."""
    beta1: float = 0.9
    """AdamW's decay of the running mean of the gradient."""
    beta2: float = 0.999
    """AdamW's decay of the running mean of the squared gradient."""
    eps: float = 1e-8
    """Added to AdamW's denominator."""

    def check(self, run: Run) -> Iterable[str]:
        """Numbers that Muon cannot work with."""
        for key in ("momentum", "beta1", "beta2"):
            if not 0 <= getattr(self, key) < 1:
                yield f"optimizer.{key} is {getattr(self, key)}; it must be at least 0 and below 1"
        if not 1 <= self.ns_steps < 100:
            yield f"optimizer.ns_steps is {self.ns_steps}; it must be from 1 to 99"

    def build(self, groups: Sequence[Mapping[str, Any]], learning_rate: float) -> TorchOptimizer:
        """Muon over the groups that are `hidden`, AdamW over the others. ConfigError where no group is hidden."""
        from tuneforge.training.muon import MuonWithAdamW

        if not any(group["hidden"] for group in groups):
            raise ConfigError("optimizer=muon: no matrix of a layer trains; use optimizer=adamw with this adapter")
        muon: dict[str, Any] = {"momentum": self.momentum, "nesterov": self.nesterov, "ns_steps": self.ns_steps}
        muon["adjust_lr_fn"] = str(self.scaling)
        adamw = {"betas": (self.beta1, self.beta2), "eps": self.eps, "fused": True}
        return MuonWithAdamW(groups, learning_rate, muon, adamw)
