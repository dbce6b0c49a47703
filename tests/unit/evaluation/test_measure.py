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
from tuneforge.evaluation.samples import samples
from tuneforge.evaluator.classification import Classification
from tuneforge.evaluator.exact_match import ExactMatch
from tuneforge.evaluator.label import Label
from tuneforge.evaluator.multiple_choice import MultipleChoice
from tuneforge.evaluator.preference_accuracy import PreferenceAccuracy
from tuneforge.evaluator.retrieval import Retrieval
from tuneforge.evaluator.span_f1 import SpanF1


def test_an_evaluator_that_is_named_and_serves_no_row_is_refused(tmp_path: Path) -> None:
    made = subjects.run()
    made.evaluator = {"multiple_choice": MultipleChoice(), "exact_match": ExactMatch()}
    context, lm = subjects.context(made, tmp_path), Speaker("ok")
    sets: Any = [subjects.held(subjects.questions(1))]
    with pytest.raises(ConfigError) as refused:
        measure(made, {"base": lm}, sets, made.evaluator, context)  # type: ignore[dict-item]
    assert str(refused.value) == (
        "evaluator=multiple_choice: no row of test.job has what it needs: test.job has completion, prompt and lacks"
        " choices; say which columns these are: test.job.columns.choices=NAME (docs/evaluation.md: what each evaluator"
        " reads)"
    )
    assert measure(made, {"base": lm}, [], made.evaluator, context).cells == {}, "no set, nothing to refuse"  # type: ignore[dict-item]
    one = {"exact_match": ExactMatch()}
    assert len(measure(made, {"base": lm}, sets, one, context).cells) == 1  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("columns", "evaluator", "lacking"),
    [
        ({"prompt": "a"}, ExactMatch(), "lacks completion; say"),
        ({"text": "a"}, ExactMatch(), "lacks prompt and completion; say"),
        ({"prompt": "a", "completion": "b"}, Retrieval(), "lacks anchor and positive; say"),
        ({"text": "a"}, Classification(), "lacks label; say"),
        ({"prompt": "a"}, PreferenceAccuracy(), "lacks chosen and rejected; say"),
        ({"text": "a"}, SpanF1(), "lacks tokens and tags; say"),
    ],
)
def test_what_a_row_lacks_is_named(columns: Any, evaluator: Any, lacking: str, tmp_path: Path) -> None:
    made = subjects.run()
    made.evaluator = {"it": evaluator}
    sets: Any = [subjects.held([subjects.row(**columns)])]
    with pytest.raises(ConfigError, match=lacking):
        measure(made, {"base": Speaker("ok")}, sets, made.evaluator, subjects.context(made, tmp_path))  # type: ignore[dict-item]


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


def test_the_choice_taken_and_all_references_stand_in_the_samples(tmp_path: Path) -> None:
    lm = HFLM("tuned", subjects.llama(), subjects.tokenizer())
    row = subjects.row(prompt="a or b?", completion="b", choices=["a", "b"], references=["b", "bee"])
    both = {"multiple_choice": MultipleChoice(), "exact_match": ExactMatch()}
    for evaluators in ({"multiple_choice": MultipleChoice()}, both, dict(reversed(both.items()))):
        context = subjects.context(subjects.run(), tmp_path)
        measured = measure(subjects.run(), {"tuned": lm}, [subjects.held([row])], evaluators, context)
        [found] = samples(measured)
        right = found["scores"]["tuned"]["multiple_choice.accuracy"]
        assert (found["reference"], found["references"]) == ("b", ["b", "bee"])
        if len(evaluators) == 1:
            assert found["answers"]["tuned"] == ("b" if right else "a")
        else:
            assert found["answers"]["tuned"] == lm.generate([row], 11)[0].text, "words that were generated stay"
