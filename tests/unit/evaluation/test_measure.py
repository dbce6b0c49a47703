"""What is measured where, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluation import subjects
from tests.unit.evaluator.answers import Speaker
from tuneforge.errors import ConfigError
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.measure import measure
from tuneforge.evaluator.exact_match import ExactMatch
from tuneforge.evaluator.label import Label
from tuneforge.evaluator.multiple_choice import MultipleChoice


def test_an_evaluator_that_is_named_and_serves_no_row_is_refused(tmp_path: Path) -> None:
    made = subjects.run()
    made.evaluator = {"multiple_choice": MultipleChoice(), "exact_match": ExactMatch()}
    context, lm = subjects.context(made, tmp_path), Speaker("ok")
    sets: Any = [subjects.held(subjects.questions(1))]
    with pytest.raises(ConfigError) as refused:
        measure(made, {"base": lm}, sets, made.evaluator, context)  # type: ignore[dict-item]
    assert str(refused.value) == (
        "evaluator=multiple_choice: no row of test.job has what it needs (completion), they have completion, prompt;"
        " map its columns, as test.job.columns.completion=NAME (docs/evaluation.md: what each evaluator reads)"
    )
    assert measure(made, {"base": lm}, [], made.evaluator, context).cells == {}, "no set, nothing to refuse"  # type: ignore[dict-item]
    one = {"exact_match": ExactMatch()}
    assert len(measure(made, {"base": lm}, sets, one, context).cells) == 1  # type: ignore[dict-item]


def test_other_classes_are_another_protocol(tmp_path: Path) -> None:
    # `predicted` and `true` are places among the classes: with others the same numbers mean other classes.
    lm, sets = HFLM("tuned", subjects.llama(), subjects.tokenizer()), [subjects.held(subjects.questions(3))]
    protocols = []
    for further in ([], ["a"], ["b"], ["b"]):
        context = subjects.context(subjects.run(), tmp_path)
        context.train = [subjects.row(prompt=f"{i}", completion=text) for text in ("ok", *further) for i in range(2)]
        measured = measure(subjects.run(), {"tuned": lm}, sets, {"label": Label()}, context)
        protocols.append(measured.protocol(next(iter(measured.rows))))
    assert len(set(protocols)) == 3
    assert protocols[2] == protocols[3]
