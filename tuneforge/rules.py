"""The rules of a config that reach over several keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tuneforge.components import Adapter, Strategy
from tuneforge.errors import nearest

if TYPE_CHECKING:
    from tuneforge.settings import Run


NO_FLOAT16 = "a CPU does not compute in float16; use bf16-mixed or 32-true"
SHARED_PRECISIONS = ("32-true", "bf16-mixed", "bf16-true")
"""What Lightning offers for a model that is shared out."""


def problems(run: Run) -> Iterator[str]:
    """Every rule that reaches over several keys."""
    for split, sources in (("data", run.data), ("validation", run.validation), ("test", run.test)):
        for key, source in sources.items():
            if source.suffixes and not source.path:
                yield f"{split}.{key}.path: name a file ({', '.join(f'.{s}' for s in source.suffixes)})"
    for key, source in run.data.items():
        if source.role != "target":
            yield f"data.{key}.role={source.role}: a role belongs to validation and test sets, not to training data"
        if source.weight <= 0:
            yield f"data.{key}.weight={source.weight}: must be above 0; remove the source with '~data.{key}'"
        if source.name == "share":
            yield f"data.{key}: share cuts a held-out set from the training data; it belongs to validation or test"
    for split, sets in (("validation", run.validation), ("test", run.test)):
        for key, source in sets.items():
            if source.weight != 1:
                yield f"{split}.{key}.weight={source.weight}: a weight belongs to training data, not to a {split} set"
    if not run.data and not run.synthetic:
        yield "data: nothing to train on; name a file (data=train.jsonl), a source or experiment=helpdesk"
    yield from _batch_problems(run)
    yield from _optimisation_problems(run)
    yield from _device_problems(run)
    yield from _evaluation_problems(run)
    if not 0 <= run.max_quarantined <= 1:
        yield f"max_quarantined={run.max_quarantined}: is a share between 0 and 1"
    for path, component in run.components():
        yield from (_placed(path, reason) for reason in component.check(run))


def _placed(path: str, reason: str) -> str:
    """The reason behind the component's path, unless it names the path itself."""
    return reason if reason.startswith((f"{path}.", f"{path}=")) else f"{path}: {reason}"


def _batch_problems(run: Run) -> Iterator[str]:
    size, whole = run.batch.size, run.batch.global_size
    if size < 1:
        yield f"batch.size={size}: must be 1 or more"
    elif whole is not None and (whole < 1 or whole % size):
        yield f"batch.global_size={whole}: must be a multiple of batch.size={size}"
    if run.batch.micro is not None and not 1 <= run.batch.micro <= size:
        yield f"batch.micro={run.batch.micro}: must be between 1 and batch.size={size}"
    elif run.batch.micro not in (None, size) and not run.strategy.divisible:
        yield f"batch.micro={run.batch.micro}: strategy={run.strategy.name} needs its whole batch in one forward pass"
    if run.batch.max_length is not None and run.batch.max_length < 2:
        yield f"batch.max_length={run.batch.max_length}: must be 2 or more"
    if run.batch.packing == "on" and not run.strategy.packable:
        yield f"batch.packing=on: strategy={run.strategy.name} cannot be packed"
    if run.batch.packing == "on" and not run.adapter.packable:
        yield f"batch.packing=on: adapter={run.adapter.name} works on one document per sequence; use auto or off"
    if run.trainer.max_epochs is None and run.trainer.max_steps < 1:
        yield "trainer.max_epochs=null: then trainer.max_steps must say when to stop"
    if run.checkpoint.keep < 1:
        yield f"checkpoint.keep={run.checkpoint.keep}: must be 1 or more"


def _optimisation_problems(run: Run) -> Iterator[str]:
    optimizer, regular, stopping = run.optimizer, run.regularization, run.early_stopping
    if optimizer.learning_rate is not None and optimizer.learning_rate < 0:
        yield f"optimizer.learning_rate={optimizer.learning_rate}: must be 0 or more"
    if run.trainer.strategy == "fsdp" and not optimizer.shareable:
        yield (
            f"optimizer={optimizer.name} cannot work on shares of a parameter, which trainer=fsdp deals out;"
            " choose trainer=ddp, or adamw, muon, schedule_free or sgd"
        )
    if optimizer.weight_decay < 0:
        yield f"optimizer.weight_decay={optimizer.weight_decay}: must be 0 or more"
    if not 0 < optimizer.layer_decay <= 1:
        yield f"optimizer.layer_decay={optimizer.layer_decay}: must be above 0, and 1 at most"
    if run.scheduler.warmup < 0:
        yield f"scheduler.warmup={run.scheduler.warmup}: must be 0 or more"
    if regular.neftune_alpha < 0:
        yield f"regularization.neftune_alpha={regular.neftune_alpha}: must be 0 or more"
    if not 0 <= regular.ema_decay < 1:
        yield f"regularization.ema_decay={regular.ema_decay}: must be at least 0 and below 1"
    if regular.swa_start < 0:
        yield f"regularization.swa_start={regular.swa_start}: must be 0 or more"
    if stopping.patience is not None and stopping.patience < 1:
        yield f"early_stopping.patience={stopping.patience}: must be 1 or more, or null"
    if stopping.min_delta < 0:
        yield f"early_stopping.min_delta={stopping.min_delta}: must be 0 or more"


def _device_problems(run: Run) -> Iterator[str]:
    if run.trainer.num_nodes < 1:
        yield f"trainer.num_nodes={run.trainer.num_nodes}: must be 1 or more"
    if run.trainer.precision.startswith("16-") and run.trainer.accelerator == "cpu":
        yield f"trainer.precision={run.trainer.precision}: {NO_FLOAT16}"
    if run.trainer.strategy != "fsdp":
        return
    adapter, strategy = type(run.adapter), type(run.strategy)
    reasons = {
        f"the weights under adapter={run.adapter.name} cannot be shared out": adapter.quantization
        is not Adapter.quantization,
        f"what trains cannot change on the way (adapter={run.adapter.name})": adapter.before_step
        is not Adapter.before_step,
        f"strategy={run.strategy.name} generates, each device for another number of tokens": strategy.roll_out
        is not Strategy.roll_out,
        f"trainer.precision={run.trainer.precision} is none of {', '.join(SHARED_PRECISIONS)}": run.trainer.precision
        not in SHARED_PRECISIONS,
    }
    yield from (
        f"trainer.strategy=fsdp: {why}; or take trainer.strategy=ddp" for why, found in reasons.items() if found
    )


def _evaluation_problems(run: Run) -> Iterator[str]:
    known = {*run.validation, *run.test}
    for key, evaluator in run.evaluator.items():
        for name in evaluator.sets:
            if name not in known:
                yield f"evaluator.{key}.sets: no set '{name}' ({', '.join(sorted(known))}).{nearest(name, known)}"
    if run.gate.min_gain < 0:
        yield f"gate.min_gain={run.gate.min_gain}: must be 0 or more; a loss is no gain"
    chosen = list(run.evaluator) or list(run.strategy.evaluators)
    if run.gate.metric and run.gate.metric.split(".")[0] not in chosen:
        name = run.gate.metric.split(".")[0]
        yield f"gate.metric={run.gate.metric}: no evaluator '{name}' ({', '.join(chosen)}).{nearest(name, chosen)}"
