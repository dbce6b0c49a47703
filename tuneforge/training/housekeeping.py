"""What happens between optimizer steps: the log, validation, checkpoints, and stopping on request."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch

from tuneforge.errors import Preempted, TuneForgeError
from tuneforge.training import random_state, reference
from tuneforge.training.averaging import settle, settled
from tuneforge.training.batches.loader import WindowLoader
from tuneforge.training.checkpoint import Checkpoints, Saved
from tuneforge.training.devices.evenly import Passes, even, share
from tuneforge.training.devices.shares import optimizer_state
from tuneforge.training.log.history import History
from tuneforge.training.log.progress import Progress
from tuneforge.training.mode import evaluating
from tuneforge.training.module import Tally, TrainingModule
from tuneforge.training.optimise import load_optimizer, set_rates
from tuneforge.training.origin import origin
from tuneforge.training.reference_cache import ReferenceCache
from tuneforge.training.signals import Interrupts
from tuneforge.training.stopping import Stopping

if TYPE_CHECKING:
    from tuneforge.components import Context
    from tuneforge.rows import Encoded
    from tuneforge.settings import Run
    from tuneforge.training.batches.feed import Feed


class Housekeeping(pl.Callback):  # type: ignore[misc]
    """The core's own callback. It stands last, so that it saves what the other callbacks have become."""

    def __init__(
        self, run: Run, context: Context, module: TrainingModule, loader: WindowLoader, feeds: Sequence[Feed],
        store: Checkpoints, interrupts: Interrupts, saved: Saved | None,
    ) -> None:  # fmt: skip
        self.run, self.context, self.module, self.loader = run, context, module, loader
        self.feeds, self.validation = feeds, feeds[1] if len(feeds) > 1 else None
        self.store, self.interrupts, self.saved = store, interrupts, saved
        self.progress = Progress(module.total, unit=run.strategy.unit)
        self.history = History(run, module, loader, self.progress)
        self.stopping = Stopping(run.early_stopping, Checkpoints(store.folder / "best", 2, context.note))
        self.every = run.checkpoint.every or max(1, -(-module.total // 10))
        self.validated = 0
        """The last step whose validation loss is known."""
        self.saved_at = saved.step if saved else 0
        self.mark = 0.0

    # ------------------------------------------------------------ start and end

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """from_pretrained leaves models in eval mode."""
        self.module.model.train()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prove the head, compute references with the weights as found, then continue where the checkpoint stands."""
        self.interrupts.install()  # Lightning has just wrapped the handler of SIGTERM, and would exit with 0
        why = self.module.inside(self.module.step.prove_parts)
        if why:
            self.context.note(f"the head is applied to every position, not only where a label is: {why}")
        shared = self.module.inside(self.module.step.share_prompts, self.feeds[0].rows)
        if shared:
            self.context.note(shared)
        self.module.inside(self.run.strategy.begin, self.feeds[0].rows, self.module.step)
        self._references(trainer)
        if self.saved is not None:
            self._restore(trainer, self.saved.state)
        self.progress.start(self.module.tally.step)
        self.mark = time.perf_counter()
        step = self.module.tally.step
        if step and self._validation_due(step) and self.validated != step:
            self._validate_and_log(trainer, step)
            if self.stopping.stopped:  # which the checkpoint does not know yet
                trainer.should_stop, self.saved_at = True, 0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Release the terminal; save what another callback has ended early; put the final weights in place."""
        self.progress.close()
        if self.module.tally.step not in (0, self.saved_at):
            self._save(trainer)
        at_rest(trainer)
        self.finish(trainer.optimizers[0])

    def over(self) -> bool:
        """Whether the checkpoint that was found leaves nothing to train."""
        saved = self.saved
        return saved is not None and (saved.step >= self.module.total or saved.state["stopping"]["stopped"])

    def take_up(self, state: dict[str, Any]) -> None:
        """The model of a run in which nothing is left to train."""
        self.module.load_weights(state["weights"])
        self._load_numbers(state)
        optimizer = self.module.configure_optimizers()["optimizer"]
        load_optimizer(optimizer, optimizer_state(optimizer, state["optimizer"]))
        self.finish(optimizer)

    def finish(self, optimizer: Any) -> None:
        """The model becomes what is saved and evaluated: the average, and of that the best."""
        settle(self.module.weights(), self.module.average, optimizer)
        best = self.stopping.weights(self.module.tally.step)
        if best is not None:
            self.module.load_weights(best)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Release the terminal."""
        self.progress.close()

    # ------------------------------------------------------------ after each step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Log, validate, save, stop: in this order, so that a checkpoint knows all of its step."""
        tally, now = self.module.tally, time.perf_counter()
        tally.seconds += now - self.mark
        tally.add({"seconds": now - self.mark})
        step = tally.step
        if self._validation_due(step):
            self._validate_and_log(trainer, step)
        else:
            self.history.step(trainer, step, {})
        trainer.should_stop = trainer.should_stop or self.stopping.stopped
        last, stop = step == self.module.total or self.stopping.stopped, self._asked_to_stop()
        if last or stop or step % self.every == 0:
            self._save(trainer)
        if stop and not last:
            raise self.preempted(f"after step {step} of {self.module.total}; a checkpoint was written")
        self.mark = time.perf_counter()

    def preempted(self, where: str) -> Preempted:
        """The error that ends a run which was asked to stop."""
        number = self.interrupts.requested or signal.SIGTERM
        name = signal.Signals(number).name
        return Preempted(f"stopped by {name} {where}; continue with: tuneforge resume={self.context.folder}", number)

    # ------------------------------------------------------------ validation

    def _validation_due(self, step: int) -> bool:
        if self.validation is None:
            return False
        every = self.run.trainer.val_check_interval or len(self.loader)
        return step % every == 0 or step == self.module.total

    def _validate_and_log(self, trainer: pl.Trainer, step: int) -> None:
        at_rest(trainer)
        weights = self.module.weights()
        with settled(weights, self.module.average, trainer.optimizers[0]):
            loss = self._validate(trainer)
            at_rest(trainer)
            if loss is None:  # asked to stop: it is made up for when the run continues
                return
            if self.stopping.saw(step, loss):
                self.stopping.keep(weights)
        self.validated = step
        self.history.step(trainer, step, {"validation_loss": loss})

    def _validate(self, trainer: pl.Trainer) -> float | None:
        """Loss per item over the validation rows without dropout; None when asked to stop."""
        assert self.validation is not None
        numbers = torch.zeros(2, dtype=torch.float64, device=self.module.device)
        model, precision, move = self.module.model, trainer.precision_plugin, trainer.strategy.batch_to_device
        over = self.module.step.window(Passes(self.validation, self.run.batch.size, move))
        with evaluating(model), torch.no_grad(), precision.val_step_context(), over:
            for batch, rows, counts in even(self.validation, self.run.batch.size):
                if self.interrupts.requested is not None and trainer.world_size == 1:
                    return None
                self.module.step.at(rows, counts)
                loss = self.module.inside(self.run.strategy.loss, model, move(batch), self.module.step)
                if counts:
                    numbers += torch.stack(
                        [loss.total.double(), torch.as_tensor(loss.items, dtype=torch.float64).to(numbers)]
                    )
        total, items = self.module.over_devices(numbers).tolist()
        return float(total / items) if items else float("nan")

    # ------------------------------------------------------------ references

    def _references(self, trainer: pl.Trainer) -> None:
        """Once for all epochs, from the cache that runs share where it knows them.

        Also where the adapter could be turned off at each step: that costs no less, and would round otherwise.
        """
        found = self.module.step.as_found
        if found is None:
            return
        self.module.inside(found.require, self.module.model, self.run.adapter)
        cache = ReferenceCache(self.context.cache / "references" / found.digest, self.context.note)
        for feed in self.feeds:
            self._precompute(trainer, feed, cache)

    def _precompute(self, trainer: pl.Trainer, feed: Feed, cache: ReferenceCache) -> None:
        def collate(rows: Sequence[Encoded]) -> Any:
            return trainer.strategy.batch_to_device(feed.collate(rows))

        def by(batch: Any, part: str) -> Any:
            with trainer.precision_plugin.val_step_context():
                return self.module.inside(self.module.step.as_reference, batch, part)

        used = self.loader.used() if feed is self.feeds[0] else range(len(feed.rows))
        known = reference.Known(feed, cache, used)
        if known.missing:
            mine = share(known.missing)
            rows = [feed.rows[i] for i in mine]
            parts = self.run.strategy.referenced
            found = reference.precompute(rows, self.run.batch.size, collate, by, self.module.model, parts)
            for at, row in self.context.progress(found, "reference"):
                if self.interrupts.requested is not None and trainer.world_size == 1:
                    cache.write()
                    raise self.preempted("while references were computed, before the first step")
                known.add(mine[at], row)
            known.exchange()
            cache.write()
            if self._asked_to_stop():
                raise self.preempted("before the first step")
        split = "training" if feed is self.feeds[0] else "validation"
        self.context.note(f"{split}: {known.place()}")

    # ------------------------------------------------------------ state

    def _asked_to_stop(self) -> bool:
        """Whether a signal has come, to this process or to another of the run."""
        mine = torch.tensor([float(self.interrupts.requested or 0)], device=self.module.device)
        largest = int(self.module.over_devices(mine).item())
        if largest and self.interrupts.requested is None:
            self.interrupts.requested = signal.SIGTERM
        return bool(largest)

    def _save(self, trainer: pl.Trainer) -> None:
        state = self._state(trainer)
        self.store.save(self.module.tally.step, state)
        self.saved_at = self.module.tally.step

    def _state(self, trainer: pl.Trainer) -> dict[str, Any]:
        others = [c for c in trainer.callbacks if c is not self and c.state_dict()]
        return {
            "weights": self.module.weights(),
            "optimizer": trainer.optimizers[0].state_dict(),
            "scheduler": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
            "precision": trainer.precision_plugin.state_dict(),
            "loader": self.loader.state_dict(),
            "random": random_state.of_all_processes(trainer.world_size),
            "tally": dict(vars(self.module.tally)),
            "validated": self.validated,
            "average": self.module.average.state_dict(),
            "stopping": self.stopping.state_dict(),
            "origin": origin(self.run),
            "learning_rate": self.run.learning_rate,
            "callbacks": {c.state_key: c.state_dict() for c in others},
        }

    def _restore(self, trainer: pl.Trainer, state: dict[str, Any]) -> None:
        self.module.load_weights(state["weights"])
        optimizer, scheduler = trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler
        rates = list(scheduler.base_lrs)
        load_optimizer(optimizer, optimizer_state(optimizer, state["optimizer"]))
        scheduler.load_state_dict(state["scheduler"])
        if state["learning_rate"] != self.run.learning_rate:
            set_rates(optimizer, scheduler, rates)
            text = f"the learning rate is {self.run.learning_rate:g} from here on; it was {state['learning_rate']:g}"
            self.context.note(text)
        if state["precision"]:
            trainer.precision_plugin.load_state_dict(state["precision"])
        self._load_numbers(state)
        for callback in trainer.callbacks:
            if callback.state_key in state["callbacks"]:
                callback.load_state_dict(state["callbacks"][callback.state_key])
        if len(state["random"]) == trainer.world_size:
            random_state.restore(state["random"][trainer.global_rank])

    def _load_numbers(self, state: dict[str, Any]) -> None:
        self.module.tally = Tally(**state["tally"])
        self.module.average.load_state_dict(state["average"], self.module.weights())
        self.stopping.load_state_dict(state["stopping"])
        self.validated = state["validated"]


def at_rest(trainer: pl.Trainer) -> None:
    """Where the model is shared out, put it in shares: what a pass without gradients left whole would go stale."""
    rest = getattr(trainer.strategy, "rest", None)
    if rest is not None:
        rest()


def refuse_leftovers(store: Checkpoints) -> None:
    """TuneForgeError when a fresh run finds another run's checkpoints in its place."""
    if store.steps():
        raise TuneForgeError(
            f"{store.folder} holds checkpoints of an earlier run; continue it with"
            f" tuneforge resume={store.folder.parent}, or name another output_dir"
        )
