"""More tokens: exact where none of them occurs, means where they do, and a base that knows nothing of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tuneforge
from tests.unit.conftest import make_llama
from tests.unit.transform.real import real_rows
from tuneforge.adapter.freeze import Freeze
from tuneforge.adapter.lora import Lora
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.preparation.prepare import prepare
from tuneforge.rows import HeldOut, Loaded, Row
from tuneforge.saved import load
from tuneforge.settings import Run
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.distill import Distill
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.grpo import Grpo
from tuneforge.training import vocabulary
from tuneforge.transform.extend_vocabulary import ExtendVocabulary

Make = Callable[..., tuple[Run, RunContext]]
MEDICINE = "The patient with carcinoma had carcinoma of the thyroid; thyroid carcinoma is treated by surgery."
PLAIN = "Hello there, how are you today? 42 <|im_end|>"


def rows(count: int = 6) -> list[Row]:
    return [Row(columns={"text": f"{MEDICINE} No {n}."}, file="a", line=n) for n in range(count)]


def test_merges_are_those_of_bpe() -> None:
    counts = {("a", "b", "c"): 10, ("x", "a", "b"): 5, ("b", "c"): 3, ("q", "r"): 1}
    assert vocabulary.merges(counts, 9, 2, frozenset()) == [("a", "b"), ("ab", "c"), ("x", "ab"), ("b", "c")]
    assert vocabulary.merges(counts, 2, 2, frozenset()) == [("a", "b"), ("ab", "c")]
    assert vocabulary.merges(counts, 9, 6, frozenset()) == [("a", "b"), ("ab", "c")]
    assert vocabulary.merges(counts, 9, 2, frozenset({"ab"})) == [
        ("b", "c"), ("a", "bc"), ("x", "a"), ("xa", "b"),
    ]  # fmt: skip
    assert vocabulary.merges({("z", "z", "z"): 4}, 9, 2, frozenset()) == [("z", "z"), ("zz", "z")]


@pytest.mark.parametrize("tied", [False, True])
def test_the_model_is_as_found_where_no_new_token_occurs(tied: bool, tokenizer: Any, make_run: Make) -> None:
    import torch

    model = make_llama(len(tokenizer), tie_word_embeddings=tied)
    _, context = make_run(strategy=Clm())
    found = Loaded(model, tokenizer)
    made = ExtendVocabulary(budget=30, min_count=2).adapt(
        found, rows(), [HeldOut("t", "test", "target", rows(1))], context
    )
    old, new = len(tokenizer), made.tokenizer
    assert 0 < len(new) - old <= 60
    assert model.get_input_embeddings().weight.shape[0] == old == len(tokenizer)
    assert {t: i for t, i in new.get_vocab().items() if i < old} == tokenizer.get_vocab()
    for text in (PLAIN, MEDICINE, " carcinomas\n\tThyroid", "naïve 你好 👍"):
        assert new.decode(new(text)["input_ids"]) == tokenizer.decode(tokenizer(text)["input_ids"])
    ids = tokenizer(PLAIN, return_tensors="pt")["input_ids"]
    assert torch.equal(new(PLAIN, return_tensors="pt")["input_ids"], ids)
    with torch.no_grad():
        torch.testing.assert_close(made.model(ids).logits[..., :old], model(ids).logits, atol=1e-6, rtol=0)
    word = " carcinoma"
    (token,) = new(word, add_special_tokens=False)["input_ids"]
    pieces = tokenizer(word, add_special_tokens=False)["input_ids"]
    assert token >= old
    assert len(pieces) >= 3
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        weight = getattr(made.model, layer)().weight
        torch.testing.assert_close(weight[token], getattr(model, layer)().weight[pieces].mean(0))
    note = context.notes[-1]
    assert note["train before"] > note["train after"] > 1
    assert note["test.t before"] > note["test.t after"] > 1
    assert made.tokenizer.chat_template == tokenizer.chat_template


def test_without_frequent_long_words_nothing_happens(tokenizer: Any, llama: Any, make_run: Make) -> None:
    _, context = make_run(strategy=Clm())
    found = Loaded(llama, tokenizer)
    assert ExtendVocabulary(min_count=99).adapt(found, rows(), [], context) is found
    assert "no word occurs 99 times" in context.notes[-1]["text"]


def test_a_tokenizer_that_is_no_bpe_is_refused(llama: Any, make_run: Make) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2, "##c": 3}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    found = Loaded(llama, PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"))
    _, context = make_run(strategy=Clm())
    with pytest.raises(ConfigError, match="the tokenizer's model is WordPiece; only byte-pair encoding"):
        ExtendVocabulary(min_count=1).adapt(found, [Row(columns={"text": "abc abc"})], [], context)


@pytest.mark.parametrize(
    ("parts", "fields", "reason"),
    [
        ({"strategy": Clm()}, {}, ""),
        ({"strategy": Clm(), "adapter": Freeze()}, {}, ""),
        ({}, {}, ""),
        ({"strategy": Clm(), "adapter": Lora()}, {}, "adapter=lora neither trains nor saves embeddings"),
        ({"strategy": Dpo()}, {}, "strategy=dpo holds the model against another"),
        ({"strategy": Distill(teacher="x")}, {}, "strategy=distill holds the model against another"),
        ({"strategy": Grpo(rewards=["exact_match"])}, {}, "strategy=grpo trains on prompt"),
        ({"strategy": Clm()}, {"budget": 0}, "budget=0 must be at least 1"),
        ({"strategy": Clm()}, {"min_pieces": 1}, "min_pieces=1 must be at least 2"),
    ],
)
def test_check(parts: dict[str, Any], fields: dict[str, int], reason: str, make_run: Make) -> None:
    run, _ = make_run(**parts)
    found = list(ExtendVocabulary(**fields).check(run))
    assert len(found) == bool(reason)
    assert not reason or found[0].startswith(reason)


def test_a_run_trains_saves_and_is_compared_with_the_model_as_found(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tuneforge.evaluation.lm import HFLM

    monkeypatch.chdir(tmp_path)
    data = tmp_path / "notes.jsonl"
    data.write_text(
        "".join(json.dumps({"text": f"{MEDICINE} {n} {n * n}"}) + "\n" for n in range(60)), encoding="utf-8"
    )
    common = [f"model={model_folder}", f"data={data}", "strategy=clm", "trainer.max_steps=2", "trainer.accelerator=cpu"]
    more = ["transform=extend_vocabulary", "transform.extend_vocabulary.min_count=20"]

    def go(name: str, *overrides: str) -> tuple[Path, dict[str, Any]]:
        tuneforge.run([*common, f"output_dir={tmp_path / name}", *overrides])
        metrics = json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8"))
        values = {(r["model"], r["metric"]): r["value"] for r in metrics["rows"] if not r["versus"]}
        return tmp_path / name, values

    _, plain = go("plain", "transform=exact_dedup")
    folder, grown = go("grown", *more)
    assert math.isclose(grown["base", "bits_per_byte"], plain["base", "bits_per_byte"], rel_tol=1e-9)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) > 400
    (token,) = tokenizer(" carcinoma", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode([token]) == " carcinoma"
    again = Loaded(model.eval(), tokenizer)
    run = load(folder)
    held = next(h for h in prepare(run, RunContext(run, folder)).held_out if h.split == "test")
    nats, _, size = HFLM("again", again.model, again.tokenizer).log_probs(held.rows, "text").sum(0)
    assert math.isclose(-nats / size / math.log(2), grown["tuned", "bits_per_byte"], rel_tol=1e-5)


@pytest.mark.shared
@pytest.mark.parametrize("path", ["models/stories260K", "models/tokenizers/gpt2", "models/tokenizers/gpt-neox-20b"])
def test_real_tokenizers_give_real_texts_back(path: str, shared: Path) -> None:
    from transformers import AutoTokenizer

    texts = [row.columns["completion"] for row in real_rows(shared, "pubmedqa")]
    old = AutoTokenizer.from_pretrained(shared / path)
    terms = {pieces: n for pieces, n in vocabulary.words(texts[:400], old).items() if n >= 5 and len(pieces) >= 3}
    new = vocabulary.with_merges(old, vocabulary.merges(terms, 200, 5, frozenset(old.get_vocab())))
    assert 0 < len(new) - len(old) <= 200
    assert [new.convert_ids_to_tokens(i) for i in range(len(old))] == [
        old.convert_ids_to_tokens(i) for i in range(len(old))
    ]
    for text in texts:
        made = new(text, add_special_tokens=False, verbose=False)["input_ids"]
        assert new.decode(made) == old.decode(old(text, add_special_tokens=False, verbose=False)["input_ids"])
    assert vocabulary.fertility(texts[:400], new) < vocabulary.fertility(texts[:400], old)
