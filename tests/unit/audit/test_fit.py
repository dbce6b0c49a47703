"""Data that a strategy can use and that is yet the wrong kind."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy.spatial.distance import jensenshannon

from tests.unit.audit.conftest import MakeSubject
from tests.unit.audit.prose import paragraph, question, sentence
from tuneforge import cli
from tuneforge.audit.distance import divergence
from tuneforge.audit.fit import alike, check
from tuneforge.data.share import Share
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.instruction import Instruction

PAGE = [paragraph(n, 14) for n in range(120)]
REPEATED = [{"prompt": " ".join(text.split()[:5]), "completion": text} for text in PAGE]
CUT = [{"prompt": " ".join(t.split()[:65]), "completion": " ".join(t.split()[65:])} for t in PAGE]
BARE = [{"prompt": "document", "completion": text} for text in PAGE]
REQUESTS = [{"prompt": f"Write about {sentence(n, 4)}", "completion": text} for n, text in enumerate(PAGE)]


def severities(subject: Any) -> set[str]:
    return {str(f.severity) for f in check(subject)}


@pytest.mark.parametrize("rows", [REPEATED, BARE], ids=["continued", "one prompt for all"])
def test_documents_as_answers_are_an_error(rows: list[dict[str, Any]], make_subject: MakeSubject) -> None:
    for strategy in (None, Instruction()):
        found = next(iter(check(make_subject(rows, strategy))))
        assert (found.severity, found.count, found.of, len(found.rows)) == ("error", 120, 120, 10)
        assert "strategy=clm" in found.action


def test_some_documents_warn_and_requests_do_not(make_subject: MakeSubject) -> None:
    some = next(iter(check(make_subject(REPEATED[:30] + REQUESTS[30:]))))
    assert (some.severity, some.count, some.of) == ("warning", 30, 120)
    assert severities(make_subject(REQUESTS)) == {"ok"}
    assert severities(make_subject([{"prompt": r["prompt"] + "?", "completion": r["completion"]} for r in CUT])) == {
        "ok"
    }


def test_texts_cut_in_two_are_found(make_subject: MakeSubject) -> None:
    cut = [r for r in CUT if r["prompt"][-1].isalpha() and r["completion"][0].islower()]
    found = next(iter(check(make_subject(cut))))
    assert (found.severity, found.count) == ("error", len(cut))


def test_titles_in_other_languages_are_not_judged(make_subject: MakeSubject) -> None:
    letter = "Der Fluss ist nicht weit und die Brücke auf dem Land. " * 9
    rows = [{"prompt": f"Schreibe einen Brief {n}", "completion": letter} for n in range(60)]
    assert severities(make_subject(rows)) == {"ok"}


def test_answers_of_one_word_are_classes(make_subject: MakeSubject) -> None:
    rows = [{"prompt": question(n), "completion": ("yes", "no", "maybe")[n % 3]} for n in range(100)]
    found = [f for f in check(make_subject(rows)) if f.severity == "info"]
    assert ["one of 3 words (yes 34, no 33, maybe 33)" in f.text for f in found] == [True]


def pair(n: int, chosen: int, rejected: int) -> dict[str, str]:
    return {"prompt": question(n), "chosen": paragraph(n, chosen), "rejected": paragraph(n + 500, rejected)}


def pairs(longer: int, shorter: int, equal: int = 0) -> list[dict[str, str]]:
    rows = [pair(n, 3, 1) for n in range(longer)] + [pair(n, 1, 3) for n in range(shorter)]
    return rows + [pair(n, 2, 2) | {"rejected": paragraph(n, 2).upper()} for n in range(equal)]


def test_preferences_that_length_explains_warn(make_subject: MakeSubject) -> None:
    found = list(check(make_subject(pairs(90, 10), Dpo())))
    biased = [f for f in found if f.severity == "warning"]
    assert [(f.count, f.of) for f in biased] == [(90, 100)]
    assert "90% [83%, 94%]): length alone tells 90%" in biased[0].text
    assert severities(make_subject(pairs(55, 45), Dpo())) == {"ok"}
    assert severities(make_subject(pairs(8, 92), Dpo())) == {"ok", "warning"}


def test_pairs_that_are_nearly_equal_warn(make_subject: MakeSubject) -> None:
    found = [f for f in check(make_subject(pairs(40, 40, 20), Dpo())) if f.severity == "warning"]
    assert [(f.count, f.of) for f in found] == [(20, 100)]
    assert severities(make_subject(pairs(48, 48, 4), Dpo())) == {"ok"}
    assert alike("a b c", "A b c") == 1
    assert alike("a b", "c d") == 0


def test_conversations_written_out_as_documents_warn(make_subject: MakeSubject) -> None:
    rows = [{"text": f"\n\nHuman: {question(n)}\n\nAssistant: {paragraph(n)}"} for n in range(60)]
    assert [f.count for f in check(make_subject(rows, Clm())) if f.severity == "warning"] == [60]
    assert severities(make_subject([{"text": paragraph(n)} for n in range(60)], Clm())) == {"ok"}


def domain(seed: int, count: int, stem: str) -> list[dict[str, str]]:
    draw = random.Random(seed)
    words = [f"{stem}{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(200)]
    texts = [(" ".join(draw.choices(words, k=12)), " ".join(draw.choices(words, k=20))) for _ in range(count)]
    return [{"prompt": f"Say what {asked}", "completion": said} for asked, said in texts]


def test_a_target_set_of_another_domain_warns(make_subject: MakeSubject) -> None:
    train = domain(0, 200, "law")
    far = [
        f for f in check(make_subject(train, sets={"test.medicine": domain(1, 80, "med")})) if f.severity == "warning"
    ]
    assert ["test.medicine speaks of something else" in f.text for f in far] == [True]
    assert far[0].numbers["excess"] > 0.3
    near = list(check(make_subject(train, sets={"test.law": domain(2, 80, "law")})))
    assert {f.severity for f in near} == {"ok"}
    assert any("test.law from data.train" in f.text for f in near)
    assert severities(make_subject(train, sets={"test.g": domain(1, 80, "med")}, role="general")) == {"ok"}


def test_a_share_of_training_is_not_compared(make_subject: MakeSubject) -> None:
    subject = make_subject(domain(0, 200, "law"), sets={"test.s": domain(1, 80, "med")}, test={"s": Share()})
    assert severities(subject) == {"ok"}


def test_divergence_is_that_of_scipy() -> None:
    a, b = Counter("aabbbcd"), Counter("abbeee")
    names = sorted(a | b)
    expected = jensenshannon([a[n] / 7 for n in names], [b[n] / 6 for n in names], base=2) ** 2
    assert divergence(a, b) == pytest.approx(expected)
    assert divergence(a, a) == pytest.approx(0)
    assert math.isclose(divergence(Counter("ab"), Counter("cd")), 1)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[dict[str, Any]]], str]:
    monkeypatch.chdir(tmp_path)

    def write(rows: list[dict[str, Any]]) -> str:
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return "data=rows.jsonl"

    return write


def test_a_run_on_documents_is_refused_where_fit_is_named(
    written: Callable[[list[dict[str, Any]]], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", written(REPEATED), "strategy=instruction", "audit.fail_on=[leakage,fit]", "output_dir=out"]
    assert cli.main(words) == 3
    said = capsys.readouterr()
    assert "data refused by the audit (audit.fail_on=[leakage,fit]):\n  fit: " in said.err
    assert "strategy=clm" in said.err
    assert "answers are documents" in said.out
    audit = json.loads((tmp_path / "out" / "data" / "audit.json").read_text())
    assert set(audit["seconds"]) == {f["check"] for f in audit["findings"]}
    assert "answers are documents" in (tmp_path / "out" / "report.html").read_text()
