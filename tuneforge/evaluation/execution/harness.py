"""lm-evaluation-harness (Gao and others, doi:10.5281/zenodo.12608602) on a model that is in memory."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from tuneforge.components import LM
from tuneforge.errors import ConfigError, nearest
from tuneforge.evaluation.lm import HFLM
from tuneforge.rows import Metric, Row, Stats, content_hash
from tuneforge.training.mode import evaluating

BATCH = 16
SEED = 1234
"""Of the examples before a question, as the harness has it by default."""
PARTS = {
    "mean": ("",), "nanmean": ("",), "perplexity": ("|log",), "weighted_perplexity": ("|nats", "|units"),
    "bits_per_byte": ("|nats", "|bytes"),
}  # fmt: skip
"""Name of an aggregation to what is kept of a document's value, behind the metric's name."""


def load(names: Sequence[str], folder: str, shots: int | None) -> dict[str, Any]:
    """The harness's tasks by name. ConfigError for a name that is none, or for tasks that cannot be read."""
    from lm_eval.tasks import TaskManager

    with quiet(), offline(bool(folder)), chdir(Path(folder).expanduser() if folder else Path()):
        manager = TaskManager(include_path=folder and ".", include_defaults=not folder)
        known = manager.all_tasks
        for name in names:
            if name not in known:
                where = f" in {folder} ({', '.join(known) or 'none'})" if folder else ""
                raise ConfigError(f"evaluator.lm_eval.tasks: no task '{name}'{where}.{nearest(name, known)}")
        try:
            tasks = dict(manager.load(list(names))["tasks"])
        except Exception as error:
            said = str(error).strip().split("\n")[0]
            raise ConfigError(f"evaluator.lm_eval.tasks={','.join(names)}: {type(error).__name__}: {said}") from error
    for task in tasks.values():
        task.set_config("num_fewshot", (task.get_config("num_fewshot") or 0) if shots is None else shots)
    return tasks


def rows(name: str, task: Any, limit: int | None) -> list[Row]:
    """A row for each document: what is asked, without shots, and what is right, as far as the task tells them."""
    found = []
    for number, document in enumerate(list(task.eval_docs)[:limit], start=1):
        columns = {"prompt": str(task.doc_to_text(document)), "completion": _target(task, document)}
        identity = content_hash({"document": document, "number": number})
        found.append(Row(columns=columns, source=f"lm_eval.{name}", line=number, id=identity))
    return found


def _target(task: Any, document: Any) -> str:
    target = task.doc_to_target(document)
    choices = task.doc_to_choice(document) if task.config.doc_to_choice is not None else None
    return str(choices[target] if choices and isinstance(target, int) else target)


def metrics(task: Any) -> Iterator[tuple[Metric, str]]:
    """The task's metrics by filter, as the harness calls them (without `,none`), each with its aggregation."""
    better = task.higher_is_better()
    for one in [one["name"] for one in task.config.filter_list or [{"name": "none"}]]:
        for metric, aggregation in task.aggregation().items():
            yield Metric(_name(metric, one), bool(better.get(metric, True))), getattr(aggregation, "__name__", "")


def _name(metric: str, chosen: str) -> str:
    return metric if chosen == "none" else f"{metric},{chosen}"


def measure(lm: LM, name: str, task: Any, limit: int | None, chat_template: bool) -> list[Stats]:
    """Statistics of each document of a task, in order, as the harness gets them."""
    from lm_eval.evaluator import evaluate

    inner: Any = lm
    while not isinstance(inner, HFLM) and hasattr(inner, "lm"):
        inner = inner.lm
    if not isinstance(inner, HFLM):
        raise ConfigError(f"evaluator=lm_eval asks causal language models, and {lm.variant} is none")
    task.set_fewshot_seed(seed=SEED)  # each variant sees the same examples
    with evaluating(inner.model), quiet():
        found = evaluate(
            _harness_model(inner), {"tasks": {name: task}, "groups": {}}, limit=limit, bootstrap_iters=0,
            apply_chat_template=chat_template, fewshot_as_multiturn=chat_template,
        )  # fmt: skip
    return _stats(found["samples"][name], {metric.name: how for metric, how in metrics(task)})


def _harness_model(inner: HFLM) -> Any:
    from lm_eval.models.huggingface import HFLM as Harness

    return Harness(pretrained=inner.model, tokenizer=inner.tokenizer, backend="causal", batch_size=BATCH)


def _stats(samples: Sequence[Mapping[str, Any]], aggregations: Mapping[str, str]) -> list[Stats]:
    found: dict[int, dict[str, float]] = {}
    for sample in samples:
        numbers = found.setdefault(sample["doc_id"], {})
        for metric in sample["metrics"]:
            name, value = _name(metric, sample["filter"]), sample[metric]
            parts = PARTS.get(aggregations.get(name, ""), ())
            values = value if isinstance(value, tuple | list) else [value]
            numbers |= {f"{name}{part}": float(one) for part, one in zip(parts, values, strict=bool(parts))}
    return [found[key] for key in sorted(found)]


@contextmanager
def offline(wanted: bool) -> Iterator[None]:
    """Nothing is fetched from the hub, where that is wanted."""
    import datasets
    from huggingface_hub import constants

    places = (
        (datasets.config, "HF_DATASETS_OFFLINE"),
        (datasets.config, "HF_HUB_OFFLINE"),
        (constants, "HF_HUB_OFFLINE"),
    )
    before = [getattr(*place) for place in places]
    try:
        for module, name in places:
            setattr(module, name, wanted or getattr(module, name))
        yield
    finally:
        for (module, name), value in zip(places, before, strict=True):
            setattr(module, name, value)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the harness's bars and remarks."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with redirect_stderr(io.StringIO()):
        yield
