"""Several objectives, or tasks, on one model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tuneforge.components import Context, Step, Strategy
from tuneforge.errors import DataRefused, nearest
from tuneforge.rows import Encoded, Loaded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run

ADD = "+strategy@strategy.tasks.NAME=sft"


@dataclass(kw_only=True)
class Multitask(Strategy):
    """Several objectives on one model, mixed in every batch: `+strategy@strategy.tasks.chat=sft` adds one as `chat`.

    A row goes to the task that `sources` names for its source, else to the first task that can train on it. Each
    task's loss is divided by its mean number of items per training row, a constant, so that a row of one task
    weighs as much as a row of another, whatever the batch. All tasks share the model's head. The learning rate is the
    smallest of the tasks'.
    """

    name: ClassVar[str] = "multitask"
    record: ClassVar[str] = "completion"
    unit: ClassVar[str] = "rows"

    tasks: dict[str, Strategy] = field(default_factory=dict)
    """Name of a task: its objective, as in +strategy@strategy.tasks.chat=sft."""
    sources: dict[str, str] = field(default_factory=dict)
    """Data source: task, as in '+strategy.sources={tickets: chat}'; a source not named is told by its columns."""
    weights: dict[str, float] = field(default_factory=dict)
    """Task: factor of its loss, as in '+strategy.weights={chat: 2}'; 1 where none is named."""
    temperature: float = 1.0
    """A task of n rows gets a share of the epoch proportional to n^(1/temperature): 1 as they are, large all alike."""

    def __post_init__(self) -> None:
        self._per_row: dict[str, float] = {}
        self._fillers: dict[str, Batch] = {}
        tasks = self.tasks.values()
        if tasks:  # what the core asks of any strategy, from the tasks
            vars(self).update(
                record=" or ".join(dict.fromkeys(task.record for task in tasks)),
                head=next(iter(tasks)).head,
                reference=any(task.reference for task in tasks),
                chunked=any(task.chunked for task in tasks),
                learning_rate=min(task.learning_rate for task in tasks),
                evaluators=tuple(dict.fromkeys(name for task in tasks for name in task.evaluators)),
            )

    @property
    def divisible(self) -> bool:
        """Where every task is."""
        return all(task.divisible for task in self.tasks.values())

    def check(self, run: Run) -> Iterable[str]:
        """Tasks that are too few, do not go together or do not exist, and what each says of itself."""
        if len(self.tasks) < 2:
            yield f"strategy.tasks: {len(self.tasks)} named, and 2 or more are needed; add one with {ADD}"
        heads = {key: task.head for key, task in self.tasks.items()}
        if len(set(heads.values())) > 1:
            said = ", ".join(f"{key} {head}" for key, head in heads.items())
            yield f"strategy.tasks: one model has one head, and these tasks need several: {said}"
        if self.temperature <= 0:
            yield f"strategy.temperature={self.temperature} must be above 0"
        known = {*run.data, *run.synthetic, *run.validation, *run.test}
        for source, name in self.sources.items():
            if source not in known:
                yield f"strategy.sources.{source}: no such source ({', '.join(sorted(known))}).{nearest(source, known)}"
            yield from self._unknown(f"sources.{source}={name}", name)
        for name, weight in self.weights.items():
            yield from self._unknown(f"weights.{name}", name)
            if weight < 0:
                yield f"strategy.weights.{name}={weight} must not be negative"
        for key, task in self.tasks.items():
            yield from (f"tasks.{key}: {reason}" for reason in (*_alone(task), *task.check(run)))

    def _unknown(self, place: str, task: str) -> Iterator[str]:
        if task not in self.tasks:
            yield f"strategy.{place}: no such task ({', '.join(self.tasks)}).{nearest(task, self.tasks)}"

    # ------------------------------------------------------------ rows

    def takes(self, columns: Mapping[str, Any]) -> bool:
        """Whether any task does."""
        return any(task.takes(columns) for task in self.tasks.values())

    def share(self, row: Row) -> str:
        """The row's task, or an empty string."""
        return self._task(row) or ""

    def _task(self, row: Row) -> str | None:
        named = self.sources.get(row.source.split(".", 1)[-1])
        return named or next((key for key, task in self.tasks.items() if task.takes(row.columns)), None)

    def epoch_weights(self, counts: Mapping[str, int]) -> Mapping[str, float]:
        """Shares proportional to n^(1/temperature) of an epoch that is as long as before."""
        rows = {task: n for task, n in counts.items() if task in self.tasks}
        if self.temperature == 1 or not rows:
            return {}
        most = max(rows.values())
        wanted = {task: (n / most) ** (1 / self.temperature) for task, n in rows.items()}
        whole, of = sum(rows.values()), sum(wanted.values())
        return {task: whole * wanted[task] / of / n for task, n in rows.items()}

    def labels(self, rows: Sequence[Row]) -> Sequence[str]:
        """The classes of all tasks together."""
        mine = {key: [row for row in rows if self._task(row) == key] for key in self.tasks}
        return sorted({label for key, task in self.tasks.items() for label in task.labels(mine[key])})

    def examples(self, rows: Sequence[Row], context: Context) -> Sequence[Row]:
        """Each task's examples of its rows; rows of no task stay, to be rejected."""
        found: list[Row] = [row for row in rows if self._task(row) is None]
        for key, task in self.tasks.items():
            mine = [row for row in rows if self._task(row) == key]
            found += task.examples(mine, context) if mine else []
        return found

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """As the row's task encodes it, its name before each part; rejected where no task takes the row."""
        from tuneforge.training.loss.tasks import named

        whose = [self._task(row) for row in rows]
        each = {
            key: task.encode([row for row, task_ in zip(rows, whose, strict=True) if task_ == key], tokenizer, context)
            for key, task in self.tasks.items()
        }
        for row, key in zip(rows, whose, strict=True):
            if key is None:
                columns = ", ".join(row.columns)
                yield Rejected(row, f"no task takes it: {', '.join(self._needs())}; the row has {columns}")
                continue
            found = next(each[key])
            yield Rejected(row, f"task {key}: {found.reason}") if isinstance(found, Rejected) else named(key, found)

    def _needs(self) -> Iterator[str]:
        return (f"{key} needs {task.record}" for key, task in self.tasks.items())

    def chunks(self, encoded: Encoded, limit: int) -> Iterator[Encoded]:
        """A long row of a task that cuts its rows; no piece at all of another's."""
        from tuneforge.training.loss.tasks import bare, named, task_of

        key = task_of(encoded)
        if self.tasks[key].chunked:
            yield from (named(key, piece) for piece in self.tasks[key].chunks(bare(key, encoded), limit))

    def trained_texts(self, columns: Mapping[str, Any], part: str = "") -> Sequence[str] | None:
        """As the task's, whose name stands before the part."""
        key, _, rest = part.partition(".")
        return self.tasks[key].trained_texts(columns, rest)

    def referenced(self, encoded: Encoded) -> Sequence[str]:
        """The parts of tasks that need a reference."""
        from tuneforge.training.loss.tasks import bare, task_of

        key = task_of(encoded)
        if not self.tasks[key].reference:
            return ()
        return [f"{key}.{part}".rstrip(".") for part in self.tasks[key].referenced(bare(key, encoded))]

    def loss_items(self, encoded: Encoded) -> int:
        """One row."""
        return 1

    # ------------------------------------------------------------ training

    def fits(self, loaded: Loaded, context: Context) -> Iterable[str]:
        """What each task says."""
        return [f"task {key}: {reason}" for key, task in self.tasks.items() for reason in task.fits(loaded, context)]

    def begin(self, rows: Sequence[Encoded], step: Step) -> None:
        """Each task begins with its rows. DataRefused where one has none."""
        from tuneforge.training.loss.tasks import TaskStep, bare, by_task, filler

        places = by_task(rows)
        for key, task in self.tasks.items():
            mine = [bare(key, rows[i]) for i in places.get(key, ())]
            if not mine:
                said = "; ".join(self._needs())
                raise DataRefused(
                    f"strategy.tasks.{key} has no training row ({said}); remove it with '~strategy.tasks.{key}'"
                )
            self._per_row[key] = sum(task.loss_items(row) for row in mine) / len(mine) or 1.0
            self._fillers[key] = filler(task, mine, int(step.tokenizer.pad_token_id or 0))
            task.begin(mine, cast("Step", TaskStep(step, key)))

    def collate(self, rows: Sequence[Encoded], pad: int) -> Batch:
        """The tasks' batches side by side."""
        from tuneforge.training.loss.tasks import collate

        return collate(self.tasks, rows, pad)

    def roll_out(self, model: Module, batch: Batch, step: Step) -> Batch:
        """As each task does."""
        from tuneforge.training.loss.tasks import AT, TaskStep, part

        rolled = dict(batch)
        for key, task in self.tasks.items():
            if own := part(batch, key):
                found = task.roll_out(model, own, cast("Step", TaskStep(step, key, batch)))
                rolled = {name: tensor for name, tensor in rolled.items() if not name.startswith(f"{key}.")}
                rolled |= {f"{key}.{name}": tensor for name, tensor in (found | {AT: own[AT]}).items()}
        return rolled

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """The tasks' losses per mean row, weighed, summed over rows; each task's own in the log."""
        import torch

        from tuneforge.training.devices import world
        from tuneforge.training.loss.tasks import AT, TaskStep, logs_of, part

        totals, count = [], 0
        logs: dict[str, Tensor] = {}
        for key, task in self.tasks.items():
            if own := part(batch, key):
                found = task.loss(model, own, cast("Step", TaskStep(step, key, batch)))
                totals.append(found.total * (self.weights.get(key, 1.0) / self._per_row[key]))
                count += len(own[AT])
                logs |= logs_of(key, found)
            elif world.place()[1] > 1 and type(task).roll_out is Strategy.roll_out:
                # Devices may meet in the loss of a task, and one without a row of it must be there too.
                totals.append(self._absent(key, model, batch, step))
        return Loss(torch.stack(totals).sum(), count, logs)

    def _absent(self, key: str, model: Module, batch: Batch, step: Step) -> Tensor:
        """A loss of 0 from one row of the task, which does not count."""
        from tuneforge.training.loss.tasks import TaskStep
        from tuneforge.training.mode import evaluating

        device = next(model.parameters()).device
        own = {name: tensor.to(device) for name, tensor in self._fillers[key].items()}
        with evaluating(model):
            return self.tasks[key].loss(model, own, cast("Step", TaskStep(step, key, batch, absent=True))).total * 0.0

    def save(self, folder: Path, loaded: Loaded) -> None:
        """As each task does."""
        for task in self.tasks.values():
            task.save(folder, loaded)


def _alone(task: Strategy) -> Iterator[str]:
    """Why a task can only be the whole strategy."""
    if isinstance(task, Multitask):
        yield "a task cannot hold tasks itself"
    if task.updates() > 1:
        yield "strategy.iterations above 1 would repeat the other tasks' steps too"
    if getattr(task, "loss_type", "") in ("dapo", "bnpo"):
        yield f"loss_type={task.loss_type} divides by tokens that only sampling tells; take grpo or dr_grpo"  # type: ignore[attr-defined]
