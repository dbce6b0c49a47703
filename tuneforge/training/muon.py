"""Muon for hidden matrices and AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    """torch's Muon and AdamW over one list of groups and one state, so that they checkpoint and resume as one.

    Groups whose `hidden` is True are Muon's. A group's `lr` and `weight_decay` are its own, the rest comes from
    `muon` and `adamw`, the keyword arguments of the two.
    """

    def __init__(
        self, groups: Sequence[Mapping[str, Any]], lr: float, muon: Mapping[str, Any], adamw: Mapping[str, Any]
    ) -> None:
        own = [dict(group) for group in groups]
        kinds: tuple[tuple[Any, bool, Mapping[str, Any]], ...] = ((Muon, True, muon), (AdamW, False, adamw))
        self.members = [
            (kind([g for g in own if g["hidden"] is hidden], lr=lr, **more), hidden)
            for kind, hidden, more in kinds
            if any(g["hidden"] is hidden for g in own)
        ]
        super().__init__(own, {"lr": lr})
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; the closure is called once."""
        loss = closure() if closure is not None else None
        for member, _ in self.members:
            member.step()
        return loss

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Both continue where the saved ones stood."""
        super().load_state_dict(dict(state_dict))
        self._share()

    def _share(self) -> None:
        for member, hidden in self.members:
            member.param_groups = [g for g in self.param_groups if g["hidden"] is hidden]
            member.state = self.state
