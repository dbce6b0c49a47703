"""Say of each instruction which kind of task it sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.rows import Answer, Kept, Request, Row

if TYPE_CHECKING:
    from tuneforge.preparation.clusters import Clusters
    from tuneforge.preparation.tasks import Task
    from tuneforge.settings import Run


class TaskLabels(StrEnum):
    """Who says it."""

    rules = "rules"
    teacher = "teacher"


@dataclass(kw_only=True)
class TaskType(Transform):
    """Set the kind of task of each instruction: open_qa, summarization, code, …; other rows stay as they are.

    The rules know English; what they leave is clustered by its words, so that another language or an unknown task gets
    a name of its own. Nothing of a row's content changes.
    """

    name: ClassVar[str] = "task_type"
    held_out: ClassVar[bool] = True

    labels: TaskLabels = TaskLabels.rules
    """rules, or teacher: asked of every instruction; the rules where its answer is no kind of task."""
    teacher: str = ""
    """Key of the teacher to ask, with labels=teacher."""
    clusters: int = 8
    """Most clusters of the rows that no rule knows, of twenty rows on average at least; 0: they are all `other`."""

    def check(self, run: Run) -> Iterable[str]:
        """A teacher exactly where one is asked, and one that the config has."""
        if self.labels is TaskLabels.teacher and not self.teacher:
            yield f"labels=teacher needs the key of a teacher ({', '.join(run.teacher) or 'none is configured'})"
        elif self.teacher and self.labels is not TaskLabels.teacher:
            yield f"teacher={self.teacher} is not asked with labels={self.labels}; set labels=teacher"
        elif self.teacher and self.teacher not in run.teacher:
            from tuneforge.errors import nearest

            known = ", ".join(run.teacher) or "none is configured"
            yield f"teacher={self.teacher}: no such teacher ({known}).{nearest(self.teacher, run.teacher)}"
        if self.clusters < 0:
            yield f"clusters={self.clusters} must be 0 or more"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Every row, with its kind of task; counts rows by kind."""
        from tuneforge.preparation.task_rules import task

        held = list(rows)
        kinds = [task(row.columns) for row in held]
        if self.labels is TaskLabels.teacher:
            kinds = self._taught(held, kinds, context)
        names = self._named(held, kinds, context.seed)
        context.counts.update(Counter(name for name in names if name))
        yield from (replace(row, task=name) if name else row for row, name in zip(held, names, strict=True))

    def _named(self, rows: Sequence[Row], kinds: Sequence[Task | None], seed: int) -> list[str]:
        """Kinds as text, `other` with the words of its cluster; evaluation sets get the clusters of training."""
        from tuneforge.preparation.features import subject

        names = ["" if kind is None else kind.value for kind in kinds]
        unknown = [index for index, name in enumerate(names) if name == "other"]
        texts = [subject(rows[index].columns) for index in unknown]
        if "fitted" not in vars(self):  # no field, and so no part of the config
            vars(self)["fitted"] = self._clusters(texts, seed)
        found: Clusters | None = vars(self)["fitted"]
        if found is not None:
            for index, words in zip(unknown, found.of(texts), strict=True):
                names[index] = f"other ({words})" if words else "other"
        return names

    def _clusters(self, texts: Sequence[str], seed: int) -> Clusters | None:
        """None where there are too few texts to be told apart."""
        from tuneforge.preparation.clusters import Clusters

        count = min(self.clusters, len(texts) // 20)
        return Clusters(texts, count, seed) if count > 1 else None

    def _taught(self, rows: Sequence[Row], kinds: Sequence[Task | None], context: Context) -> list[Task | None]:
        """The teacher's word where it names a kind, else the rules'."""
        requests = [_request(row, context.seed) for row, kind in zip(rows, kinds, strict=True) if kind is not None]
        said = {
            id(request.row): _kind(answer)
            for request, answer in context.teacher(self.teacher).complete(_shown(requests, context), context)
        }
        told = [said.get(id(row)) for row in rows]
        lost = sum(mine is not None and theirs is None for mine, theirs in zip(kinds, told, strict=True))
        context.counts["no kind of task in the teacher's answer"] += lost
        if lost:
            context.note(f"teacher.{self.teacher}: {lost:,} answers name no kind of task; the rules decided", rows=lost)
        return [mine if theirs is None else theirs for mine, theirs in zip(kinds, told, strict=True)]


def _shown(requests: Sequence[Request], context: Context) -> Iterator[Request]:
    yield from context.progress(requests, "asking for kinds of task")


def _request(row: Row, seed: int) -> Request:
    """The instruction with all kinds and what they are, to be answered as `{"task": …}`."""
    from tuneforge.conversation import answer_text
    from tuneforge.preparation.features import subject
    from tuneforge.preparation.tasks import KINDS

    kinds = "\n".join(f"{kind}: {about}" for kind, about in KINDS.items())
    text = f"Which kind of task does the instruction set? Answer with one of these names.\n\n{kinds}\n\n"
    answer = answer_text(row.columns) or answer_text(row.columns, "chosen")
    text += f"Instruction:\n{subject(row.columns)}\n\nAnswer that was given:\n{answer[:500]}"
    one = {"type": "object", "properties": {"task": {"enum": [str(k) for k in KINDS]}}, "required": ["task"]}
    return Request([{"role": "user", "content": text}], schema=one, max_tokens=30, seed=seed, row=row)


def _kind(answer: Answer) -> Task | None:
    """The kind that an answer names, as JSON or as a bare word; None: none, or more than one."""
    from tuneforge.evaluation.word import word
    from tuneforge.preparation.tasks import Task

    named = word(answer, "task").replace(" ", "_").replace("-", "_")
    return Task(named) if named in Task.__members__ else None
