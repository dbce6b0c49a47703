"""Would more data help: each of the four answers, and the slices behind one of them."""

from __future__ import annotations

import pytest

from tuneforge.evaluation.data_verdict import decide
from tuneforge.evaluation.learning_curve import Curve, Point, fit
from tuneforge.evaluation.slices import Slice, slices

STEEP = [0.2, 0.4, 0.6, 0.8]
FLAT = [0.8, 0.801, 0.799, 0.8]
ROWS = [500, 1000, 2000, 4000]


def curve(values: list[float], half: float, better: bool = True) -> Curve:
    return fit([Point(n, v, v - half, v + half) for n, v in zip(ROWS, values, strict=True)], better)


def piece(weak: bool, thin: bool) -> Slice:
    return Slice("refunds", 40, 0.3, 0.2, 0.4, 0.2, 0.05 if thin else 0.2, weak, thin, "Where is my money?")


@pytest.mark.parametrize(
    ("values", "half", "found", "target", "decision"),
    [
        (STEEP, 0.02, [], None, "more of the same"),
        (STEEP, 0.02, [piece(True, True)], 0.5, "more of the same"),
        (FLAT, 0.002, [], None, "enough"),
        (FLAT, 0.002, [], 0.75, "enough"),
        (FLAT, 0.002, [], 0.9, "other data"),
        (FLAT, 0.002, [piece(True, True)], None, "other data"),
        (FLAT, 0.002, [piece(True, False)], None, "enough"),
        (FLAT, 0.002, [piece(False, True)], None, "enough"),
        (FLAT, 0.1, [], None, "not settled"),
    ],
)
def test_answers(values: list[float], half: float, found: list[Slice], target: float | None, decision: str) -> None:
    said, text = decide(curve(values, half), found, 0.01, target, "exact_match")
    assert said == decision
    assert "exact_match from 4,000 to 8,000 rows" in text
    assert ("refunds (.30, n=40)" in text) == (said == "other data" and bool(found))


def test_a_loss_that_falls_is_a_gain() -> None:
    said, text = decide(curve([1.0, 0.8, 0.6, 0.4], 0.01, better=False), [], 0.01, None, "bits_per_byte")
    assert said == "more of the same"
    assert "rows: -." in text


def sample(topic: str, number: int, right: bool) -> tuple[dict[str, str], float]:
    return {"prompt": f"{topic} question number {number}", "reference": f"answer {topic} {number}"}, float(right)


def test_topics_that_fail_and_are_hardly_trained_are_named() -> None:
    rows = [sample("refund money card", n, n % 10 == 0) for n in range(40)]
    rows += [sample("garden plant flower", n, n % 10 != 0) for n in range(60)]
    train = [(f"garden plant flower question {n}", "x") for n in range(95)]
    train += [(f"refund money card question {n}", "x") for n in range(5)]
    found = slices([s for s, _ in rows], [score for _, score in rows], train)
    assert len(found) == 2
    first, second = found
    assert (first.n, first.value, first.weak, first.thin) == (40, 0.1, True, True)
    assert first.train_share == pytest.approx(0.05)
    assert "refund" in first.name
    assert first.example.startswith("refund money card question")
    assert (second.weak, second.thin) == (False, False)


def test_classes_are_their_own_slices_and_few_rows_are_none() -> None:
    rows = [({"prompt": f"t{n}", "reference": "yes"}, 1.0) for n in range(30)]
    rows += [({"prompt": f"u{n}", "reference": "no"}, 0.0) for n in range(30)]
    rows += [({"prompt": f"v{n}", "reference": "maybe"}, 0.0) for n in range(5)]
    found = slices([s for s, _ in rows], [score for _, score in rows], [("a", "yes")] * 9 + [("b", "no")])
    assert [(s.name, s.n, s.weak, s.thin) for s in found] == [("no", 30, True, True), ("yes", 30, False, False)]


def test_prompts_without_a_word_are_one_slice() -> None:
    rows = [({"prompt": "1 + 1", "reference": str(n)}, float(n % 2)) for n in range(20)]
    (one,) = slices([s for s, _ in rows], [score for _, score in rows], [("2 + 2", "4")])
    assert (one.name, one.n, one.thin) == ("all rows", 20, False)
