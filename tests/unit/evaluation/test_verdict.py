"""From answers to a decision: measured on real models, decided by the rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluation import subjects
from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.evaluation.baseline import choose_prompt
from tuneforge.evaluation.figures import figure, rows_rounded, standing, with_interval
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.measure import default_evaluators, measure
from tuneforge.evaluation.samples import write_samples
from tuneforge.evaluation.significance import holm
from tuneforge.evaluation.verdict import decide, rows, write_metrics
from tuneforge.evaluator.exact_match import ExactMatch
from tuneforge.evaluator.perplexity import Perplexity
from tuneforge.strategy.clm import Clm

CATALOGUE = {"exact_match": ExactMatch, "perplexity": Perplexity}
EVALUATORS = {"exact_match": ExactMatch(), "perplexity": Perplexity()}


def line(
    value: float | None, low: float | None, high: float | None, role: str = "target", **other: Any
) -> dict[str, Any]:
    row = {"model": "tuned", "versus": "base", "evaluator": "exact_match", "metric": "exact_match", "split": "test",
           "set": role, "role": role, "n": 300, "higher_is_better": True}  # fmt: skip
    return row | {"value": value, "low": low, "high": high} | other


GAIN = line(0.41, 0.36, 0.46, versus="prompted")


@pytest.mark.parametrize(
    ("lines", "decision"),
    [
        ([GAIN], "better"),
        ([line(0, -0.1, 0.1)], "not proven"),
        ([line(0.1, 0.0, 0.2)], "not proven"),
        ([line(-0.1, -0.2, -0.01)], "worse"),
        ([line(-0.1, -0.2, -0.01, higher_is_better=False)], "better"),
        ([line(0.1, 0.05, 0.2, higher_is_better=False)], "worse"),
        ([GAIN, line(-0.03, -0.06, 0.0, "general")], "better"),
        ([GAIN, line(-0.2, -0.3, -0.051, "general")], "worse"),
        ([GAIN, line(-0.2, -0.3, -0.051, "safety")], "worse"),
        ([GAIN, line(0.2, 0.051, 0.3, "general", higher_is_better=False)], "worse"),
        ([line(-0.2, -0.3, -0.1, "general")], "worse"),
        ([line(0.41, None, None)], "not proven"),
        ([GAIN | {"split": "validation"}], "not proven"),
        ([GAIN | {"set": "a"}, line(0, -0.1, 0.1, set="*", versus="prompted")], "not proven"),
        ([line(None, None, None), line(0.5, 0.4, 0.6, model="base", versus="")], "worse"),
        ([], "not proven"),
    ],
)
def test_the_rule(lines: list[dict[str, Any]], decision: str) -> None:
    assert decide(subjects.run(), lines).decision == decision


BEATEN = line(0.2, 0.04, 0.36, versus="prompted")


@pytest.mark.parametrize(
    ("plain", "decision", "said"),
    [
        (line(0.3, 0.2, 0.4), "better", ""),
        (line(0.1, 0.02, 0.2), "better", ""),
        (line(0.03, -0.06, 0.13), "not proven", "; +.03 [-.06,+.13] over the base"),
        (line(-0.1, -0.2, -0.01), "worse", "; -.10 [-.20,-.01] over the base"),
    ],
)
def test_a_prompt_that_does_worse_than_the_plain_one_on_the_test_rows_is_not_enough_to_beat(
    plain: dict[str, Any], decision: str, said: str
) -> None:
    found = decide(subjects.run(), [BEATEN, plain], "a fixed prompt (4-shot)")
    assert found.decision == decision
    assert found.reason == f"exact_match +.20 [+.04,+.36] over a fixed prompt (4-shot){said}"
    if decision == "not proven":
        assert found.hints == ["2,700 target rows would settle +.03"]
        worse = decide(subjects.run(), [line(0.01, -0.07, 0.08, versus="prompted"), line(-0.08, -0.13, -0.03)])
        assert (worse.decision, worse.hints) == ("worse", [])
    asked = decide(subjects.run(against="prompted"), [BEATEN, plain])
    assert (asked.decision, asked.reason) == ("better", "exact_match +.20 [+.04,+.36] over the best prompt")


def test_min_gain_and_the_gates_metric() -> None:
    both = [GAIN, line(-0.2, -0.3, -0.1, evaluator="perplexity", metric="bits_per_byte", higher_is_better=False)]
    assert decide(subjects.run(min_gain=0.4), both).decision == "not proven"
    chosen = decide(subjects.run(metric="perplexity.bits_per_byte"), both)
    assert chosen.primary is not None
    assert chosen.primary["metric"] == "bits_per_byte"
    with pytest.raises(ConfigError, match=r"gate.metric=exact_mach.*Did you mean 'exact_match.exact_match'"):
        decide(subjects.run(metric="exact_mach"), both)


def test_the_reason_reads_like_a_sentence() -> None:
    lines = [GAIN, line(-0.03, -0.06, 0.0, "general"), line(-0.01, -0.04, 0.02, "safety")]
    found = decide(subjects.run(), lines, "the best prompt (4-shot)")
    assert found.reason == "exact_match +.41 [+.36,+.46] over the best prompt (4-shot); 1 budget not settled"
    assert [b.state for b in found.budgets] == ["not settled", "kept"]
    # The interval reaches .03 below; it has to reach .02 below: (.03/.02)² times 300 rows.
    assert found.hints == ["680 general rows would settle -.03 on general"]
    unsure = line(0.03, -0.02, 0.08, p=0.31, p_adjusted=0.62, detectable=0.0715)
    assert decide(subjects.run(), [unsure]).hints == [
        "exact_match against base: p .31 by permutation, p .62 with all target differences together (Holm)",
        "300 target rows can show differences of .07 (80 % power)",
        "840 target rows would settle +.03",
    ]
    slight = line(0.004, -0.01, 0.02, p=1.0, p_adjusted=1.0)
    assert decide(subjects.run(), [slight]).hints[-1] == "3,700 target rows would settle +.004"
    settled = decide(subjects.run(), [GAIN | {"p": 0.00001, "p_adjusted": 0.00012, "detectable": 0.07}])
    corrected = "p .00012 with all target differences together (Holm)"
    assert settled.hints == [f"exact_match against prompted: p below .0001 by permutation, {corrected}"]
    broken = decide(subjects.run(), [GAIN, line(-0.3, -0.35, -0.25, "general")])
    assert broken.reason.endswith("general budget -.05 broken on general: exact_match -.30 [-.35,-.25]")
    assert "no target test set" in decide(subjects.run(), []).reason
    words = decide(subjects.run(), [line(0.4, 0.3, 0.5), line(0.0, -0.1, 0.1, versus="bm25")])
    assert (words.decision, words.reason) == ("not proven", "exact_match +.00 [-.10,+.10] over the baseline bm25")


def test_a_budget_that_cannot_be_broken_is_said() -> None:
    def hints(value: float, low: float, better: bool = True) -> list[str]:
        plain = line(value, low, 0.2, "safety", model="base", versus="", higher_is_better=better)
        kept = line(0.0, -0.01, 0.01, "safety", higher_is_better=better)
        return decide(subjects.run(), [GAIN, plain, kept]).hints

    said = (
        "the safety budget says nothing of safety: the base's exact_match there is .00, so that no more than .05 can be"
    )
    assert hints(0.0, 0.0) == [f"{said} lost"]
    assert hints(0.06, 0.04) == []
    assert hints(0.01, -0.02) == []
    assert hints(0.01, 0.0, better=False) == []


def test_gates() -> None:
    better, unsure = decide(subjects.run(), [GAIN]), decide(subjects.run(), [])
    worse = decide(subjects.run(), [line(-0.1, -0.2, -0.01)])
    assert [v.passes("default") for v in (better, unsure, worse)] == [True, True, False]
    assert [v.passes("strict") for v in (better, unsure, worse)] == [True, False, False]
    assert [v.passes("off") for v in (better, unsure, worse)] == [True, True, True]


def test_figures() -> None:
    assert figure(0.814) == ".81"
    assert figure(-0.001, sign=True) == "+.00"
    assert figure(12.345) == "12.35"
    assert figure(None) == "-"
    assert figure(-78798.812, 2, sign=True) == "-78799"
    assert with_interval(73553.74, 999.5, 180807.5) == "73554 [999.50,180808]"


def deciding(low: float, high: float, higher_is_better: bool = True) -> dict[str, object]:
    primary = {"value": 0.0, "low": low, "high": high, "higher_is_better": higher_is_better}
    return {"decision": "worse", "primary": primary}


def test_a_broken_budget_does_not_make_the_deciding_difference_worse():
    assert standing(deciding(0.1, 0.3)) == "better"
    assert standing(deciding(0.1, 0.3, higher_is_better=False)) == "worse"
    assert standing(deciding(-0.1, 0.3)) == "not proven"
    assert standing(deciding(-0.3, -0.1)) == "worse"
    assert standing({"decision": "worse", "primary": {"value": None}}) == "worse"
    assert standing({"decision": "better", "primary": {}}) == "better"
    assert with_interval(0.4, 0.36, 0.44) == ".40 [.36,.44]"
    assert with_interval(-0.0041, -0.0052, -0.003, sign=True) == "-.004 [-.005,-.003]"
    assert rows_rounded(873.2) == "880"


def test_on_which_side_of_0_a_difference_lies_is_seen() -> None:
    assert with_interval(-0.0129, -0.0251, -0.0007, sign=True) == "-.0129 [-.0251,-.0007]"
    assert with_interval(0.02, 0.0, 0.04, sign=True) == "+.02 [+.00,+.04]"
    assert with_interval(0.02, 0.0031, 0.04, sign=True) == "+.020 [+.003,+.040]"
    assert with_interval(0.02, 0.0061, 0.04, sign=True) == "+.02 [+.01,+.04]"
    assert with_interval(0.3, -1e-7, 0.6, sign=True) == "+.30 [+.00,+.60]", "too little to be seen"
    assert with_interval(0.02, 0.0031, 0.04) == ".02 [.00,.04]"
    unsure = line(-0.0041, -0.018, 0.011, detectable=0.02)
    assert decide(subjects.run(), [unsure]).hints[-1].endswith("would settle -.004")


@pytest.fixture(scope="module")
def tokens() -> Any:
    return subjects.tokenizer()


@pytest.fixture(scope="module")
def base(tokens: Any) -> HFLM:
    return HFLM("base", subjects.llama(context=512), tokens)


@pytest.mark.parametrize("model", ["itself", "copy"])
def test_an_identical_model_is_not_proven(base: HFLM, tmp_path: Path, model: str) -> None:
    run = subjects.run()
    tuned = HFLM("tuned", base.model if model == "itself" else subjects.llama(context=512), base.tokenizer)
    sets = [subjects.held(subjects.questions(30)), subjects.held(subjects.questions(30, 5), "other", role="general")]
    context = subjects.context(run, tmp_path)
    measured = measure(run, {"base": base, "tuned": tuned}, sets, EVALUATORS, context)
    verdict = decide(run, rows(run, measured))
    assert verdict.decision == "not proven"
    assert all(row["value"] == 0 and row["low"] <= 0 <= row["high"] for row in rows(run, measured) if row["versus"])


def test_a_taught_model_is_better_and_everything_is_written(base: HFLM, tmp_path: Path) -> None:
    run = subjects.run()
    run.baseline.rows, run.baseline.shots = 10, [2]
    train = subjects.questions(30, seed=1)
    sets = [
        subjects.held(subjects.questions(40, seed=2), "one"),
        subjects.held(subjects.questions(20, seed=3), "two"),
        subjects.held([subjects.row(prompt=f"g{i}", completion="never") for i in range(20)], "rest", role="general"),
    ]
    validation = subjects.held(subjects.questions(12, seed=4), split="validation")
    context = subjects.context(run, tmp_path)
    choice = choose_prompt(run, base, EVALUATORS, [*sets, validation], train, context)
    assert choice.scores.keys() == {"zero-shot", "2-shot"}
    measured = measure(run, {"base": base, "prompted": choice.lm}, sets, EVALUATORS, context)
    taught = HFLM("tuned", subjects.taught(subjects.llama(context=512), base.tokenizer, train), base.tokenizer)
    measured = measured.merge(measure(run, {"tuned": taught}, sets, EVALUATORS, context))
    lines = rows(run, measured)
    verdict = decide(run, lines, choice.name)
    assert verdict.decision == "better"
    assert verdict.primary is not None
    assert (verdict.primary["set"], verdict.primary["n"]) == ("*", 60)

    places = {(r["set"], r["evaluator"], r["metric"], r["model"], r["versus"]) for r in lines}
    assert len(places) == len(lines)
    assert ("rest", "exact_match", "exact_match", "tuned", "base") in places
    assert not any(r["set"] == "rest" and "prompted" in (r["model"], r["versus"]) for r in lines)
    assert all((r["p"] is None, r["detectable"] is None) == (not r["versus"],) * 2 for r in lines)
    for versus in ("prompted", "base"):
        of = [r for r in lines if r["versus"] == versus]
        family = [r for r in of if r["role"] == "target"]
        assert [r["p_adjusted"] for r in family] == holm([r["p"] for r in family])
        assert all(r["p_adjusted"] is None for r in of if r["role"] != "target")
    protocols = {r["protocol"] for r in lines if (r["set"], r["evaluator"]) == ("one", "exact_match")}
    assert len(protocols) == 1

    write_metrics(tmp_path, lines, verdict, measured.variants)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["verdict"]["decision"] == "better"
    assert written["rows"] == lines
    assert written["variants"]["base"]["first_prompt"].endswith("<|assistant|>")
    samples = [json.loads(s) for s in write_samples(tmp_path, measured).read_text().splitlines()]
    assert len(samples) == 80
    assert samples[0]["answers"].keys() == {"base", "prompted", "tuned"}
    assert samples[0]["scores"]["tuned"]["exact_match.exact_match"] in (0, 1)
    assert samples[0]["reference"] == "ok"


def test_the_prompt_is_never_chosen_on_test_rows(base: HFLM, tmp_path: Path) -> None:
    run = subjects.run()
    run.baseline.rows, run.baseline.shots = 5, [2]
    context = subjects.context(run, tmp_path)
    train, test = subjects.questions(20, seed=1), subjects.held(subjects.questions(10, seed=2))
    fixed = choose_prompt(run, base, EVALUATORS, [test], [*test.rows, *train], context)
    assert (fixed.name, fixed.scores) == ("2-shot", {})
    assert "no validation rows" in context.notes[-1]["text"]
    assert not {row.id for row in fixed.lm.asking.examples} & {row.id for row in test.rows}
    again = choose_prompt(run, base, EVALUATORS, [test], [*test.rows, *train], context)
    assert again.lm.asking.examples == fixed.lm.asking.examples
    asks_nothing = choose_prompt(subjects.run(Clm()), base, EVALUATORS, [test], train, context)
    assert asks_nothing.lm is base


def test_a_wrong_gate_metric_is_refused_before_training(base: HFLM, tmp_path: Path) -> None:
    run = subjects.run(metric="exact_mach")
    with pytest.raises(ConfigError, match=r"gate.metric=exact_mach: not reported by .*Did you mean"):
        choose_prompt(run, base, EVALUATORS, [], [], subjects.context(run, tmp_path))
    run.gate.metric = "bits_per_byte"
    assert choose_prompt(run, base, EVALUATORS, [], [], subjects.context(run, tmp_path)).lm is base


def test_shots_of_each_source_are_tried(base: HFLM, tmp_path: Path) -> None:
    from dataclasses import replace

    run = subjects.run()
    run.baseline.rows, run.baseline.shots = 3, [1]
    replay = [replace(row, source="data.replay") for row in subjects.questions(30, seed=7)]
    sets = [subjects.held(subjects.questions(3, seed=4), split="validation")]
    found = choose_prompt(
        run, base, EVALUATORS, sets, [*replay, *subjects.questions(9)], subjects.context(run, tmp_path)
    )
    assert list(found.scores) == ["zero-shot", "1-shot replay", "1-shot job"]


def test_default_evaluators_suit_the_rows() -> None:
    run = subjects.run()
    short, long = subjects.held(subjects.questions(3)), [subjects.row(prompt="a", completion="word " * 100)]
    chosen, notes = default_evaluators(run, [short, subjects.held(long, "long")], CATALOGUE)
    assert list(chosen) == ["exact_match", "perplexity"]
    assert chosen["exact_match"].sets == ["job"]
    assert notes == [
        "exact_match is left out on test.long: the median reference has 100 words, too long to match exactly"
    ]
    assert list(default_evaluators(run, [subjects.held(long)], CATALOGUE)[0]) == ["perplexity"]
    run.evaluator = {"mine": ExactMatch()}
    assert default_evaluators(run, [], CATALOGUE) == (run.evaluator, [])


def test_sets_are_named_rightly(base: HFLM, tmp_path: Path) -> None:
    run = subjects.run()
    context = subjects.context(run, tmp_path)
    with pytest.raises(ConfigError, match=r"evaluator.x.sets: no set 'jobs' \(job\).*Did you mean 'job'"):
        measure(run, {"base": base}, [subjects.held(subjects.questions(1))], {"x": ExactMatch(sets=["jobs"])}, context)
    mixed = subjects.held([subjects.row(text="a"), *subjects.questions(2)])
    measured = measure(run, {"base": base}, [mixed], {"exact_match": ExactMatch()}, context)
    assert context.notes[0]["rows"] == 1
    assert [r["n"] for r in rows(run, measured)] == [2]


def test_an_evaluator_that_loses_rows_is_named(base: HFLM, tmp_path: Path) -> None:
    class Short(ExactMatch):
        def measure(self, lm: Any, rows: Any, context: Any, versus: Any = None) -> Any:
            return list(super().measure(lm, rows, context))[1:]

    run = subjects.run()
    sets = [subjects.held(subjects.questions(2))]
    with pytest.raises(TuneForgeError, match="evaluator short gave 1 results for 2 rows"):
        measure(run, {"base": base}, sets, {"short": Short()}, subjects.context(run, tmp_path))
