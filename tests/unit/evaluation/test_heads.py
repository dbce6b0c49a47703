"""Models with a head under evaluation: equal to a stock forward row by row; what they have to beat; who is asked."""

from __future__ import annotations

import gc
import weakref
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.evaluation import heads, subjects
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError, DataRefused, TuneForgeError
from tuneforge.evaluation.baseline import Choice
from tuneforge.evaluation.contenders import contenders, under_test
from tuneforge.evaluation.heads import HeadLM
from tuneforge.evaluation.measure import default_evaluators, measure
from tuneforge.evaluation.naive import Lexicon, Longer, Majority
from tuneforge.evaluation.samples import samples
from tuneforge.evaluation.tidy import rows as tidy_rows
from tuneforge.evaluation.verdict import decide
from tuneforge.evaluator.classification import Classification as Evaluator
from tuneforge.evaluator.reward_accuracy import RewardAccuracy
from tuneforge.execute import measure_base
from tuneforge.preparation import encoded
from tuneforge.rows import Loaded, Row
from tuneforge.strategy.classification import Classification
from tuneforge.strategy.contrastive import Contrastive
from tuneforge.strategy.reward import Reward
from tuneforge.strategy.token_classification import TokenClassification
from tuneforge.training.text.held_out import askable

NAMES = ["bad", "fine", "good"]
TEXTS = ["short", "a much longer text than the others are", "what <|end|> is this", "é", "x y z"]


@cache
def tokens() -> Any:
    return subjects.tokenizer(template=None, begin=True)


def model(kind: str, head: str, labels: int = 3, **more: Any) -> Any:
    """A small random Llama or BERT with the head; unlike in training the weights are large, so that outputs differ."""
    import transformers

    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "vocab_size": 264, "pad_token_id": tokens().pad_token_id, "max_position_embeddings": 64,
             "initializer_range": 0.3, "num_labels": labels}  # fmt: skip
    if labels == 3:
        more = {"id2label": dict(enumerate(NAMES)), "label2id": {n: i for i, n in enumerate(NAMES)}} | more
    config = getattr(transformers, f"{kind}Config")(**sizes, **more)
    return getattr(transformers, f"{kind}{head}")(config)


def lm(strategy: Any, loaded: Any, labels: list[str] | None = None) -> HeadLM:
    return HeadLM("tuned", Loaded(loaded, tokens()), heads.settings(NAMES if labels is None else labels, strategy))


def alone(loaded: Any, text: str) -> Any:
    """A stock forward of one row without padding; what spells a control token stays text."""
    ids = tokens()(text.replace("<|end|>", "<|en|d>"), return_tensors="pt").input_ids
    with torch.no_grad():
        return loaded.eval()(input_ids=ids).logits[0]


@pytest.mark.parametrize("kind", ["Llama", "Bert"])
def test_classes_are_those_of_a_stock_forward(kind: str) -> None:
    stock = model(kind, "ForSequenceClassification", problem_type="single_label_classification")
    stock.train()  # evaluation must not depend on the mode, and must leave it
    texts = [t for t in TEXTS if "<|end|>" not in t]
    found = lm(Classification(), stock).predict(heads.labelled(["good"] * len(texts), texts))
    assert stock.training
    wanted = torch.stack([alone(stock, t).double().softmax(-1) for t in texts]).numpy()
    assert found == pytest.approx(wanted, abs=1e-5)
    assert len({tuple(np.round(one, 6)) for one in found}) == len(texts), "all rows look alike: nothing was tested"


def test_several_classes_are_decided_one_by_one() -> None:
    stock = model("Llama", "ForSequenceClassification", problem_type="multi_label_classification")
    strategy = Classification(multi_label=True)
    found = lm(strategy, stock).predict(heads.labelled([["good"], []], TEXTS[:2]))
    assert found == pytest.approx(
        torch.stack([alone(stock, t).double().sigmoid() for t in TEXTS[:2]]).numpy(), abs=1e-5
    )


def test_a_text_that_spells_a_control_token_is_classified_as_text() -> None:
    stock = model("Llama", "ForSequenceClassification")
    row = heads.labelled(["good"], ["what <|end|> is this"])
    read = tokens()("what <|end|> is this", return_tensors="pt").input_ids
    with torch.no_grad():
        control = stock.eval()(input_ids=read).logits[0].double().softmax(-1).numpy()
    assert np.abs(lm(Classification(), stock).predict(row)[0] - control).max() > 1e-4


def test_predictions_come_in_the_order_of_the_runs_classes() -> None:
    stock = model("Llama", "ForSequenceClassification")
    rows = heads.labelled(["good"], ["a"])
    own = lm(Classification(), stock).predict(rows)[0]
    other = lm(Classification(), stock, ["good", "new", "bad"]).predict(rows)[0]
    assert other == pytest.approx([own[2], 0.0, own[0]])


@pytest.mark.parametrize("kind", ["Llama", "Bert"])
def test_tags_are_those_of_a_stock_forward(kind: str) -> None:
    stock = model(kind, "ForTokenClassification")
    words = [["one", "two", "é", "three"], ["x"], ["longer", "words", "stand", "here"]]
    found = lm(TokenClassification(), stock).tag(heads.tagged_rows([["O"] * len(w) for w in words], words))
    for one, got in zip(words, found, strict=True):
        text = " ".join(one)
        coded = tokens()(text, return_tensors="pt", return_offsets_mapping=True)
        with torch.no_grad():
            best = stock.eval()(input_ids=coded.input_ids).logits[0].argmax(-1).tolist()
        starts = [sum(len(w) + 1 for w in one[:i]) for i in range(len(one))]
        ends = [b for _, b in coded.offset_mapping[0].tolist()]
        first = [next(t for t, end in enumerate(ends) if end > start) for start in starts]
        assert got == [NAMES[best[t]] for t in first]
    assert len({tag for one in found for tag in one}) > 1


def test_rewards_are_those_of_a_stock_forward() -> None:
    stock = model("Llama", "ForSequenceClassification", labels=1)
    columns = [{"prompt": f"q{i}", "chosen": "yes" * i, "rejected": "no"} for i in (1, 2, 3)]
    rows = [heads.made(c, i) for i, c in enumerate(columns)]
    strategy = Reward()
    tuned = lm(strategy, stock, [])
    found = tuned.reward(rows, "chosen")
    coded = list(strategy.encode(rows, tokens(), tuned.context))
    with torch.no_grad():
        wanted = [float(stock.eval()(torch.tensor([c.parts["chosen.input_ids"]])).logits) for c in coded]  # type: ignore[union-attr]
    assert found == pytest.approx(wanted, abs=1e-5)


def test_embeddings_do_not_depend_on_their_company() -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                                     vocab_size=264, max_position_embeddings=64, initializer_range=0.3)  # fmt: skip
    strategy = Contrastive()
    tuned = lm(strategy, transformers.BertModel(config), [])
    together = tuned.embed(TEXTS)
    assert together == pytest.approx(np.concatenate([tuned.embed([t]) for t in TEXTS]), abs=1e-5)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1.0)


def test_what_a_head_cannot_do_is_said() -> None:
    tuned = lm(Classification(), model("Llama", "ForSequenceClassification"))
    with pytest.raises(ConfigError, match="tuned: generate needs a causal_lm head; this model has sequence_class"):
        tuned.generate([], 1)
    with pytest.raises(ConfigError, match="tuned: tag needs a token_classification head"):
        tuned.tag([])
    with pytest.raises(ConfigError, match="majority: embed needs an embedding head; this model has no head"):
        Majority([], NAMES).embed(["a"])


def test_a_row_that_is_too_long_is_an_error_here_and_quarantined_before(tmp_path: Path) -> None:
    rows = heads.labelled(["good", "fine", "wrong"] + ["bad"] * 60, ["x" * 80, "fits", "fits too"] + ["ok"] * 60)
    with pytest.raises(TuneForgeError, match="a row has 80 tokens, and the model's context is 64"):
        lm(Classification(), model("Llama", "ForSequenceClassification")).predict(rows[:1])
    context = heads.settings(NAMES, Classification(), tmp_path)
    context.run.batch.max_length = 40
    sets = [subjects.held(rows, "job", "test")]
    kept, odd = askable(context.run, sets, tokens(), context)
    assert [row.columns["text"] for row in kept[0].rows[:2]] == ["fits", "ok"]
    assert [one.reason for one in odd["test.job"]] == [
        "too long: 80 tokens, and batch.max_length is 40",
        "unseen label: 'wrong' stands in no training row.",
    ]
    encoded.held_out(context.run, sets, odd, context)
    assert "test.job: 2 of 63 rows cannot be asked" in context.notes[-1]["text"]
    assert (tmp_path / "data" / "quarantine.jsonl").read_text(encoding="utf-8").count("\n") == 2
    context.run.max_quarantined = 0.01
    with pytest.raises(DataRefused, match=r"2 of 63 rows of test\.job cannot be used by strategy=classification"):
        encoded.held_out(context.run, sets, odd, context)


def test_rules_look_at_training_rows_alone() -> None:
    train = heads.labelled(["b", "a", "b", ["a", "b"]])
    assert Majority(train, ["a", "b"]).predict(train[:2]) == pytest.approx(np.array([[0.5, 0.75]] * 2))
    lexicon = Lexicon(heads.tagged_rows([["O", "B-x"], ["B-x", "O"], ["O"]], [["a", "b"], ["b", "c"], ["d"]]))
    assert lexicon.tag(heads.tagged_rows([["O"] * 3], [["b", "a", "unknown"]])) == [["B-x", "O", "O"]]
    row = heads.made({"prompt": "p", "chosen": "four", "rejected": "no"}, 1)
    assert [Longer().reward([row], c)[0] for c in ("chosen", "rejected")] == [4.0, 2.0]


def test_the_verdict_is_against_the_rule(tmp_path: Path) -> None:
    context = heads.settings(NAMES, Classification(), tmp_path)
    rows = heads.labelled([NAMES[i % 3] for i in range(90)])
    found = judged(context, rows, np.eye(3)[[i % 3 for i in range(90)]] * 0.8 + 0.1)
    assert found["decision"] == "better"
    assert "over the baseline majority" in found["reason"]
    assert found["versus"] == {"", "majority"}
    assert found["samples"][1] == {"majority": "good", "tuned": "fine"}
    same = judged(context, rows, np.tile([0.2, 0.3, 0.5], (90, 1)))
    assert same["decision"] == "not proven"


def judged(context: RunContext, rows: list[Row], probabilities: Any) -> dict[str, Any]:
    """The verdict over a model that gives these probabilities, against `good` as the most frequent class."""
    train = heads.labelled(["good", "good", "fine", "bad"])
    sets = [subjects.held(rows)]
    chosen, _ = default_evaluators(context.run, sets, {"classification": Evaluator})
    loaded = Loaded(model("Llama", "ForSequenceClassification"), tokens())
    easy = subjects.held(heads.labelled(["good"] * 9), split="validation")
    variants, choice = contenders(context.run, loaded, chosen, [easy], train, context)
    assert list(variants) == ["majority"]
    assert choice.reason.startswith("majority 1.00, ")
    assert choice.reason.endswith(" -> majority")
    fixed = heads.Fixed(predict=probabilities)
    fixed.labels = NAMES  # type: ignore[attr-defined]
    measured = measure(context.run, variants, sets, chosen, context)
    measured = measured.merge(measure(context.run, {"tuned": fixed}, sets, chosen, context))
    metrics = tidy_rows(context.run, measured)
    verdict = decide(context.run, metrics, choice.name)
    accuracy = next(r for r in metrics if (r["metric"], r["versus"]) == ("accuracy", "majority"))
    assert accuracy["low"] is not None
    return {
        "decision": verdict.decision, "reason": verdict.reason, "versus": {r["versus"] for r in metrics},
        "samples": [one["answers"] for one in samples(measured)],
    }  # fmt: skip


def test_a_margin_of_rewards_is_not_compared_with_characters(tmp_path: Path) -> None:
    context = heads.settings([], Reward(), tmp_path)
    pairs = [{"prompt": f"p{i}", "chosen": "four", "rejected": "nonono"} for i in range(6)]
    sets = [subjects.held([heads.made(pair, i) for i, pair in enumerate(pairs)])]
    chosen: Any = {"reward_accuracy": RewardAccuracy()}
    loaded = Loaded(model("Llama", "ForSequenceClassification", labels=1), tokens())
    variants, _ = contenders(context.run, loaded, chosen, [], sets[0].rows, context)
    tuned = HeadLM("tuned", loaded, context)
    measured = measure(context.run, variants | {"tuned": tuned}, sets, chosen, context)
    assert next(samples(measured)).items() >= {"prompt": "p0", "reference": "four", "rejected": "nonono"}.items()
    found = tidy_rows(context.run, measured)
    assert {(r["metric"], r["model"], r["versus"]) for r in found} == {
        ("reward_accuracy", "longer", ""), ("reward_accuracy", "tuned", ""), ("reward_accuracy", "tuned", "longer"),
        ("reward_margin", "tuned", ""),
    }  # fmt: skip
    context.run.gate.metric = "reward_margin"
    with pytest.raises(ConfigError, match=r"gate\.metric=reward_margin: .* \(longer\) counts characters"):
        contenders(context.run, loaded, chosen, [], sets[0].rows, context)


def test_an_accuracy_of_one_has_an_exact_interval(tmp_path: Path) -> None:
    context = heads.settings(NAMES, Classification(), tmp_path)
    rows = heads.labelled([NAMES[i % 3] for i in range(60)])
    fixed = heads.Fixed(predict=np.eye(3)[[i % 3 for i in range(60)]])
    measured = measure(context.run, {"tuned": fixed}, [subjects.held(rows)], {"classification": Evaluator()}, context)
    accuracy = next(r for r in tidy_rows(context.run, measured) if r["metric"] == "accuracy")
    assert accuracy["value"] == 1.0
    assert accuracy["low"] == pytest.approx(60 / (60 + 1.959964**2), abs=1e-4)


def test_a_causal_model_is_asked_as_before() -> None:
    from tuneforge.evaluation.lm import HFLM
    from tuneforge.strategy.sft import Sft

    context = heads.settings([], Sft())
    assert isinstance(under_test("tuned", Loaded(subjects.llama(), subjects.tokenizer()), context), HFLM)
    rows = [subjects.row(prompt="a" * 5000, completion="b")]
    assert askable(context.run, [subjects.held(rows)], tokens(), context) == ([subjects.held(rows)], {})


@pytest.mark.parametrize("who", ["tuned", "base"])
def test_a_model_is_asked_where_the_run_computes(who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneforge.strategy.sft import Sft

    monkeypatch.setattr("tuneforge.evaluation.contenders.place", lambda run: "meta")
    context = heads.settings([], Sft(), tmp_path)
    loaded = Loaded(subjects.llama(), subjects.tokenizer())
    found: Any
    if who == "tuned":
        found = under_test(who, loaded, context)
    else:
        found = contenders(context.run, loaded, {}, [], [], context)[0][who]
    assert found.model.device.type == "meta"


def test_a_model_that_was_only_asked_is_let_go_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = heads.settings([], Reward(), tmp_path)
    asked = HeadLM("asked", Loaded(model("Llama", "ForSequenceClassification", 1), tokens()), context)
    alive = weakref.ref(asked.model)
    found: Any = [({"asked": asked}, Choice(asked, "asked", ""))]
    del asked
    monkeypatch.setattr("tuneforge.evaluation.contenders.contenders", lambda *_: found.pop())
    prepared = SimpleNamespace(held_out=[], train=[])
    ready: Any = SimpleNamespace(
        prepared=prepared, found=Loaded(torch.nn.Linear(1, 1), tokens()), evaluators={}, sets=[]
    )
    base = measure_base(context.run, ready, context)
    gc.collect()
    assert base.choice.lm.variant == "asked"
    assert alive() is None
