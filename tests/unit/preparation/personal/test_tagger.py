"""A token classifier as a finder: a real model whose weights are set by hand, so that its answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tuneforge.adapter.full import Full
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.model.tiny import Tiny
from tuneforge.optimizer.adamw import AdamW
from tuneforge.preparation.personal.kinds import Span
from tuneforge.preparation.personal.tagger import Tagger
from tuneforge.preparation.transforming import transform
from tuneforge.rows import Row
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft
from tuneforge.transform.deidentify import Deidentify, Engine

TAGS = ["O", "B-PER", "I-PER", "B-LOC"]
KNOWN = {"Anna": 1, "Bob": 1, "Keller": 2, "Paris": 3}
CONTEXT = 48


def save(folder: Path, tags: list[str]) -> str:
    """A BERT without layers: each word votes for its tag by one place of its embedding."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    vocabulary = {word: n for n, word in enumerate(["[PAD]", "[UNK]", *KNOWN])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=len(tags), num_hidden_layers=0, num_attention_heads=1,
        max_position_embeddings=CONTEXT, pad_token_id=0, id2label=dict(enumerate(tags)),
    )  # fmt: skip
    model = BertForTokenClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.bert.embeddings.LayerNorm.weight.fill_(1)
        for word, place in vocabulary.items():
            model.bert.embeddings.word_embeddings.weight[place, KNOWN.get(word, 0)] = 1
        model.classifier.weight.copy_(torch.eye(len(tags)))
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return str(folder)


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    run = Run(model=Tiny(), strategy=Sft(), adapter=Full(), optimizer=AdamW(), scheduler=Constant())
    return RunContext(run, tmp_path / "run")


def test_tags_become_spans_in_texts_longer_than_the_context(tmp_path: Path, context: RunContext) -> None:
    tagger = Tagger(save(tmp_path / "tagger", TAGS), context)
    assert tagger.kinds == {"PERSON", "LOCATION"}
    text = "Anna Keller met Bob in Paris, and\tAnna."
    assert tagger.find([text, "", "nobody here"]) == [
        [Span(0, 11, "PERSON"), Span(16, 19, "PERSON"), Span(23, 28, "LOCATION"), Span(34, 38, "PERSON")],
        [],
        [],
    ]
    long = "word " * 130 + "Anna"
    assert tagger.find([long]) == [[Span(650, 654, "PERSON")]]


def treated(component: Deidentify, context: RunContext, text: str) -> Any:
    return transform("d", component, [Row(columns={"text": text}, file="a", line=1)], "train", context).rows[0].columns


def test_a_model_adds_names_to_what_patterns_find(tmp_path: Path, context: RunContext) -> None:
    folder = save(tmp_path / "tagger", TAGS)
    said = "Anna Keller lives in Paris; anna@posteo.de"
    both = Deidentify(engine=Engine.model, model=folder)
    assert treated(both, context, said) == {"text": "[PERSON_1] lives in [LOCATION_1]; [EMAIL_1]"}
    names = Deidentify(engine=Engine.model, model=folder, entities=["person"])
    assert treated(names, context, said) == {"text": "[PERSON_1] lives in Paris; anna@posteo.de"}
    with pytest.raises(ConfigError, match=r"nothing finds 'LOCATOIN' .*Did you mean 'LOCATION'"):
        treated(Deidentify(engine=Engine.model, model=folder, entities=["LOCATOIN"]), context, said)


def test_a_model_without_spans_is_refused(tmp_path: Path, context: RunContext) -> None:
    with pytest.raises(ConfigError, match="are no B- and I- tags"):
        Tagger(save(tmp_path / "tagger", ["NOUN", "VERB", "ADJ", "ADV"]), context)
