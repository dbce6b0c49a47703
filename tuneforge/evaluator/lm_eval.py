"""Tasks of lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import LM, Context, Evaluator, Role
from tuneforge.rows import HeldOut, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class LmEval(Evaluator):
    """What lm-evaluation-harness finds on its tasks, with its own prompts, scoring and metrics, per document.

    Tasks bring their documents: each is a set of its own (`lm_eval.<task>`) with the role that is named here. The tuned
    model and the base are asked by the harness's own HFLM, so that figures are those of its `hf` model; a metric with
    several filters has one line for each, named as there. Metrics that are means, perplexities or bits per byte are
    reported, with our intervals; others (F1, BLEU, …) are left out, and said. Tasks of `folder` are read offline; only
    without `folder` are those of the harness's catalogue meant, which come from the hub. Task files may run Python.
    """

    name: ClassVar[str] = "lm_eval"
    extra: ClassVar[str] = "lm-eval"
    module: ClassVar[str] = "lm_eval"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("acc"), Metric("acc_norm"), Metric("exact_match"))
    record: ClassVar[str] = "prompt"

    tasks: list[str] = field(default_factory=list)
    """Names of the tasks."""
    folder: str = ""
    """Folder of task files (YAML); their data files are sought from there. Empty: the catalogue, from the hub."""
    role: Role = Role.general
    """What the tasks stand for: general or safety. They ask in their own way, so no prompt is compared with on them."""
    shots: int | None = None
    """Examples before each question; null: as each task says."""
    limit: int | None = None
    """Ask at most this many documents of each task, the first."""
    chat_template: bool = False
    """Put questions into the model's chat template."""

    def check(self, run: Run) -> Iterable[str]:
        """No tasks; another role; sets of the config, which it does not measure; another head."""
        if not self.tasks:
            yield "tasks=[] names no task, as tasks=[arc_easy]"
        if self.role is Role.target:
            yield "role=target: tasks tell what the model could do before (role=general) or must refuse (role=safety)"
        if self.sets:
            yield f"sets={self.sets}: it measures the documents of its tasks, not the config's sets"
        if self.limit is not None and self.limit < 1:
            yield f"limit={self.limit}: must be 1 or more"
        if run.strategy.head != "causal_lm":
            yield f"asks causal language models; strategy={run.strategy.name} has a {run.strategy.head} head"

    def serves(self, columns: Mapping[str, Any]) -> bool:
        """No row of the config's sets."""
        return False

    def brings(self, context: Context) -> Sequence[HeldOut]:
        """A test set for each task, a row for each of its documents. ConfigError for a task that cannot be read."""
        from tuneforge.evaluation.execution import harness

        if not hasattr(self, "_loaded"):
            self._loaded = self._load(context)
        tasks = self._loaded.items()
        return [HeldOut(name, "test", self.role, harness.rows(name, task, self.limit)) for name, task in tasks]

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """Statistics of each document of the task that the rows stand for."""
        from tuneforge.evaluation.execution import harness

        name = rows[0].source.removeprefix(f"{self.name}.")
        return harness.measure(lm, name, self._loaded[name], self.limit, self.chat_template)

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Each metric as the harness aggregates it; NaN for one that another task has."""
        return {metric.name: _aggregate(metric.name, stats) for metric in self.metrics}

    def _load(self, context: Context) -> dict[str, Any]:
        from tuneforge.errors import ConfigError
        from tuneforge.evaluation.execution import harness
        from tuneforge.extras import require

        if self.folder and not Path(self.folder).expanduser().is_dir():
            raise ConfigError(f"evaluator.{self.name}.folder={self.folder}: no such folder")
        require(self.module, self.extra, f"evaluator={self.name}")
        tasks = harness.load(self.tasks, self.folder, self.shots)
        found = [(name, *one) for name, task in tasks.items() for one in harness.metrics(task)]
        left = [f"{name}: {metric.name}" for name, metric, how in found if how not in harness.PARTS]
        if left:
            context.note(f"{self.name} leaves out metrics that are no means of documents: {', '.join(left)}")
        kept = {metric.name: metric for _, metric, how in found if how in harness.PARTS}
        if not kept:
            raise ConfigError(f"evaluator.{self.name}.tasks: no task has a metric that is reported ({', '.join(left)})")
        vars(self)["metrics"] = tuple(kept.values())
        return tasks


def _aggregate(name: str, stats: Mapping[str, ndarray]) -> float:
    import numpy as np

    from tuneforge.evaluation.behaviour.means import mean

    if name in stats:
        return mean(stats[name])
    if f"{name}|log" in stats:
        return float(np.exp(-stats[f"{name}|log"].mean()))
    if f"{name}|units" in stats:
        return float(np.exp(-stats[f"{name}|nats"].sum() / stats[f"{name}|units"].sum()))
    if f"{name}|bytes" in stats:
        return float(-stats[f"{name}|nats"].sum() / stats[f"{name}|bytes"].sum() / np.log(2))
    return float("nan")
