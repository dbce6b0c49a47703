"""Several tasks in one batch: names of parts with and without their task, and a step that sees one task's rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tuneforge.rows import Encoded, Loss
from tuneforge.training import reference

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.components import Step, Strategy
    from tuneforge.rows import Batch, Row

AT = "at"
"""Where a task's rows stand in the batch."""
REFERENCE = "reference."


def named(task: str, encoded: Encoded) -> Encoded:
    """The row with its task before the name of each part and number."""
    parts = {f"{task}.{name}": ids for name, ids in encoded.parts.items()}
    return Encoded(parts, {f"{task}.{name}": value for name, value in encoded.extras.items()})


def task_of(encoded: Encoded) -> str:
    """The task before the names of the row's parts."""
    return next(iter(encoded.parts)).split(".")[0]


def bare(task: str, encoded: Encoded) -> Encoded:
    """The row as the task itself encoded it, with the references that the core has added."""
    parts = {name.removeprefix(f"{task}."): ids for name, ids in encoded.parts.items()}
    return Encoded(parts, {_bare(task, name): value for name, value in encoded.extras.items()})


def _bare(task: str, name: str) -> str:
    if name == REFERENCE + task:
        return "reference"
    if name.startswith(f"{REFERENCE}{task}."):
        return REFERENCE + name.removeprefix(f"{REFERENCE}{task}.")
    return name.removeprefix(f"{task}.")


def by_task(rows: Sequence[Encoded]) -> dict[str, list[int]]:
    """Task → places of its rows."""
    found: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        found.setdefault(task_of(row), []).append(at)
    return found


def collate(tasks: Mapping[str, Strategy], rows: Sequence[Encoded], pad: int) -> Batch:
    """The batches of all tasks in one, each name after its task; `TASK.at` (rows of the task,) are their places."""
    batch: Batch = {}
    for task, places in by_task(rows).items():
        own = tasks[task].collate([bare(task, rows[i]) for i in places], pad)
        batch |= {f"{task}.{name}": tensor for name, tensor in own.items()}
        batch[f"{task}.{AT}"] = torch.tensor(places)
    return batch


def filler(task: Strategy, rows: Sequence[Encoded], pad: int) -> Batch:
    """The task's shortest row as a batch, its references 0: for a device that has no row where the devices meet."""
    row = min(rows, key=lambda row: sum(map(len, row.parts.values())))
    known = {reference.key(part): 0.0 for part in task.referenced(row)} if task.reference else {}
    return task.collate([row._replace(extras={**row.extras, **known})], pad)


def part(batch: Batch, task: str) -> Batch:
    """The batch of one task, as the task itself collated it; empty where it has no row."""
    prefix = f"{task}."
    return {name.removeprefix(prefix): tensor for name, tensor in batch.items() if name.startswith(prefix)}


class TaskStep:
    """The step as one task sees it: its own rows, and sums over its own batches."""

    def __init__(self, step: Step, task: str, batch: Batch | None = None, absent: bool = False) -> None:
        """`absent`: the batch at hand has no row of the task, whose loss is computed of a filler."""
        self.step, self.task, self.batch, self.absent = step, task, batch, absent

    def __getattr__(self, name: str) -> Any:
        return getattr(self.step, name)

    @property
    def rows(self) -> Sequence[Row]:
        """The task's rows of the batch at hand."""
        return [self.step.rows[i] for i in self._places()]

    @property
    def counts(self) -> bool:
        """As `Step.counts`; False where the task has no row."""
        return self.step.counts and not self.absent

    def _places(self) -> list[int]:
        places = (self.batch or {}).get(f"{self.task}.{AT}")
        return [] if places is None else [int(i) for i in places]

    def streams(self, count: int) -> list[torch.Generator]:
        """As `Step.streams`, of the task's rows."""
        every = self.step.streams(len(self.step.rows))
        return [every[i] for i in self._places()]

    def over_step(self, batch: Batch, key: str, compute: Callable[[Batch], Tensor]) -> Tensor:
        """As `Step.over_step`; a batch without a row of the task adds nothing."""

        def own(whole: Batch) -> Tensor:
            found = part(whole, self.task)
            return compute(found) if found else compute(batch) * 0

        return self.step.over_step(self.batch or {}, f"{self.task}.{key}", own)


def logs_of(task: str, loss: Loss) -> dict[str, Tensor]:
    """The loss per item of the task, and its own logs, each with the count it is divided by."""
    items = torch.as_tensor(loss.items, dtype=torch.float64, device=loss.total.device)
    found = {"loss": loss.total.detach(), **loss.logs}
    return {
        f"{task}/{name}": value if value.numel() == 2 else torch.stack([value.double().flatten()[0], items])
        for name, value in found.items()
    }
