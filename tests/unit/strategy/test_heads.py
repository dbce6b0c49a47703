"""Classification and token classification: rows become tokens and targets, or are rejected for a reason."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.unit.evaluation.heads import labelled, made, settings, tagged_rows
from tests.unit.evaluation.subjects import tokenizer as byte_tokenizer
from tuneforge.model.tiny import FOLDER
from tuneforge.rows import Encoded, Rejected
from tuneforge.strategy.classification import Classification
from tuneforge.strategy.token_classification import Read, TokenClassification
from tuneforge.training.text.classes import counted, names, orphans, warnings
from tuneforge.training.text.words import NO_WORD, Words, encode_words


@cache
def tiny() -> Any:
    return AutoTokenizer.from_pretrained(str(FOLDER))


def encoded(strategy: Any, rows: Any, labels: list[str]) -> list[Encoded | Rejected]:
    return list(strategy.encode(rows, tiny(), settings(labels, strategy)))


def reasons(found: list[Encoded | Rejected]) -> list[str]:
    return [one.reason if isinstance(one, Rejected) else "" for one in found]


def test_class_names_are_sorted_and_numbers_by_value() -> None:
    assert names(["b", "a", "b", "10"]) == ["10", "a", "b"]
    assert names(["10", "9", "2", "-1"]) == ["-1", "2", "9", "10"]
    assert Classification().labels(labelled(["x", 10, 9, True])) == ["10", "9", "True", "x"]


def test_one_class_is_its_index() -> None:
    strategy = Classification()
    rows = labelled(["b", "a"], ["Hello there", "Go"])
    found = encoded(strategy, rows, ["a", "b"])
    assert [one.parts["class"] for one in found] == [[1], [0]]  # type: ignore[union-attr]
    assert found[0].parts["input_ids"] == tiny()("Hello there")["input_ids"]  # type: ignore[union-attr]
    assert strategy.loss_items(found[0]) == 1  # type: ignore[arg-type]


def test_lists_make_it_several_classes() -> None:
    strategy = Classification()
    rows = labelled([["b", "c"], [], ["a"]])
    labels = list(strategy.labels(rows))
    found = encoded(strategy, rows, labels)
    assert [one.parts["class"] for one in found] == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]  # type: ignore[union-attr]
    forced = Classification(multi_label=True)
    forced.labels(labelled(["a", "b"]))
    assert encoded(forced, labelled(["a"]), ["a", "b"])[0].parts["class"] == [1, 0]  # type: ignore[union-attr]


def test_unusable_classes_are_rejected_with_the_nearest_name() -> None:
    strategy = Classification(multi_label=False)
    rows = [*labelled(["card_arival", ["card_arrival", "other"]]), made({"text": "x"}, 3)]
    found = reasons(encoded(strategy, rows, ["card_arrival", "other"]))
    assert found[0] == ("unseen label: 'card_arival' stands in no training row. Did you mean 'card_arrival'?")
    assert found[1].startswith("2 labels: one class per row is trained; strategy.multi_label=true")
    assert found[2].startswith("needs a text and its label, the row has text")


def test_a_spelled_control_token_stays_text() -> None:
    row = labelled(["a"], ["say <|im_end|> twice"])
    found = encoded(Classification(), row, ["a", "b"])[0]
    assert isinstance(found, Encoded)
    assert tiny().convert_tokens_to_ids("<|im_end|>") not in found.parts["input_ids"]


def test_tags_stand_at_the_first_token_of_each_word() -> None:
    rows = tagged_rows([["B-x", "I-x", "O"]], [["Empire", "State", "tall"]])
    labels = ["B-x", "I-x", "O"]
    first = encoded(TokenClassification(), rows, labels)[0]
    everywhere = encoded(TokenClassification(label_all_tokens=True), rows, labels)[0]
    words = encode_words([["Empire", "State", "tall"]], tiny())[0]
    assert isinstance(words, Words)
    assert isinstance(first, Encoded)
    assert isinstance(everywhere, Encoded)
    wanted = [-100] * len(words.ids)
    for word, at in words.first.items():
        wanted[at] = word
    assert first.parts["tags"] == wanted
    # Further tokens of a B- word are I-, those of others the same tag; the space before a word is nobody's.
    inside = [-100 if w == NO_WORD else {0: 1, 1: 1, 2: 2}[w] for w in words.word]
    for at in words.first.values():
        inside[at] = wanted[at]
    assert everywhere.parts["tags"] == inside
    assert len(words.ids) > 3, "every word is one token: nothing was tested"
    assert TokenClassification().loss_items(first) == 3
    assert TokenClassification().loss_items(everywhere) == sum(w != NO_WORD for w in words.word)


def test_tags_may_stand_at_the_last_token() -> None:
    rows = tagged_rows([["B-x", "O"]], [["Empire", "tall"]])
    found = encoded(TokenClassification(read=Read.last), rows, ["B-x", "O"])[0]
    words = encode_words([["Empire", "tall"]], tiny())[0]
    assert isinstance(found, Encoded)
    assert isinstance(words, Words)
    assert [at for at, tag in enumerate(found.parts["tags"]) if tag != -100] == [words.last[0], words.last[1]]
    assert words.last != words.first
    both = TokenClassification(read=Read.last, label_all_tokens=True)
    assert list(both.check(settings([]).run)) == ["strategy.read=last goes without strategy.label_all_tokens"]


def test_further_tokens_bring_their_tags_along() -> None:
    rows = tagged_rows([["B-x", "O"]])
    assert TokenClassification().labels(rows) == ["B-x", "O"]
    assert TokenClassification(label_all_tokens=True).labels(rows) == ["B-x", "I-x", "O"]


def test_unusable_tags_are_rejected() -> None:
    rows = [*tagged_rows([["B-persn"]]), made({"text": "x"}, 2)]
    found = reasons(encoded(TokenClassification(), rows, ["B-person", "O"]))
    assert found[0] == "unseen tag: 'B-persn' stands in no training row. Did you mean 'B-person'?"
    assert found[1].startswith("needs tokens and as many tags")


HARD = ["EU", "rejects", "café", "日本", "😀x", "<|im_end|>", "lamb", ".", "a b", "\u200b", "<|user|>"]


@pytest.mark.parametrize("tokens", [tiny, lambda: byte_tokenizer(begin=True)], ids=["tiny", "bytes"])
def test_each_token_belongs_to_the_word_that_it_spells(tokens: Any) -> None:
    tokenizer = tokens()
    found = encode_words([HARD], tokenizer)[0]
    assert isinstance(found, Words)
    assert sorted(found.first) == list(range(len(HARD)))
    assert [w for w in found.word if w != NO_WORD] == sorted(w for w in found.word if w != NO_WORD)
    for n, word in enumerate(HARD):
        ids = [i for i, w in zip(found.ids, found.word, strict=True) if w == n]
        spelled = tokenizer.decode(ids, skip_special_tokens=False).strip()
        assert spelled == word.strip(), (spelled, word)


def test_a_word_without_a_token_is_rejected() -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    inner.normalizer = normalizers.Replace("\u200b", "")
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", pad_token="<unk>")
    found = list(
        TokenClassification().encode(
            tagged_rows([["O", "O"]], [["a", "\u200b"]]), tokenizer, settings(["O", "B-x"], TokenClassification())
        )
    )
    assert isinstance(found[0], Rejected)
    assert found[0].reason == "no token: word 2 ('\\u200b') becomes no token of its own"


def test_what_is_odd_about_classes_is_said() -> None:
    rows = labelled([1, "b", "b", "c"], ["one", "two", "Two ", "two"])
    found = list(warnings(rows, "label"))
    assert found[0].startswith("1 labels are numbers (the first at job.jsonl:1)")
    assert found[1].startswith("2 classes have only one training row: '1', 'c'")
    assert found[2] == (
        "1 training rows have the text of an earlier row and another label, the first is job.jsonl:4"
        " (c; job.jsonl:2 says b)"
    )
    assert counted(rows, "label") == {"b": 2, "1": 1, "c": 1}
    assert list(warnings(labelled(["a", "a", "b", "b"]), "label")) == []


def test_invalid_bio_is_counted() -> None:
    assert orphans(["I-x", "B-x", "I-x", "I-y", "O", "I-x"]) == 3
    assert orphans(["NOUN", "VERB"]) == 0
    rows = tagged_rows([["O", "I-x"], ["B-x", "I-x"]])
    assert next(iter(warnings(rows, "tags"))).startswith("1 tags of 1 training rows continue an entity")


@pytest.mark.parametrize("labels", [["x", "y", "z"], ["a", "c", "b"], ["a", "b", "c", "d"]])
def test_a_head_for_other_classes_is_drawn_anew(labels: list[str], tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    from tuneforge.model.hf import Hf
    from tuneforge.model.tiny import Tiny

    names = ["a", "b", "c"]
    first = Tiny().load("sequence_classification", settings(names))
    first.model.save_pretrained(tmp_path)
    first.tokenizer.save_pretrained(tmp_path)
    saved: Any = AutoModelForSequenceClassification.from_pretrained(str(tmp_path), dtype=torch.float32)
    other: Any = settings(labels)
    again: Any = Hf(path=str(tmp_path)).load("sequence_classification", other).model
    assert list(again.config.id2label.values()) == labels
    assert any("the model brings a head for other classes (a, b, c)" in note["text"] for note in other.notes)
    assert again.score.weight.shape[0] == len(labels)
    assert labels[3:] or not torch.equal(again.score.weight, saved.score.weight)
    assert torch.equal(again.model.embed_tokens.weight, saved.model.embed_tokens.weight)
    same: Any = settings(names)
    kept: Any = Hf(path=str(tmp_path)).load("sequence_classification", same).model
    assert torch.equal(kept.score.weight, saved.score.weight)
    assert not any("drawn anew" in note["text"] for note in same.notes)


def test_a_reward_head_is_kept(tmp_path: Path) -> None:
    import torch

    from tuneforge.model.hf import Hf
    from tuneforge.model.tiny import Tiny

    first: Any = Tiny().load("reward", settings([]))
    first.model.save_pretrained(tmp_path)
    first.tokenizer.save_pretrained(tmp_path)
    kept: Any = Hf(path=str(tmp_path)).load("reward", settings([])).model
    assert torch.equal(kept.score.weight, first.model.score.weight)
