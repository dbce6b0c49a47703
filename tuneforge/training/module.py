"""The one LightningModule: a strategy's loss, normalised over the whole optimizer step.

A strategy returns the SUM of its loss and the number of items it sums over. A batch of the loader is a
window: all micro-batches of one optimizer step on this device. Each is run forward and backward on its own;
the gradients are divided once, by the items of all micro-batches on all devices, so that the result does
not depend on how a step is cut into micro-batches. Hence manual optimization: Lightning's own accumulation
would divide a short last window by its nominal length.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from tuneforge.errors import TuneForgeError
from tuneforge.rows import Loss
from tuneforge.training.averaging import Average
from tuneforge.training.batches.loader import Micro
from tuneforge.training.devices import world
from tuneforge.training.devices.shares import put, whole
from tuneforge.training.groups import parameter_groups
from tuneforge.training.step import TrainingStep

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from tuneforge.rows import Batch, Row
    from tuneforge.settings import Run


@dataclass
class Tally:
    """What has happened so far in this run, over all its processes; part of every checkpoint."""

    step: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    skipped_windows: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    since: dict[str, float] = field(default_factory=dict)
    """Sums since the last line of the log: items, loss, loss_tokens, seconds and the strategy's own."""

    def add(self, sums: dict[str, float]) -> None:
        """Add to the sums since the last line."""
        for name, value in sums.items():
            self.since[name] = self.since.get(name, 0.0) + value


class TrainingModule(pl.LightningModule):  # type: ignore[misc]
    """One model in training: windows in, optimizer steps out."""

    def __init__(self, run: Run, step: TrainingStep, total: int, sources: Sequence[Row], sizes: Any) -> None:
        """`sources` holds the row behind each encoding; `sizes` (rows, 2) its tokens and loss items."""
        super().__init__()
        self.automatic_optimization = False
        self.model = step.model
        self.trained = {name for name, p in self.model.named_parameters() if p.requires_grad}
        """Names of all parameters that may ever train; an adapter may freeze some of them for a while."""
        self.step = step
        self.settings, self.total, self.sources, self.sizes = run, total, sources, sizes
        self.tally = Tally()
        self.average = Average(run, total)
        self.grad_norm = 0.0
        self.learning_rate = 0.0
        self.rates: dict[str, float] = {}
        """Learning rate of each layer, where they differ."""
        self._items, self._rows = 1.0, list[int]()

    # ------------------------------------------------------------ one optimizer step

    def configure_model(self) -> None:
        """Share the model out, where the devices do not each hold all of it."""
        shard = getattr(self.trainer.strategy, "shard", None)
        if shard is not None:
            shard(self.model)

    def configure_optimizers(self) -> Any:
        """The configured optimizer and schedule."""
        groups = parameter_groups(self.model, self.settings.optimizer, self.settings.learning_rate)
        optimizer = self.settings.optimizer.build(groups, self.settings.learning_rate)
        schedule = self.settings.scheduler.build(optimizer, self.total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, window: list[Micro], batch_idx: int) -> None:
        """Forward and backward of every micro-batch, then one optimizer step, or several on the same roll-outs."""
        optimizer: Any = self.optimizers()
        self.settings.adapter.before_step(self.model, self.tally.step, self.total)
        self.rates = {g["place"]: g["lr"] for g in optimizer.param_groups if "place" in g}
        self.learning_rate = max(g["lr"] for g in optimizer.param_groups)
        self._rows = [r for micro in window for r in micro.rows]
        with self.step.window([(micro.batch, micro.counts) for micro in window]):
            batches = [self._rolled_out(micro) for micro in window]
            for update in range(self.settings.strategy.updates()):
                losses = [self._backward(micro, batch, update) for micro, batch in zip(window, batches, strict=True)]
                total, items = self._whole(losses, window)
                if not update:
                    self._count(window, total, items, losses)
                self._update(optimizer, items)
        self._advance_schedule()
        self.tally.step += 1

    def _update(self, optimizer: Any, items: float) -> None:
        """One optimizer step, left out where nothing carried loss."""
        if items:
            self._items = items
            self._add_gradients(optimizer)
            optimizer.step()
            if self.average.kind != "none":
                self.average.update(self.weights(), self.tally.step + 1)
        else:
            self.tally.skipped_windows += 1
        optimizer.zero_grad(set_to_none=True)

    def _turn_to(self, micro: Micro, phase: int) -> None:
        draws = [(self.tally.step, phase, row) for row in micro.rows]
        self.step.at([self.sources[r] for r in micro.rows], micro.counts, draws)

    def _rolled_out(self, micro: Micro) -> Batch:
        self._turn_to(micro, 0)
        batch: Batch = self.inside(self.settings.strategy.roll_out, self.model, micro.batch, self.step)
        return batch

    def _backward(self, micro: Micro, batch: Batch, update: int) -> Loss:
        self._turn_to(micro, 1 + update)
        loss: Loss = self.inside(self.settings.strategy.loss, self.model, batch, self.step)
        if not micro.counts:
            loss = Loss(loss.total * 0.0, 0, {name: value * 0 for name, value in loss.logs.items()})
        self.manual_backward(loss.total)
        return loss._replace(total=loss.total.detach())

    def inside(self, work: Callable[..., Any], *values: Any) -> Any:
        """Call `work`, which uses the model or parts of it; where the model is shared out, inside of its root."""
        inside = getattr(self.trainer.strategy, "inside", None)
        return work(*values) if inside is None else inside(work, *values)

    def _add_gradients(self, optimizer: Optimizer) -> None:
        """Add up the gradients of devices that each hold the whole model."""
        add = getattr(self.trainer.strategy, "add_gradients", None)
        if add is not None:
            add([p for group in optimizer.param_groups for p in group["params"]])

    def _whole(self, losses: Sequence[Loss], window: Sequence[Micro]) -> tuple[float, float]:
        """(loss sum, items) over all micro-batches and devices. TuneForgeError for a loss that is no number."""
        mine = torch.stack([torch.stack([x.total.double(), _tensor(x.items, x.total)]) for x in losses])
        total, items = self.over_devices(mine.sum(0)).tolist()
        if not math.isfinite(total):
            rows = [r for x, m in zip(mine[:, 0].tolist(), window, strict=True) if not math.isfinite(x) for r in m.rows]
            rows = [r for those in world.from_all(rows) for r in those]
            raise TuneForgeError(
                f"the loss of step {self.tally.step + 1} is {total}; rows {self._named(rows)}. {self._way_out()}"
            )
        return total, items

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the items of the step and clip their norm.

        Runs after a 16-bit scaler has unscaled them; they are sums over all devices.
        """
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        scale = 1 / self._items
        norm = float(whole(torch.nn.utils.get_total_norm(gradients))) * scale
        if not math.isfinite(norm) and self.settings.trainer.precision != "16-mixed":
            raise TuneForgeError(
                f"the gradient of step {self.tally.step + 1} is {norm} while the loss is finite; rows"
                f" {self._named(self._rows)}. {self._way_out()}"
            )
        limit = self.settings.trainer.gradient_clip_val
        if limit and math.isfinite(norm):
            scale *= min(1.0, limit / (norm + 1e-6))
        torch._foreach_mul_(gradients, scale)
        self.grad_norm = norm

    def _advance_schedule(self) -> None:
        scheduler: Any = self.lr_schedulers()
        if self.tally.step:
            scheduler.step()
            return
        with warnings.catch_warnings():
            # Torch suspects a wrong order of calls where the first step was left out, by us or by a 16-bit scaler.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            scheduler.step()

    def _count(self, window: Sequence[Micro], total: float, items: float, losses: Sequence[Loss]) -> None:
        rows = [r for micro in window if micro.counts for r in micro.rows]
        everyone = world.from_all({name for loss in losses for name in loss.logs})
        names = sorted(set().union(*everyone))
        none = torch.zeros(2, dtype=torch.float64)
        pairs = [sum((_with_count(x.logs[n], x.items) for x in losses if n in x.logs), none) for n in names]
        mine = torch.tensor([float(sum(self.sizes[r][i] for r in rows)) for i in (0, 1)], dtype=torch.float64)
        numbers = torch.cat([mine, *pairs]).to(self.device)
        tokens, loss_tokens, *own = self.over_devices(numbers).tolist()
        self.tally.tokens += int(tokens)
        self.tally.loss_tokens += int(loss_tokens)
        logs = {f"own/{name}": own[2 * i] for i, name in enumerate(names)}
        logs |= {f"of/{name}": own[2 * i + 1] for i, name in enumerate(names)}
        self.tally.add({"loss": total, "items": items, "loss_tokens": loss_tokens, **logs})

    def over_devices(self, numbers: Tensor) -> Tensor:
        """The numbers summed over all devices."""
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(numbers)
        return numbers

    def _way_out(self) -> str:
        return (
            f"Nothing was saved after step {self.tally.step}; an earlier checkpoint is intact. Look at these rows, or"
            " go on from it with a lower learning rate: tuneforge"
            f" resume={self.step.context.folder} optimizer.learning_rate="
            f"{self.settings.learning_rate / 2:g}. trainer.detect_anomaly=true names the operation"
        )

    def _named(self, rows: Sequence[int]) -> str:
        more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
        return ", ".join(self.sources[r].place for r in rows[:8]) + more

    # ------------------------------------------------------------ state

    def weights(self) -> dict[str, Tensor]:
        """What trains, and every persistent buffer, by name; tied parameters once."""
        rest = getattr(self._trainer and self.trainer.strategy, "rest", None)
        if rest is not None:
            rest()
        buffers = {n: b for n, b in self.model.named_buffers() if n in self._persistent()}
        return {n: p for n, p in self.model.named_parameters() if n in self.trained} | buffers

    def _persistent(self) -> set[str]:
        return {
            f"{name}.{buffer}" if name else buffer
            for name, layer in self.model.named_modules()
            for buffer in layer._buffers
            if buffer not in layer._non_persistent_buffers_set
        }

    def load_weights(self, saved: dict[str, Tensor]) -> None:
        """Copy saved weights in place. TuneForgeError where names or shapes are not this model's."""
        mine = self.weights()
        if mine.keys() != saved.keys():
            odd = sorted(mine.keys() ^ saved.keys())
            raise TuneForgeError(f"cannot resume: the checkpoint trains other parameters ({', '.join(odd[:4])}, ...)")
        with torch.no_grad():
            for name, tensor in mine.items():
                if tensor.shape != saved[name].shape:
                    raise TuneForgeError(
                        f"cannot resume: {name} is {tuple(saved[name].shape)} in the checkpoint,"
                        f" {tuple(tensor.shape)} here"
                    )
                put(tensor, saved[name])


def _with_count(log: Tensor, items: Tensor | int) -> Tensor:
    """float64 (2,): the log's sum and what it is divided by, which are the loss's items unless it says so itself."""
    own = log if log.numel() == 2 else torch.stack([log.flatten()[0], _tensor(items, log).to(log.dtype)])
    return own.double().cpu()


def _tensor(items: Tensor | int, like: Tensor) -> Tensor:
    return torch.as_tensor(items, dtype=torch.float64, device=like.device)
