"""What a reward model thinks of an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Evaluator
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class RewardModel(Evaluator):
    """The number that a reward model, such as strategy=reward trains, gives the answer; higher is better.

    It is loaded once per run, and reads prompt and answer in its own chat template.
    """

    name: ClassVar[str] = "reward_model"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("reward"),)
    record: ClassVar[str] = "prompt"

    path: str = ""
    """Folder, run directory or hub name of a sequence classification model with one output."""

    def check(self, run: Run) -> Iterable[str]:
        """A path is needed."""
        if not self.path:
            yield "path is empty: name a reward model, as the directory of a run of strategy=reward"

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """`reward` of each answer."""
        from tuneforge.evaluation.rewarding import rewards

        asked = [replace(row, columns=_answered(row, answer.text)) for row, answer in zip(rows, answers, strict=True)]
        return [{"reward": value} for value in rewards(context.frozen(self.path, "reward"), asked, context)]


def _answered(row: Row, answer: str) -> dict[str, object]:
    """The row's prompt with this answer."""
    from tuneforge.conversation import split

    found = split(row.columns)
    prompt = row.columns["prompt"] if row.columns.get("prompt") is not None else found and found[0]
    return {"prompt": prompt, "completion": answer, "tools": row.columns.get("tools")}
