"""What the gate asks: rules about single numbers and slices, an earlier run, and the reason in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.evaluation import subjects
from tests.unit.evaluation.test_verdict import EVALUATORS, GAIN, line
from tuneforge.components import LM
from tuneforge.composition import compose
from tuneforge.errors import ConfigError
from tuneforge.evaluation import earlier, gate_rules
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.measure import Cell, Measured, Place, measure
from tuneforge.evaluation.samples import write_samples
from tuneforge.evaluation.verdict import check_opponent, decide, deciding, rows, write_metrics

LOSS = line(-0.04, -0.06, -0.02, "general", set="news")


def piece(value: float, low: float, high: float, name: str = "long") -> dict[str, Any]:
    return line(value, low, high, set="job", role="target") | {"by": "length", "name": name}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("exact_match>=0.05", ("exact_match", "", "", 0.05)),
        (" rouge.rougeL@news >= -.02 ", ("rouge.rougeL", "news", "", -0.02)),
        ("exact_match@*/length:over 20 words>=-0.1", ("exact_match", "*", "length:over 20 words", -0.1)),
        ("exact_match@job/label:*>=0", ("exact_match", "job", "label:*", 0.0)),
    ],
)
def test_rules_are_read(text: str, rule: tuple[str, str, str, float]) -> None:
    assert gate_rules.parsed(text)[1:] == rule


@pytest.mark.parametrize(
    "text", ["exact_match", "exact_match>0.05", "exact_match<=0.1", "exact_match>=lots", "@news>=0", "a@b/long>=0", ""]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"gate\.require: '"):
        gate_rules.parsed(text)


@pytest.mark.parametrize(
    ("require", "allow", "level", "passes"),
    [
        (["exact_match>=0.3"], [], "default", True),
        (["exact_match>=0.4"], [], "default", False),
        (["exact_match>=0.4"], [], "off", True),
        (["exact_match>=0.3"], ["exact_match@news>=-0.05"], "custom", True),
        ([], ["exact_match@news>=-0.01"], "custom", False),
        ([], ["exact_match@news>=-0.01"], "default", False),
        ([], ["exact_match@news>=-0.02"], "strict", True),
        (["exact_match@*>=-0.1"], [], "custom", True),
        (["exact_match@*>=0"], [], "custom", False),
        (["exact_match@job/length:*>=0"], [], "custom", False),
        ([], ["exact_match@job/length:*>=-0.1"], "custom", True),
        (["exact_match@job/label:*>=0"], [], "custom", False),
        ([], ["exact_match@job/label:*>=0"], "custom", True),
    ],
)
def test_gates_of_ones_own(require: list[str], allow: list[str], level: str, passes: bool) -> None:
    run = subjects.run(require=require, allow=allow)
    slices = [piece(0.5, 0.4, 0.6, "short"), piece(-0.05, -0.2, 0.1)]
    assert decide(run, [GAIN, LOSS], "", slices).passes(level) is passes


def test_a_broken_allowed_loss_is_worse_and_the_reason_is_one_line() -> None:
    run = subjects.run(allow=["exact_match@news>=-0.01"], require=["exact_match>=0.4"])
    found = decide(run, [GAIN, LOSS])
    assert found.decision == "worse"
    broken = "gate.allow exact_match@news>=-0.01 broken: -.04 [-.06,-.02] on news"
    unmet = "gate.require exact_match>=0.4 not met: +.41 [+.36,+.46] on target"
    first, second = found.objections("default")
    assert first.startswith("the verdict is worse: exact_match +.41")
    assert first.endswith(f"; {broken}; 1 required gain not met")
    assert second == unmet
    assert found.objections("custom") == [unmet, broken]


def test_a_rule_about_many_slices_names_a_few() -> None:
    slices = [piece(0.1, 0.0, 0.2, f"part {i}") for i in range(6)]
    found = decide(subjects.run(require=["exact_match@job/length:*>=0.1"]), [GAIN], "", slices)
    (line_,) = found.objections("default")
    assert line_.startswith(
        "gate.require exact_match@job/length:*>=0.1 not met: +.10 [+.00,+.20] on job/length:part 0, "
    )
    assert line_.endswith(" on job/length:part 2 and 3 more")
    assert found.reason.endswith("; 6 required gains not met")


def test_an_allowed_loss_that_nothing_was_measured_for_is_said() -> None:
    run = subjects.run(allow=["exact_match@job/label:*>=0"])
    found = decide(run, [GAIN])
    assert found.reason.endswith("; gate.allow exact_match@job/label:*>=0 not measured: the rows make no slices")
    assert found.decision == "better"
    told = decide(run, [GAIN], "", [piece(0.1, 0.0, 0.2)])
    assert told.reason.endswith(" not measured: the rows make no two slices by label, only by length")
    named = decide(subjects.run(allow=["exact_match@job/length:shrt>=0"]), [GAIN], "", [piece(0.1, 0.0, 0.2, "short")])
    assert named.reason.endswith(" not measured: the slices by length are short")


def test_slices_are_made_of_every_metric_whose_slices_a_rule_names() -> None:
    other = line(0.2, 0.1, 0.3, metric="bits_per_byte", evaluator="perplexity", higher_is_better=False)
    lines = [GAIN, other, LOSS]
    plain = [row["metric"] for row in deciding(subjects.run(), lines)]
    asked = deciding(subjects.run(allow=["bits_per_byte@target/length:*>=-0.1"]), lines)
    assert plain == ["exact_match", "exact_match"]
    assert [row["metric"] for row in asked] == ["exact_match", "exact_match", "bits_per_byte"]


def test_lower_is_better_turns_a_rule() -> None:
    rise = line(0.2, 0.1, 0.3, metric="bits_per_byte", evaluator="perplexity", higher_is_better=False)
    run = subjects.run(allow=["perplexity.bits_per_byte@target>=-0.05"])
    assert [r.state for r in decide(run, [GAIN, rise]).rules] == ["broken"]
    run = subjects.run(allow=["perplexity.bits_per_byte@target>=-0.2"])
    assert [r.state for r in decide(run, [GAIN, rise]).rules] == ["not settled"]


def test_the_gain_is_counted_from_whom_the_gate_says() -> None:
    lines = [GAIN, line(0.8, 0.7, 0.9), line(-0.1, -0.2, -0.05, versus="earlier")]
    assert decide(subjects.run(), lines).decision == "better"
    assert decide(subjects.run(against="base"), lines).primary["value"] == 0.8  # type: ignore[index]
    last = decide(subjects.run(against="outputs/v1"), lines)
    assert (last.decision, last.reason) == ("worse", "exact_match -.10 [-.20,-.05] over the earlier run outputs/v1")
    plain = decide(subjects.run(against="prompted"), [line(0.8, 0.7, 0.9)])
    assert plain.primary is not None
    assert plain.primary["versus"] == "base"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["gate.require=[exact_match]"], "gate.require: 'exact_match' is no rule"),
        (
            ["gate.budget.safety=-0.1"],
            "gate.budget.safety=-0.1: must be 0 or more; a gain on safety sets is asked with",
        ),
        (["gate.against=outputs/none"], "gate.against=outputs/none: there is no such run directory; base and prompted"),
        (
            ["gate.against=bsae"],
            "gate.against=bsae: there is no such run directory; base and prompted are the other choices. Did you mean",
        ),
        (["gate.require='rouge>=0'"], """gate.require=rouge>=0: is a list; write 'gate.require=\\["rouge>=0"\\]'"""),
        (["gate.min_gain=nan"], "gate.min_gain=nan: must be 0 or more"),
        (["slices.fewest=1"], "slices.fewest=1: must be 2 or more"),
    ],
)
def test_bad_gates_are_refused_before_anything_is_read(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        compose(overrides)


def test_rules_about_what_is_not_measured_are_refused_before_training() -> None:
    held = subjects.held([])
    for require, message in (
        (["rouge>=0"], "no metric 'rouge'"),
        (["exact_match@jop>=0"], "no test set 'jop'.*'job'"),
        (["exact_match@job/lenght:*>=0"], r"not told apart by 'lenght' \(label, length, task, topic;.*'length'"),
    ):
        with pytest.raises(ConfigError, match=message):
            gate_rules.check(subjects.run(require=require), EVALUATORS, [held])
    with pytest.raises(ConfigError, match=r"gate\.metric=exact_mach: no such metric \(exact_match\.exact_match, "):
        gate_rules.check(subjects.run(metric="exact_mach"), EVALUATORS, [held])
    with pytest.raises(ConfigError, match=r"gate\.against=base: a new head has no base; there is majority"):
        check_opponent(subjects.run(against="base"), Measured(variants={"majority": {}}))


def test_rules_may_speak_of_kept_columns_and_of_sets_that_an_evaluator_brings() -> None:
    kept = subjects.held([replace(subjects.row(prompt="q", completion="a"), fields={"region": "north"})])
    for rule in ("exact_match@job/region:north>=0", "exact_match@job/*:*>=0", "exact_match@exact_match.task>=0"):
        gate_rules.check(subjects.run(allow=[rule]), EVALUATORS, [kept])
    run = subjects.run()
    run.slices.by = ["regoin"]
    with pytest.raises(ConfigError, match=r"slices\.by: test rows are not told apart by 'regoin' .*'region'\?"):
        gate_rules.check(run, EVALUATORS, [kept])
    run = subjects.run(allow=["exact_match@job/length:*>=0"])
    run.slices.by = ["region"]
    with pytest.raises(ConfigError, match=r"not told apart by 'length' \(region;"):
        gate_rules.check(run, EVALUATORS, [kept])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run whose tuned model was measured on twelve rows."""
    folder = tmp_path_factory.mktemp("v1")
    made = measured("tuned", 1, folder)
    found = rows(subjects.run(), made)
    write_metrics(folder, found, decide(subjects.run(), found), made.variants)
    write_samples(folder, made)
    return folder


def measured(variant: str, seed: int, folder: Path, n: int = 12) -> Measured:
    lm: LM = HFLM(variant, subjects.llama(seed), subjects.tokenizer())
    sets = [subjects.held(subjects.questions(n))]
    return measure(subjects.run(), {variant: lm}, sets, EVALUATORS, subjects.context(subjects.run(), folder))


def test_an_earlier_run_is_compared_row_by_row(finished: Path, tmp_path: Path) -> None:
    both = earlier.joined(measured("base", 0, tmp_path), str(finished)).merge(measured("tuned", 1, tmp_path))
    found = {(r["metric"], r["versus"]): r for r in rows(subjects.run(), both) if r["model"] == "tuned"}
    again = found["bits_per_byte", "earlier"]
    assert (again["value"], again["low"], again["high"]) == (0.0, 0.0, 0.0)
    assert found["bits_per_byte", "base"]["value"] != 0.0
    assert decide(subjects.run(against=str(finished)), rows(subjects.run(), both)).decision == "not proven"
    assert both.answers["earlier", next(iter(both.rows.values()))[0].id].text is not None


def test_a_row_that_stands_twice_keeps_both_of_its_scores(tmp_path: Path) -> None:
    # One question with two kept columns, as with two sets of tests: one id, and other numbers.
    row = subjects.row(prompt="q", completion="ok")
    place, evaluators = Place("exact_match", "test", "job"), {"exact_match": EVALUATORS["exact_match"]}
    cell = Cell({"exact_match": np.array([1.0, np.nan, 0.0])}, ["a", "b", "c"])
    twice = [replace(row, fields={"n": i}) for i in range(2)] + [subjects.row(prompt="r", completion="ok")]
    sets = {("test", "job"): subjects.held(twice)}
    both = Measured(evaluators, sets, {place: twice}, {(place, "tuned"): cell})
    found = rows(subjects.run(), both)
    write_metrics(tmp_path, found, decide(subjects.run(), found), {})
    lines = write_samples(tmp_path, both).read_text().splitlines()
    assert [json.loads(one)["scores"]["tuned"]["exact_match.exact_match"] for one in lines] == [1.0, None, 0.0]
    again = earlier.joined(both, str(tmp_path)).cells[place, "earlier"].stats["exact_match"]
    assert np.array_equal(again, cell.stats["exact_match"], equal_nan=True)


def test_an_earlier_run_of_another_protocol_is_refused(finished: Path, tmp_path: Path) -> None:
    other = r"exact_match on job has another protocol there .* \(12 there and 11 here, of which 11 are the same\)"
    with pytest.raises(ConfigError, match=other):
        earlier.joined(measured("base", 0, tmp_path, n=11), str(finished))


def test_damaged_and_empty_runs_are_refused(finished: Path, tmp_path: Path) -> None:
    cases = (
        ("metrics.json", "{", "metrics.json is damaged"),
        ("metrics.json", json.dumps({"rows": []}), "no numbers of a tuned model"),
        ("metrics.json", "[1, 2]", "is not one that a run writes"),
        ("metrics.json", json.dumps({"rows": [{"a": 1}]}), "metrics.json is not one that a run writes"),
        ("samples.jsonl", "{}x\n", "samples.jsonl:1 is damaged"),
        ("samples.jsonl", "", "has no exact_match.exact_match of job.jsonl:1"),
    )
    for case, (name, content, message) in enumerate(cases):
        folder = tmp_path / str(case)
        folder.mkdir(parents=True)
        for file in ("metrics.json", "samples.jsonl"):
            (folder / file).write_text((finished / file).read_text() if file != name else content)
        with pytest.raises(ConfigError, match=message):
            earlier.joined(measured("base", 0, tmp_path, n=12), str(folder))
