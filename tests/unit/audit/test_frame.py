"""The frame: every check answers, is timed, can be skipped, refuses where it is asked, and is read again."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.unit.audit.conftest import MakeSubject
from tests.unit.audit.prose import paragraph, question
from tuneforge import execute, plugins
from tuneforge.audit import checks, outcome
from tuneforge.audit.checks import CHECKS, Audited
from tuneforge.audit.finding import Finding, Severity, Shown
from tuneforge.audit.reading import exchanges, shown
from tuneforge.composition import compose_config
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError, DataRefused
from tuneforge.preparation.prepare import Prepared
from tuneforge.preparation.view import View
from tuneforge.rows import Row
from tuneforge.strategy.classification import Classification
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.contrastive import Contrastive
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.instruction import Instruction
from tuneforge.strategy.token_classification import TokenClassification

CLEAN = [{"prompt": question(n), "completion": paragraph(n)} for n in range(120)]
KINDS = {
    "documents": (Clm(), [{"text": paragraph(n)} for n in range(60)]),
    "classes": (Classification(), [{"text": paragraph(n, 1), "label": "ab"[n % 2]} for n in range(60)]),
    "tags": (TokenClassification(), [{"tokens": ["A", "b"], "tags": ["B-x", "O"]}] * 30),
    "pairs": (Contrastive(), [{"anchor": question(n), "positive": paragraph(n, 1)} for n in range(30)]),
    "one": (Dpo(), [{"prompt": "a", "chosen": "b", "rejected": "c"}]),
    "none": (Instruction(), []),
}


def test_components_that_actions_name_are_installed() -> None:
    code = "".join(f.read_text(encoding="utf-8") for f in Path(checks.__file__).parent.glob("*.py"))
    named = {f"{group}/{name}" for group, name in re.findall(r"`\+?(transform|strategy)=(\w+)`", code)}
    assert {"transform/length", "strategy/clm"} <= named
    assert named - plugins.load().components.keys() == set()


def test_each_check_is_a_module_of_its_name() -> None:
    assert len(set(CHECKS)) == len(CHECKS)
    assert all(callable(import_module(f"tuneforge.audit.{name}").check) for name in CHECKS)


def test_clean_rows_are_not_warned_of(make_subject: MakeSubject) -> None:
    found = checks.audit(make_subject(CLEAN)).findings
    assert [f for f in found if f.severity in ("warning", "error")] == []
    assert {f.check for f in found} == set(CHECKS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_says_something_of_every_kind_of_row(kind: str, make_subject: MakeSubject) -> None:
    strategy, rows = KINDS[kind]
    audited = checks.audit(make_subject(rows, strategy))
    assert {f.check for f in audited.findings} == set(CHECKS)
    assert not [f for f in audited.findings if f.severity == "error"]
    json.dumps([f.numbers for f in audited.findings], allow_nan=False)


def test_skipped_checks_are_not_made_and_the_others_are_timed(make_subject: MakeSubject) -> None:
    subject = make_subject(CLEAN)
    subject.run.audit.skip = ["bias", "fit"]
    audited = checks.audit(subject)
    assert set(audited.seconds) == set(CHECKS) - {"bias", "fit"} == {f.check for f in audited.findings}


def test_large_sets_are_sampled_and_it_is_said(make_subject: MakeSubject) -> None:
    subject = make_subject(CLEAN)
    subject.run.audit.sample = 100
    assert len(subject.sample) == len(subject.sampled_exchanges) == 100
    assert [row.line for row in subject.sample] == sorted(row.line for row in subject.sample)
    said = [f.text for f in checks.audit(subject).findings if f.check == "diversity"]
    assert any("in a sample of 100 of 120 rows" in text for text in said)


def test_findings_are_written_read_and_refuse_by_name_or_severity(tmp_path: Path) -> None:
    found = [
        Finding(check="fit", severity=Severity.warning, text="wrong", count=1, of=2, action="Mend it.",
                rows=[Shown("a.jsonl:1", "text")], bars=[("x", 1.0)]),
        Finding(check="bias", severity=Severity.error, text="bad"),
        Finding(check="formats", severity=Severity.info, text="fine"),
    ]  # fmt: skip
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "audit.json").write_text('{"sources": []}')
    assert outcome.read(tmp_path) is None
    outcome.write(Audited(found, {"fit": 0.1}), tmp_path)
    again = outcome.read(tmp_path)
    assert again is not None
    assert again.seconds == {"fit": 0.1}
    assert [(f.check, f.severity, f.text, list(f.rows)) for f in again.findings] == [
        (f.check, f.severity, f.text, list(f.rows)) for f in found
    ]
    named = {tuple(names): [f.check for f in outcome.refusing(again.findings, names)] for names in
             (["fit"], ["error"], ["warning"], ["formats"], [])}  # fmt: skip
    assert list(named.values()) == [["fit"], ["bias"], ["fit"], [], []]
    with pytest.raises(DataRefused, match=r"audit\.fail_on=\[fit\]\):\n  fit: wrong\n    a.jsonl:1  text\n    Mend it"):
        outcome.refuse(again.findings, ["fit"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("audit.fail_on=[leakge]", r"audit.fail_on: no check 'leakge' .*Did you mean 'leakage'"),
        ("audit.fail_on=[info]", r"audit.fail_on: no check 'info' \("),
        ("audit.skip=[lenghts]", r"audit.skip: no check 'lenghts' .*Did you mean 'lengths'"),
        ("audit.skip=[error]", r"audit.skip: no check 'error'"),
        ("audit.sample=0", r"audit.sample=0: must be 1 or more"),
        ("audit.preview=-1", r"audit.preview=-1: must be 0 or more"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_read(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compose_config([override])


def test_what_is_asked_and_answered_follows_the_strategy() -> None:
    talk = [{"role": r, "content": c} for r, c in (("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"))]
    talk.append({"role": "assistant", "content": "d"})
    row = Row(columns={"messages": talk})
    assert [(e.asked, e.answer, e.opening) for e in exchanges(row, "messages")] == [("a", "b", True), ("c", "d", False)]
    assert [(e.asked, e.answer) for e in exchanges(row, "completion")] == [("c", "d")]
    pair = Row(columns={"prompt": "p", "chosen": "good", "rejected": "bad", "completion": "given"})
    assert [e.answer for e in exchanges(pair, "preference")] == ["good"]
    assert [e.answer for e in exchanges(pair, "completion")] == ["given"]
    assert list(exchanges(Row(columns={"text": "t"}), "text")) == []


def test_rows_to_look_at_are_ten_short_lines() -> None:
    found = shown((Row(columns={}, file="f", line=n), "word \n" * 100) for n in range(30))
    assert len(found) == 10
    assert found[0].place == "f:0"
    assert len(found[0].text) == 160
    assert "\n" not in found[0].text


def test_a_resumed_run_keeps_its_findings_and_is_refused_again(make_subject: MakeSubject, tmp_path: Path) -> None:
    subject = make_subject(CLEAN)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "audit.json").write_text("{}")
    context = RunContext(subject.run, tmp_path)
    earlier = Audited([Finding(check="fit", severity=Severity.error, text="from before")], {"fit": 0.5})
    prepared = Prepared(View(subject.train, range(len(CLEAN))), [], [], [], [])
    execute.audit(subject.run, prepared, context, earlier)
    again = outcome.read(tmp_path)
    assert again is not None
    assert ([f.text for f in again.findings], again.seconds) == (["from before"], {"fit": 0.5})
    subject.run.audit.fail_on = ["fit"]
    with pytest.raises(DataRefused, match="from before"):
        execute.audit(subject.run, prepared, context, earlier)
