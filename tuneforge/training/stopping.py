"""When training ends before its last step, and the weights with the lowest validation loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuneforge.training.checkpoint import Checkpoints

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.sections import EarlyStopping


class Stopping:
    """Follows the validation loss. Its numbers are part of every checkpoint; the best weights stand in `store`."""

    def __init__(self, settings: EarlyStopping, store: Checkpoints) -> None:
        self.settings, self.store = settings, store
        self.best_loss, self.best_step = math.inf, 0
        self.mark = math.inf
        """The loss that has to be undercut by `min_delta`."""
        self.waited = 0
        """Validations since it was."""
        self.last_loss = math.nan
        self.stopped = False

    def saw(self, step: int, loss: float) -> bool:
        """Take in the validation loss after `step`; whether its weights are to be kept as the best."""
        self.last_loss = loss
        if loss < self.mark - self.settings.min_delta:
            self.mark, self.waited = loss, 0
        else:  # a loss that is no number as well
            self.waited += 1
        self.stopped = self.settings.patience is not None and self.waited >= self.settings.patience
        if not loss < self.best_loss:
            return False
        self.best_loss, self.best_step = loss, step
        return self.settings.best

    def keep(self, weights: Mapping[str, Tensor]) -> None:
        """Write the best weights. TuneForgeError, with the ones before untouched, where the disk does not take them."""
        self.store.save(self.best_step, {"weights": dict(weights), "loss": self.best_loss})

    def weights(self, step: int) -> dict[str, Tensor] | None:
        """The best weights where they are wanted and are not those of the last step, `step`; said aloud."""
        if self.stopped:
            waited = f"{self.waited} validation{'s' * (self.waited != 1)}"
            text = f"training stopped early, after step {step}: {waited} in a row without improvement"
            self.store.note(f"{text} (early_stopping.patience={self.settings.patience})")
        if not self.best_step:
            return None
        lowest = f"the lowest validation loss, {self.best_loss:.4g}, was after step {self.best_step}"
        if not self.settings.best or self.best_step == step:
            which = "the last" if self.best_step == step else "the last are saved: early_stopping.best=false"
            self.store.note(f"{lowest}, {which}")
            return None
        try:
            found: dict[str, Tensor] = self.store.read(self.best_step)["weights"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.store.note(
                f"{lowest}, but its weights cannot be read ({error}); the last ones, of step {step}, are saved"
            )
            return None
        self.store.note(
            f"{lowest}; these weights are saved and evaluated (after step {step} it was {self.last_loss:.4g})"
        )
        return found

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {k: v for k, v in vars(self).items() if k not in ("settings", "store")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from there."""
        vars(self).update(state)
