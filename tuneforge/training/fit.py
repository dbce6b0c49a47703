"""Training, from encoded rows to a tuned model."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch.nn import Module

from tuneforge.errors import ConfigError, DataRefused, TuneForgeError
from tuneforge.training import random_state
from tuneforge.training.as_found import AsFound
from tuneforge.training.batches.feed import Feed
from tuneforge.training.batches.loader import Order, WindowLoader
from tuneforge.training.checkpoint import Checkpoints, Saved
from tuneforge.training.devices import agreement, world
from tuneforge.training.devices.parallel import Shards, strategy
from tuneforge.training.devices.shares import fill, gather, skeleton
from tuneforge.training.housekeeping import Housekeeping, refuse_leftovers
from tuneforge.training.log.loggers import saved_config
from tuneforge.training.memory.compiling import Compiling
from tuneforge.training.memory.plan import Watch
from tuneforge.training.memory.recompute import checkpointed
from tuneforge.training.module import TrainingModule
from tuneforge.training.neftune import noisy_embeddings
from tuneforge.training.optimise import accumulation, device_choice, planned_steps
from tuneforge.training.origin import refuse_another
from tuneforge.training.signals import Interrupts
from tuneforge.training.step import TrainingStep

if TYPE_CHECKING:
    from tuneforge.components import Context
    from tuneforge.rows import Loaded
    from tuneforge.settings import Run
    from tuneforge.training.text.encode import EncodedSet


@dataclass
class Fitted:
    """A tuned model and what its training took. Counts cover all processes of a resumed run."""

    model: Module
    """In eval mode, adapter included, on the device that it was trained on."""
    steps: int
    seconds: float
    """Of training alone: without validation, checkpoints and start-up."""
    tokens: int
    """Tokens seen, padding excluded."""
    loss_tokens: int
    skipped_windows: int
    """Optimizer steps left out because nothing in them carried loss."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """A dict per logged step: step, epoch, loss, learning_rate, grad_norm, speed (loss tokens per second),
    validation_loss where it was measured, `learning_rate/PLACE` where layers learn at rates of their own, and the
    strategy's and the adapter's own numbers. Values are means since the last."""
    best_step: int = 0
    """Optimizer step with the lowest validation loss; 0: there was no validation."""
    stopped_early: bool = False
    resumed_from: int = 0
    """Optimizer step at which this process took over; 0: from the start."""
    peak_memory: int = 0
    """Bytes of training at its peak, the model's own included: of the device's allocations, on a CPU of the resident
    set; 0: not measured."""


def fit(
    run: Run,
    loaded: Loaded,
    encoded: EncodedSet,
    validation: EncodedSet | None,
    packing: bool,
    context: Context,
    callbacks: Sequence[pl.Callback] = (),
    *,
    grouped: bool = False,
    micro: int | None = None,
    order: Order | None = None,
) -> Fitted:
    """Apply the adapter to the loaded model and train it.

    `grouped`: rows of like length share a step. `micro`: rows or packs per forward pass; None: batch.size.

    With `run.resume`, goes on from the newest checkpoint that is whole. `order` fixes the order of rows (or
    packs) per epoch. Raises Preempted after SIGINT or SIGTERM; TuneForgeError for a loss that is no number, a
    full disk, checkpoints that are all damaged; ConfigError for settings that do not go together.
    """
    if not encoded.rows:
        raise DataRefused("there are no rows to train on")
    pad = loaded.tokenizer.pad_token_id
    feeds = [Feed(s, run.strategy, 0 if pad is None else pad, packing) for s in (encoded, validation) if s and s.rows]
    total = planned_steps(run, len(feeds[0].units))[1]
    store = Checkpoints(context.folder / "checkpoints", run.checkpoint.keep, context.note)
    with Interrupts() as interrupts, _quiet(), ExitStack() as leaving:
        trainer = _trainer(run, context, list(callbacks))
        here = leaving.enter_context(world.joined(trainer))
        random_state.seed(run.seed)
        as_found = AsFound.of(loaded.model, run.trainer.precision) if run.strategy.reference else None
        model = run.adapter.apply(loaded.model, context)
        if here.size > 1:
            agreement.require(run, context.folder, model, encoded, validation)
            random_state.seed(run.seed + here.rank)
        saved = _saved(run, store, context, total)
        step = TrainingStep(run, model, loaded.tokenizer, context)
        step.as_found = as_found
        module = TrainingModule(run, step, total, feeds[0].sources, feeds[0].sizes())
        bones = skeleton(model) if isinstance(trainer.strategy, Shards) and here.rank == 0 else None
        leaving.enter_context(checkpointed(model, run.batch.gradient_checkpointing))
        micro = world.from_first(micro or run.batch.micro)
        loader = _loader(run, feeds[0], total, here, order, micro, grouped)
        if saved is None:
            for logger in trainer.loggers:
                logger.log_hyperparams(saved_config(context.folder))
        else:
            loader.load_state_dict(saved.state["loader"])
            _continue_logs(trainer, saved.step)
        watch = Watch()
        trainer.callbacks.append(watch)
        keeper = Housekeeping(run, context, module, loader, feeds, store, interrupts, saved)
        trainer.callbacks += [keeper, *([Compiling(context)] if run.trainer.compile else [])]
        trainer.fit_loop.epoch_progress.current.processed = loader.epoch
        trainer.fit_loop.epoch_progress.current.completed = loader.epoch
        _run(trainer, module, loader, keeper)
        if interrupts.requested is not None:
            raise keeper.preempted("after the last step of training; a checkpoint was written")
        if isinstance(trainer.strategy, Shards) and trainer.strategy.root is not None:
            trainer.strategy.rest()
            values = gather(model)
            module.model = model if bones is None else fill(bones, values)
    return _fitted(module, trainer, saved, keeper, watch.peak)


def _run(trainer: pl.Trainer, module: TrainingModule, loader: WindowLoader, keeper: Housekeeping) -> None:
    trainer.fit_loop.max_epochs = -(-module.total // len(loader))
    if keeper.saved is not None and keeper.over():
        keeper.take_up(keeper.saved.state)
        return
    try:
        with noisy_embeddings(module.model, module.settings.regularization.neftune_alpha):
            trainer.fit(module, loader)
    except torch.OutOfMemoryError as error:
        batch = module.settings.batch
        raise TuneForgeError(
            f"the device's memory is too small for step {module.tally.step + 1}: {str(error).splitlines()[0]}"
            f" Lower batch.size (now {batch.size}) and set batch.global_size={batch.global_size or batch.size} to keep"
            " the step, or set batch.micro=1 or batch.gradient_checkpointing=true, or lower batch.max_length"
        ) from error


def _saved(run: Run, store: Checkpoints, context: Context, total: int) -> Saved | None:
    if not run.resume:
        refuse_leftovers(store)
        return None
    here = world.current()
    saved = store.newest() if here.rank == 0 else None
    step = world.from_first(saved.step if saved else None)
    if saved is None and step is not None:
        saved = Saved(step, store.read(step))
    if saved is None:
        context.note("there is no checkpoint yet; training starts at its first step")
    else:
        if (before := len(saved.state["random"])) != here.size:
            context.note(
                f"the checkpoint was made by {before} process(es), here are {here.size}: the same batches and updates"
                " follow, but random choices such as dropout are others"
            )
        refuse_another(saved.state["origin"], run, saved.step, context.folder)
        context.note(f"training goes on after step {saved.step} of {total}", step=saved.step)
    return saved


def _loader(
    run: Run, feed: Feed, total: int, here: world.World, order: Order | None, micro: int | None, grouped: bool
) -> WindowLoader:
    return WindowLoader(
        feed.units, feed.make, size=run.batch.size, accumulate=accumulation(run, here.size), micro=micro, total=total,
        seed=run.seed, lengths=feed.lengths() if grouped else None, order=order, rank=here.rank, world=here.size,
    )  # fmt: skip


def _trainer(run: Run, context: Context, callbacks: list[pl.Callback]) -> pl.Trainer:
    settings, here = run.trainer, world.current()
    world.check(run, here)
    try:
        return pl.Trainer(
            accelerator=settings.accelerator,
            devices=device_choice(run),
            num_nodes=here.nodes,
            strategy=strategy(run),
            plugins=[LightningEnvironment()],
            precision=settings.precision,
            max_epochs=-1,
            deterministic=settings.deterministic,
            detect_anomaly=settings.detect_anomaly,
            logger=[logger.build(context) for logger in run.logger.values() if here.rank == 0] or False,
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=str(context.folder),
        )
    except (ValueError, RuntimeError, pl.utilities.exceptions.MisconfigurationException) as error:
        raise ConfigError(
            f"trainer.accelerator={settings.accelerator} trainer.devices={settings.devices}"
            f" trainer.precision={settings.precision} cannot be used here: {error}"
        ) from error


def _continue_logs(trainer: pl.Trainer, step: int) -> None:
    for logger in trainer.loggers:
        truncate = getattr(logger, "truncate", None)
        if truncate is not None:
            truncate(step)


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning without its advertising, banners and advice; what it sets for the whole process is put back."""
    memory: Any = torch.utils.deterministic
    deterministic, filled = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    memory.fill_uninitialized_memory = False  # it writes NaN into every new tensor, which results do not need
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=pl.utilities.warnings.PossibleUserWarning)
            # Lightning 2.6 builds torch's tree leaves in a way that torch has deprecated.
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
            # PEFT 0.21 asks transformers 5 by the old name.
            warnings.filterwarnings(
                "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
            )
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        memory.fill_uninitialized_memory = filled
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _fitted(
    module: TrainingModule, trainer: pl.Trainer, saved: Saved | None, keeper: Housekeeping, peak: int
) -> Fitted:
    tally = module.tally
    return Fitted(
        model=module.model.to(trainer.strategy.root_device).eval(),
        steps=tally.step,
        seconds=tally.seconds,
        tokens=tally.tokens,
        loss_tokens=tally.loss_tokens,
        skipped_windows=tally.skipped_windows,
        history=tally.history,
        best_step=keeper.stopping.best_step,
        stopped_early=keeper.stopping.stopped,
        resumed_from=saved.step if saved else 0,
        peak_memory=peak,
    )
