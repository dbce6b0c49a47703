"""The rules of a config that reach over several keys."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tuneforge.components import Adapter, DataSource, Strategy
from tuneforge.errors import ConfigError, nearest
from tuneforge.sections import DOCUMENTS

if TYPE_CHECKING:
    from tuneforge.settings import Run


TINY = 1e-9
"""Share of an epoch that is nothing but rounding."""
NO_FLOAT16 = "a CPU does not compute in float16; use bf16-mixed or 32-true"
SHARED_PRECISIONS = ("32-true", "bf16-mixed", "bf16-true")
"""What Lightning offers for a model that is shared out."""


def problems(run: Run) -> Iterator[str]:
    """Every rule that reaches over several keys."""
    for split, sources in (("data", run.data), ("validation", run.validation), ("test", run.test)):
        for key, source in sources.items():
            if source.needs_path and not source.path:
                known = ", ".join(f".{suffix}" for suffix in source.suffixes)
                yield f"{split}.{key}.path: name a file{f' ({known})' if known else ''}"
    for key, source in run.data.items():
        if source.role != "target":
            yield f"data.{key}.role={source.role}: a role belongs to validation and test sets, not to training data"
        if source.name == "share":
            yield f"data.{key}: share cuts a held-out set from the training data; it belongs to validation or test"
    yield from mixture_problems(run)
    yield from _batch_problems(run)
    yield from _optimisation_problems(run)
    yield from _device_problems(run)
    yield from _evaluation_problems(run)
    yield from _baseline_problems(run)
    yield from _audit_problems(run)
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
    known = {*run.test}
    for key, evaluator in run.evaluator.items():
        for name in evaluator.sets:
            if name in run.validation and name not in known:
                yield (
                    f"evaluator.{key}.sets: '{name}' is a validation set, and evaluators measure test sets"
                    f" ({', '.join(sorted(known)) or 'none is configured'}); for it too, add +test=FILE"
                )
            elif name not in known:
                yield f"evaluator.{key}.sets: no set '{name}' ({', '.join(sorted(known))}).{nearest(name, known)}"
    if not 0 <= run.gate.min_gain < math.inf:
        yield f"gate.min_gain={run.gate.min_gain}: must be 0 or more; a loss is no gain"
    yield from _gate_problems(run)
    if run.slices.fewest < 2:
        yield f"slices.fewest={run.slices.fewest}: must be 2 or more"
    chosen = list(run.evaluator) or list(run.strategy.evaluators)
    if run.gate.metric and run.gate.metric.split(".")[0] not in chosen:
        name = run.gate.metric.split(".")[0]
        near = nearest(name, chosen) or _metric_like(run, name)
        yield f"gate.metric={run.gate.metric}: no evaluator '{name}' ({', '.join(chosen)}).{near}"


def _metric_like(run: Run, name: str) -> str:
    """Of evaluators that the config names: the metric that was meant, with its evaluator."""
    metrics = ((key, metric.name) for key, one in run.evaluator.items() for metric in one.metrics)
    return next((f" Did you mean '{key}.{metric}'?" for key, metric in metrics if nearest(name, [metric])), "")


def _baseline_problems(run: Run) -> Iterator[str]:
    asked = run.baseline
    for count in asked.shots:
        if count < 0:
            yield f"baseline.shots={asked.shots}: must be 0 or more, each"
    if any(asked.shots) and not asked.selection:
        yield "baseline.selection=[]: name how shots are chosen (fixed, random, nearest), or set baseline.shots=[]"
    for text in asked.formats:
        if "{prompt}" not in text:
            yield f"baseline.formats: '{text}' has no {{prompt}}, where the question stands"
    for text in asked.instructions:
        if not text.strip():
            yield "baseline.instructions: an instruction is empty; the plain prompt is tried anyway"
        elif text.startswith("@") and not Path(text[1:]).expanduser().is_file():
            yield f"baseline.instructions={text}: no such file (`@` names a file that holds the instruction)"
    if asked.documents is not None:
        yield from _document_problems(asked.documents)
    for key in ("passages", "rows"):
        if getattr(asked, key) < 1:
            yield f"baseline.{key}={getattr(asked, key)}: must be 1 or more"


def _document_problems(path: str) -> Iterator[str]:
    place = Path(path).expanduser()
    if not path or not place.exists():
        yield f"baseline.documents={path}: no such file or folder"
    elif place.is_dir() and not any(file.suffix in DOCUMENTS for file in place.rglob("*")):
        yield f"baseline.documents={path}: the folder has no {' or '.join(DOCUMENTS)} file"
    elif place.is_file() and not place.stat().st_size:
        yield f"baseline.documents={path}: the file is empty"


def _gate_problems(run: Run) -> Iterator[str]:
    from tuneforge.evaluation import gate_rules

    for role, budget in vars(run.gate.budget).items():
        if not budget >= 0:
            yield f"gate.budget.{role}={budget}: must be 0 or more; a gain on {role} sets is asked with gate.require"
    for key in ("require", "allow"):
        for text in getattr(run.gate, key):
            try:
                gate_rules.parsed(text, f"gate.{key}")
            except ConfigError as error:
                yield str(error)


def mixture_problems(run: Run) -> Iterator[str]:
    """What the mixture of the training sources contradicts."""
    mixed = run.mixture
    if not (math.isfinite(mixed.temperature) and mixed.temperature >= 1):
        yield f"mixture.temperature={mixed.temperature}: must be 1 (by size) or more; larger is more even"
    if mixed.max_repeats is not None and mixed.max_repeats < 1:
        yield f"mixture.max_repeats={mixed.max_repeats}: must be 1 or more, or null"
    if not 0 < mixed.fraction <= 1:
        yield f"mixture.fraction={mixed.fraction}: must be above 0, and 1 at most"
    for key, source in run.data.items():
        yield from _of_source(run, f"data.{key}", key, source)
    yield from _proportions(run)
    for split, sets in (("validation", run.validation), ("test", run.test)):
        for key, source in sets.items():
            for said in asked(source):
                what = said.split("=")[0]
                yield f"{split}.{key}.{said}: {what} belongs to training data, not to a {split} set"


def _of_source(run: Run, place: str, key: str, source: DataSource) -> Iterator[str]:
    for name in ("weight", "epochs", "proportion"):
        value = getattr(source, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            yield f"{place}.{name}={value}: must be above 0; remove the source with '~data.{key}'"
            return
    said = asked(source)
    if len(said) > 1:
        yield f"{place}: {' and '.join(said)} contradict each other; keep one"
    if source.proportion is not None and source.proportion > 1:
        yield f"{place}.proportion={source.proportion:g}: is a share of the training rows, at most 1"
    if source.epochs is not None:
        yield from _passes(run, f"{place}.epochs={source.epochs:g}", source.epochs)


def _passes(run: Run, said: str, epochs: float) -> Iterator[str]:
    """In every epoch the same rows are seen, so passes that do not divide would show some rows only."""
    over = run.trainer.max_epochs
    if over is None:
        yield f"{said}: trainer.max_epochs=null leaves open how many passes there are; set it, or use proportion"
    elif over > 1 and epochs % over:
        yield (
            f"{said}: cannot be shared out evenly over trainer.max_epochs={over}; set trainer.max_epochs=1, where every"
            f" source is seen as often as its epochs say, or a multiple of {over}"
        )


def _proportions(run: Run) -> Iterator[str]:
    shares = {f"data.{key}": s.proportion for key, s in run.data.items() if s.proportion is not None}
    total, others = math.fsum(shares.values()), len(run.data) + len(run.synthetic) - len(shares)
    if not shares or any(not 0 < share <= 1 for share in shares.values()):
        return
    listed = ", ".join(f"{name}.proportion={share:g}" for name, share in shares.items())
    if others and total > 1 - TINY:
        yield f"{listed}: nothing is left for the other sources; proportions must add up to less than 1"
    elif not others and not math.isclose(total, 1, abs_tol=1e-6):
        yield f"{listed}: add up to {total:g} and there is no other source; leave one out to let it take the rest"


def asked(source: DataSource) -> list[str]:
    """What a source says of its own place in the mixture: `weight=0.1`; nothing, or one where the config is sound."""
    found = [f"weight={source.weight:g}"] if source.weight != 1 else []
    found += [f"epochs={source.epochs:g}"] if source.epochs is not None else []
    return found + ([f"proportion={source.proportion:g}"] if source.proportion is not None else [])


def _audit_problems(run: Run) -> Iterator[str]:
    from tuneforge.audit.checks import CHECKS, SEVERITIES

    for key, allowed in (("fail_on", [*CHECKS, *SEVERITIES]), ("skip", CHECKS)):
        for name in getattr(run.audit, key):
            if name not in allowed:
                yield f"audit.{key}: no check '{name}' ({', '.join(allowed)}).{nearest(name, allowed)}"
    if run.audit.sample < 1:
        yield f"audit.sample={run.audit.sample}: must be 1 or more"
    if run.audit.preview < 0:
        yield f"audit.preview={run.audit.preview}: must be 0 or more"
