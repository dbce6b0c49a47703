"""Options after a prompt as a language model finds them: against scoring each by itself, and by hand."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.evaluation import heads, subjects
from tests.unit.training import bert
from tuneforge.errors import ConfigError
from tuneforge.evaluation import likelihood
from tuneforge.evaluation.likelihood import LabelLikelihood, PairPrompt, causal, per_token, spoken, wordless
from tuneforge.evaluation.lm import HFLM
from tuneforge.model.hf import DType, Hf
from tuneforge.model.tiny import Tiny
from tuneforge.rows import Loaded, Row

OPTIONS = ["card arrival", "lost or stolen card", "", "x"]


@pytest.fixture(scope="module")
def tiny() -> HFLM:
    context = heads.settings([])
    return causal(context.run, Tiny().load("sequence_classification", context), context)


def alone(lm: HFLM, prompt: str, options: list[str]) -> Any:
    """Each option by itself, prompt and all."""
    rows = [subjects.row(prompt=prompt, completion=option) for option in options]
    found = lm.log_probs(rows, "completion")
    return found[:, 0] / found[:, 1].clip(min=1)


def together(lm: HFLM, prompt: str, options: list[str]) -> Any:
    """The options after one reading of the prompt; nothing is known of them before."""
    asked = HFLM("fresh", lm.model, lm.tokenizer)
    return per_token(asked, [(prompt, options)], LabelLikelihood(lm, [], heads.settings([])), "")[0]


def test_what_options_score_is_kept(tiny: HFLM, tmp_path: Path) -> None:
    rows = [pair("Yes, very.", "No."), pair("Maybe.", "Yes.")]
    found = []
    for _ in range(2):
        asked = PairPrompt(HFLM("causal", tiny.model, tiny.tokenizer, cache=tmp_path), heads.settings([]))
        found.append(asked.reward(rows, "chosen").tolist())
    assert found[0] == found[1]
    assert list(asked.trouble.notes("ab_prompt")) == [
        "ab_prompt: 4 of 4 likelihoods of options come from the cache of earlier evaluations"
    ]


@pytest.mark.parametrize("cached", [16384, 50, 1])
def test_options_after_one_prompt_score_as_each_by_itself(
    tiny: HFLM, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "CACHED", cached)
    for prompt in ("Where is my card?", "x " * 40):
        assert together(tiny, prompt, OPTIONS) == pytest.approx(alone(tiny, prompt, OPTIONS), abs=1e-4)
    plain = HFLM("plain", subjects.llama(), subjects.tokenizer(None))
    gpt2 = HFLM("gpt2", subjects.gpt2(), subjects.tokenizer(None))
    for lm in (plain, gpt2):
        assert together(lm, "Category:", [" a", " bcd"]) == pytest.approx(
            alone(lm, "Category:", [" a", " bcd"]), abs=1e-4
        )


@pytest.mark.shared
def test_labels_of_real_texts_score_as_each_by_itself(shared: Path) -> None:
    context = heads.settings([])
    context.run.model = Hf(path=str(shared / "models" / "stories260K"), dtype=DType.float32)
    lm = causal(context.run, context.run.model.load("causal_lm", context), context)
    with (shared / "data" / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        found = list(islice(csv.DictReader(file), 0, 9000, 1500))
    labels = sorted({row["category"] for row in found})
    assert len(labels) > 3
    asked = LabelLikelihood(lm, labels, context)
    shares = asked.predict(heads.labelled([r["category"] for r in found], [r["text"] for r in found]))
    assert shares.sum(1) == pytest.approx(np.ones(len(found)))
    for row, share in zip(found, shares, strict=True):
        prompt = f"Text: {row['text']}\nCategory:"
        nats = alone(lm, prompt, [f" {spoken(label)}" for label in labels])
        assert share == pytest.approx(np.exp(nats) / np.exp(nats).sum(), rel=1e-3)


def test_a_text_that_does_not_fit_is_given_to_all_alike_and_said() -> None:
    context = heads.settings(["a b", "c d"])
    lm = HFLM("causal", subjects.llama(context=64), subjects.tokenizer())
    asked = LabelLikelihood(lm, context.labels, context)
    rows = heads.labelled(["a b", "c d"], ["x" * 100, "y"])
    shares = asked.predict(rows)
    assert shares[0].tolist() == [0.5, 0.5]
    assert "label_likelihood: 2 texts do not fit" in context.notes[-1]["text"]
    assert len(asked.describe(rows)["prompt"]) == 16


def test_names_as_people_write_them() -> None:
    assert [spoken(x) for x in ("card_arrival", "Refund_not_showing_up", "spam")] == [
        "card arrival", "Refund not showing up", "spam",
    ]  # fmt: skip
    assert wordless(["spam", "1", "B", "café", "x2"]) == ["1", "B", "x2"]


def pair(chosen: str, rejected: str, prompt: Any = "Is it cold?") -> Row:
    return heads.made({"prompt": prompt, "chosen": chosen, "rejected": rejected}, 1)


def test_the_better_answer_is_asked_in_both_orders(tiny: HFLM) -> None:
    context = heads.settings([])
    rows = [pair("Yes, very.", "No."), pair("No.", "Yes, very."), pair("same", "same")]
    asked = PairPrompt(tiny, context)
    margins = asked.reward(rows, "chosen") - asked.reward(rows, "rejected")
    assert margins[0] == pytest.approx(-margins[1], abs=1e-4)
    assert margins[2] == pytest.approx(0, abs=1e-4)
    text = "Is it cold?\n\nAnswer A:\n{}\n\nAnswer B:\n{}\n\nWhich answer is better? Say A or B."
    one, two = (
        alone(tiny, text.format(*order), ["A", "B"]) for order in (("Yes, very.", "No."), ("No.", "Yes, very."))
    )
    assert margins[0] == pytest.approx((one[0] - one[1] + two[1] - two[0]) / 2, abs=1e-4)
    assert asked.describe(rows)["unit"] == "nats"
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert PairPrompt(tiny, context)._prompt(pair("a", "b", talk), "chosen", "rejected").startswith("user: Hi\nassist")


def test_a_pair_that_does_not_fit_is_a_tie(tiny: HFLM) -> None:
    context = heads.settings([])
    asked = PairPrompt(HFLM("causal", subjects.llama(context=64), subjects.tokenizer()), context)
    assert not asked.reward([pair("a" * 100, "b")], "chosen").any()
    assert "ab_prompt: 1 pairs do not fit the context" in context.notes[-1]["text"]


def test_a_model_that_is_no_language_model_is_refused(tmp_path: Path) -> None:
    context = heads.settings([])
    context.run.model = Hf(path=str(bert.saved(tmp_path / "bert")), dtype=DType.float32)
    found = Loaded(bert.bert("BertForSequenceClassification"), bert.tokenizer())
    with pytest.raises(ConfigError, match="its tokens see those after them"):
        causal(context.run, found, context)
    context.run.model = Hf(path=str(bert.saved(tmp_path / "body", "BertModel")), dtype=DType.float32)
    with pytest.raises(ConfigError, match="no causal language model"):
        causal(context.run, found, context)
