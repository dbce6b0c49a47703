"""What is decided, and why, in every combination of what the differences and the budgets prove."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from tests.unit.evaluation import subjects
from tests.unit.evaluation.test_verdict import line
from tuneforge.evaluation.verdict import decide

GAINS = {
    "better": [(0.1, 0.05, 0.15), (0.3, 0.01, 0.6)],
    "not proven": [(0.04, -0.02, 0.1), (-0.04, -0.1, 0.02), (0.3, -0.02, 0.6), (0.2, None, None)],
    "worse": [(-0.1, -0.15, -0.05), (-0.02, -0.03, -0.01)],
}
RANK = ["better", "not proven", "worse"]
BUDGETS = {"": None, "kept": (0.0, -0.01, 0.01), "not settled": (-0.03, -0.08, 0.02), "broken": (-0.3, -0.4, -0.2)}


def turned(interval: tuple[float, float | None, float | None], higher: bool, role: str = "target", **other: Any) -> Any:
    """A row that says so of a metric of which more, or less, is better."""
    value, low, high = interval
    if not higher:
        value, low, high = (None if x is None else -x for x in (value, high, low))
    return line(value, low, high, role, higher_is_better=higher, **other)


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("over_base", RANK)
@pytest.mark.parametrize("over_prompt", RANK)
def test_the_decision_its_reason_and_every_gate(over_prompt: str, over_base: str, higher: bool) -> None:
    for prompt, base, budget in product(GAINS[over_prompt], GAINS[over_base], BUDGETS):
        rows = [turned(prompt, higher, versus="prompted"), turned(base, higher)]
        if (lost := BUDGETS[budget]) is not None:
            rows.append(turned(lost, higher, "general"))
        found = decide(subjects.run(), rows)
        wanted = "worse" if budget == "broken" else max(over_prompt, over_base, key=RANK.index)
        assert found.decision == wanted
        assert " the best prompt" in found.reason
        if RANK.index(over_base) > RANK.index(over_prompt):
            assert " the base" in found.reason, "the reason names what decides"
        passes = {
            "off": True,
            "default": wanted != "worse",
            "strict": wanted == "better",
            "custom": budget != "broken",
        }
        assert {level: found.passes(level) for level in passes} == passes
        assert {level: not found.objections(level) for level in passes if level != "off"} == {
            level: passed for level, passed in passes.items() if level != "off"
        }


def test_a_base_without_a_number_leaves_it_open_and_the_reason_says_so() -> None:
    found = decide(subjects.run(), [line(0.2, 0.1, 0.3, versus="prompted"), line(None, None, None)])
    assert (found.decision, found.reason) == (
        "not proven",
        "exact_match +.20 [+.10,+.30] over the best prompt; no difference from the base is known",
    )
    before = line(0.5, 0.4, 0.6, model="prompted", versus="")
    collapsed = decide(subjects.run(), [line(None, None, None, versus="prompted"), line(None, None, None), before])
    assert (collapsed.decision, collapsed.reason) == (
        "worse",
        "exact_match of the tuned model is not a finite number",
    )


def test_no_number_of_rows_is_said_to_settle_what_lies_between_0_and_the_gain_that_is_asked() -> None:
    asked = subjects.run(min_gain=0.05)
    assert decide(asked, [line(0.02, -0.03, 0.07)]).hints == []
    assert decide(asked, [line(-0.02, -0.07, 0.03)]).hints == ["1,900 target rows would settle -.02"]
    assert decide(asked, [line(0.07, 0.02, 0.12)]).hints == ["1,900 target rows would settle +.07"]
