"""Sets that an evaluator brings itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.unit.evaluation import subjects
from tuneforge.components import Context, Evaluator
from tuneforge.errors import ConfigError
from tuneforge.evaluation.measure import Place, measure
from tuneforge.evaluator.answer_length import AnswerLength
from tuneforge.rows import Answer, HeldOut, Metric, Row, Stats


@dataclass(kw_only=True)
class Own(Evaluator):
    """Right answers to questions of its own."""

    name: ClassVar[str] = "own"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("own"),)

    def serves(self, columns: Any) -> bool:
        return False

    def brings(self, context: Context) -> Sequence[HeldOut]:
        return [HeldOut("sums", "test", "general", [subjects.row(prompt=f"{i}?", completion=f"{i}") for i in range(3)])]

    def score(self, row: Row, answer: Answer) -> Stats:
        return {"own": float(answer.text == row.columns["completion"])}


class Echo:
    variant = "base"

    def generate(self, rows: Sequence[Row], max_tokens: int) -> list[Answer]:
        return [Answer(str(row.columns["prompt"]).strip("?")) for row in rows]


def places(tmp_path: Path, split: str, **evaluators: Evaluator) -> dict[Place, list[float]]:
    run = subjects.run()
    sets = [subjects.held([subjects.row(prompt="q", completion="a")], "mine", split)]
    found = measure(run, {"base": Echo()}, sets, evaluators, subjects.context(run, tmp_path))  # type: ignore[dict-item]
    assert found.sets.keys() >= {(split, "mine")}
    assert found.merge(found).cells.keys() == found.cells.keys()
    return {place: list(cell.stats.values())[0].tolist() for (place, _), cell in found.cells.items()}  # noqa: RUF015


def test_only_who_brings_a_set_measures_it(tmp_path: Path) -> None:
    assert places(tmp_path, "test", a=Own(), b=AnswerLength(), c=Own()) == {
        Place("a", "test", "a.sums"): [1, 1, 1],
        Place("b", "test", "mine"): [0],
        Place("c", "test", "c.sums"): [1, 1, 1],
    }


def test_a_split_that_is_not_measured_brings_none(tmp_path: Path) -> None:
    assert places(tmp_path, "validation", a=Own(), b=AnswerLength()).keys() == {Place("b", "validation", "mine")}


def test_nobody_else_may_name_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluator.b.sets: no set 'a.sums' \(mine\)"):
        places(tmp_path, "test", a=Own(), b=AnswerLength(sets=["a.sums"]))
