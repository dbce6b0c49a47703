"""Augmentations: budget, provenance, what may be changed, the guard, models and teachers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.unit.evaluation.heads import settings
from tuneforge.components import Teacher
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.preparation.augmenting import Augmentation
from tuneforge.preparation.transforming import Transformed, transform
from tuneforge.rows import Answer, Row, content_hash
from tuneforge.strategy.token_classification import TokenClassification
from tuneforge.transform.back_translation import BackTranslation
from tuneforge.transform.contextual import Contextual
from tuneforge.transform.near_dedup import NearDedup
from tuneforge.transform.oversample import Oversample
from tuneforge.transform.reorder import Reorder
from tuneforge.transform.synonyms import Synonyms

QUICK = "I quickly bought a beautiful car for my mom"


def rows(*columns: dict[str, Any]) -> list[Row]:
    return [
        Row(columns=c, source="data.a", file="a.jsonl", line=i + 1, id=content_hash(c), group="g")
        for i, c in enumerate(columns)
    ]


def done(part: Augmentation | Oversample, given: list[Row], context: RunContext | None = None) -> Transformed:
    return transform(part.name, part, given, "train", context or settings([]))


def added(found: Transformed) -> list[Row]:
    return [row for row in found.rows if "~" in str(row.line)]


# ---------------------------------------------------------------- what all share


def test_rows_are_added_and_the_others_untouched() -> None:
    given = rows(*({"text": f"{QUICK} {'x' * i}"} for i in range(10)))
    found = done(Synonyms(share=0.5), given)
    assert [row for row in found.rows if row not in added(found)] == given
    new = added(found)
    assert len(new) == 5
    assert (found.report.added, found.report.changed, found.dropped) == (5, 0, [])
    for row in new:
        original = given[int(str(row.line).split("~")[0]) - 1]
        assert row.line == f"{original.line}~1"
        assert row.history == ("synonyms",)
        assert row.id == content_hash(row.columns) != original.id
        assert (row.source, row.file, row.group) == (original.source, original.file, "g")
        assert found.rows[found.rows.index(row) - 1] == original, "it follows its row"
    assert found.report.counts == {"texts tried": 10, "accepted": 10}
    assert [change.place for change in found.report.changes] == [row.place for row in new]
    assert all(change.before != change.after for change in found.report.changes)


@pytest.mark.parametrize(("share", "wanted"), [(0.1, 1), (0.19, 1), (0.2, 2), (1.0, 10), (3.0, 10), (0.05, 0)])
def test_the_budget_holds(share: float, wanted: int) -> None:
    assert len(added(done(Synonyms(share=share), rows(*({"text": f"{QUICK} {i}x"} for i in range(10)))))) == wanted


def test_a_budget_that_cannot_be_spent_is_said() -> None:
    context = settings([])
    done(Synonyms(share=1.0), rows({"text": QUICK}, {"text": "Zzz of the and"}, {"text": ""}), context)
    assert [note["text"] for note in context.notes] == [
        "synonyms: 1 of 3 rows added: no more could be changed without changing what they say"
    ]
    assert context.counts["rejected: unchanged"] == 1
    assert context.counts["rows without a text that may be changed"] == 1


def test_the_seed_decides_and_other_rows_do_not() -> None:
    def made(seed: int, count: int) -> dict[Any, Any]:
        context = settings([])
        context.run.seed = seed
        given = rows(*({"text": f"{QUICK} because it was costly {'x' * i}"} for i in range(count)))
        return {row.line: row.columns["text"] for row in added(done(Synonyms(share=1.0), given, context))}

    assert made(1, 6) == made(1, 6)
    assert made(1, 3).items() <= made(1, 6).items()
    assert made(1, 6) != made(2, 6)


def test_what_was_made_is_not_changed_again() -> None:
    once = done(Synonyms(share=1.0), rows({"text": QUICK})).rows
    twice = done(Synonyms(share=1.0), once)
    assert [row.line for row in twice.rows] == [1, "1~2", "1~1"]
    copies = done(Oversample(to="2"), rows({"text": QUICK, "label": "a"})).rows
    assert [row.line for row in done(Synonyms(share=1.0), copies).rows] == [1, "1~1", "1+1", "1+1~1"]


def test_answers_systems_and_tools_stay() -> None:
    chat = [
        {"role": "system", "content": QUICK}, {"role": "user", "content": QUICK}, {"role": "tool", "content": QUICK},
        {"role": "assistant", "content": "Fine, I gladly agree", "weight": 0.0},
    ]  # fmt: skip
    new = added(done(Synonyms(share=1.0), rows({"messages": chat, "tools": ["x"]})))[0].columns
    assert [new["messages"][i] == chat[i] for i in range(4)] == [True, False, True, True]
    assert new["tools"] == ["x"]
    pair = {"prompt": QUICK, "chosen": "I gladly agree with it", "rejected": "I gladly do it"}
    new = added(done(Synonyms(share=1.0), rows(pair)))[0].columns
    assert [new[k] == pair[k] for k in pair] == [False, True, True]
    new = added(done(Synonyms(share=1.0, answers=True), rows(pair)))[0].columns
    assert [new[k] == pair[k] for k in pair] == [False, False, False]


def test_words_of_label_and_answer_stay() -> None:
    labelled = {"text": "It is the beautiful car", "label": "beautiful_things"}
    answered = {"prompt": "I bought a car for my mom", "completion": "Your mom has a car"}
    found = [row.columns for row in added(done(Synonyms(share=1.0, words=1), rows(labelled, answered)))]
    assert found[0]["text"] == "It is the beautiful automobile"
    assert found[1]["prompt"] == "I purchased a car for my mom"


def test_code_links_and_tags_stay() -> None:
    text = "It is the beautiful car:\n```\ncar = beautiful\n```\n`car` https://x.org/car <car> {car} car-park 3car"
    new = added(done(Synonyms(share=1.0, words=1), rows({"text": text})))[0].columns["text"]
    assert new.split("\n", 1)[1] == text.split("\n", 1)[1]
    assert new.split("\n")[0] != text.split("\n")[0]


def test_rows_of_words_with_tags_are_refused_and_left_alone() -> None:
    found = done(Synonyms(share=1.0), rows({"tokens": QUICK.split(), "tags": ["O"] * 9}))
    assert found.report.added == 0
    run = settings([], TokenClassification()).run
    assert list(Synonyms().check(run)) == [
        "transform.synonyms changes texts, and strategy=token_classification trains on tags that stand at words"
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"share": 0.0}, "transform.synonyms.share=0.0 must be above 0"),
        ({"min_likeness": 1.5}, "transform.synonyms.min_likeness=1.5 must be in [0, 1]"),
        ({"min_cosine": 2.0}, "transform.synonyms.min_cosine=2.0 must be in [-1, 1]"),
        ({"words": 0.0}, "transform.synonyms.words=0.0 must be above 0"),
        ({"semantic_model": "./none"}, "transform.synonyms.semantic_model=./none: no such folder"),
        ({"thesaurus": "no.tsv"}, "transform.synonyms.thesaurus=no.tsv: no such file"),
    ],
)
def test_fields_out_of_range(fields: dict[str, Any], said: str) -> None:
    assert [r for r in Synonyms(**fields).check(settings([]).run) if r.startswith(said)]


@dataclass(kw_only=True)
class Scripted(Augmentation):
    """Changes texts as it is told."""

    name: ClassVar[str] = "scripted"

    def change(self, texts: Any, context: Any) -> Any:
        """What the script says."""
        return [SCRIPT[text.text] for text in texts]


SCRIPT = {
    "It is good": "It is not good", "Pay 5 euros": "Pay 6 euros", "Go to Rome": "Go to Oslo",
    "It was a fine old film": "Zebras juggle kindly", "The dog ran off": "The dog ran away",
    "film film": "film movie", "a film film": "a film car",
}  # fmt: skip


def test_the_guard_counts_what_it_rejects() -> None:
    context = settings([])
    given = rows(*({"text": text} for text in list(SCRIPT)[:5]))
    found = done(Scripted(share=1.0, min_likeness=0.3), given, context)
    assert [row.columns["text"] for row in added(found)] == ["The dog ran away"]
    assert found.report.counts == {
        "texts tried": 5, "accepted": 1, "rejected: negation": 1,
        "rejected: number": 1, "rejected: name": 1, "rejected: unlike": 1,
    }  # fmt: skip


def test_a_budget_of_no_row_is_said() -> None:
    context = settings([])
    assert added(done(Synonyms(), rows({"text": QUICK}), context)) == []
    assert [note["text"] for note in context.notes] == ["synonyms: share=0.2 of 1 rows allows not one more"]


def test_what_would_drop_it_again_is_refused_behind() -> None:
    run = settings([]).run
    part = Synonyms()
    run.transform = {"synonyms": part, "near_dedup": NearDedup()}
    assert list(part.check(run)) == [
        "transform.near_dedup stands after synonyms and would drop what it adds; name it before"
    ]
    run.transform = {"near_dedup": NearDedup(), "synonyms": part}
    assert list(part.check(run)) == []


# ---------------------------------------------------------------- synonyms


def test_case_articles_and_repetition() -> None:
    text = "Movies are fun. An enormous movie, a big movie: MOVIE movies! It is an awful car."
    for seed in range(20):
        context = settings([])
        context.run.seed = seed
        new = added(done(Synonyms(share=1.0, words=1), rows({"text": text}), context))[0].columns["text"]
        assert new.startswith("Films are fun. An enormous film, a large film: MOVIE films! It is an awful automobile.")


def test_a_thesaurus_of_ones_own(tmp_path: Path) -> None:
    lines, object_ = tmp_path / "own.tsv", tmp_path / "own.json"
    lines.write_text("# mine\nKarte\tbankkarte\tzahlkarte\n", encoding="utf-8")
    object_.write_text(json.dumps({"karte": ["bankkarte"]}), encoding="utf-8")
    for file in (lines, object_):
        new = added(done(Synonyms(share=1.0, thesaurus=str(file)), rows({"text": "Wo bleibt meine karte heute"})))
        assert new[0].columns["text"] in ("Wo bleibt meine bankkarte heute", "Wo bleibt meine zahlkarte heute")
    assert not added(done(Synonyms(share=1.0), rows({"text": "Wo bleibt meine big karte heute"}))), "not English"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", "quick fast\n", r"a\.tsv:1: a word and its synonyms are needed, with tabs between"),
        ("a.tsv", "# nothing\n", "has no word with a synonym"),
        ("a.json", "{", "is not valid JSON"),
        ("a.json", '{"quick": "fast"}', "a list of synonyms for each word is needed"),
        ("a.json", '["quick"]', "a list of synonyms for each word is needed"),
    ],
)
def test_a_broken_thesaurus_is_named(name: str, content: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        done(Synonyms(share=1.0, thesaurus=str(file)), rows({"text": QUICK}))


def test_reorder_adds_rows() -> None:
    text = "Rooms are quiet. Breakfast costs ten euros. Dogs may stay. Parking is free."
    context = settings([])
    new = added(done(Reorder(share=1.0), rows({"text": text}, {"prompt": "Sort it.", "completion": text}), context))
    assert len(new) == 1
    assert sorted(new[0].columns["text"]) == sorted(text)
    assert new[0].columns["text"] != text


# ---------------------------------------------------------------- models


@pytest.fixture(scope="module")
def words() -> Callable[[list[str]], Any]:
    def make(vocabulary: list[str]) -> Any:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast

        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*specials, *vocabulary])}, unk_token="[UNK]"))
        inner.normalizer = normalizers.Lowercase()
        inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        inner.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
            mask_token="[MASK]",
        )  # fmt: skip

    return make


WORDS = ["meal", "film", "lovely", "pleasant", "##ly", "the", "was", "really", "bad", "a", "7", "good"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory, words: Any) -> Path:
    """A BERT that holds `pleasant`, `##ly`, `bad`, `7` and `the` for likely everywhere."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    tokenizer = words(WORDS)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    model = BertForMaskedLM(config)
    with torch.no_grad():
        for word, bias in (("pleasant", 12.0), ("##ly", 14.0), ("bad", 12.0), ("7", 14.0), ("the", 14.0)):
            model.cls.predictions.bias[tokenizer.convert_tokens_to_ids(word)] = bias
    folder = tmp_path_factory.mktemp("bert")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_contextual_puts_whole_open_words_and_the_guard_rejects_opposites(bert: Path) -> None:
    context = settings([])
    given = rows(*({"text": f"Really, the meal was good to {name}."} for name in ("Ann", "Bob", "Cy", "Di") * 5))
    found = done(Contextual(model=str(bert), share=1.0, words=0.01, top_k=5), given, context)
    assert found.report.counts["accepted"] == len(added(found)) > 5
    for row in added(found):
        old = given[int(str(row.line).split("~")[0]) - 1].columns["text"]
        changed = [(a, b) for a, b in zip(old.split(), row.columns["text"].split(), strict=True) if a != b]
        assert len(changed) == 1
        assert changed[0][0] in ("meal", "good")
        assert changed[0][1] in ("pleasant", "bad")
        assert changed[0] != ("good", "bad")
    assert context.counts["rejected: opposite"] > 0


def test_contextual_reads_in_batches_as_one_by_one(bert: Path) -> None:
    texts = [{"text": f"Really, the meal and a film {'was ' * (i % 7)}good to Ann."} for i in range(50)]
    together = done(Contextual(model=str(bert), share=1.0, words=0.2), rows(*texts))
    for row in added(together)[:8]:
        number = int(str(row.line).split("~")[0])
        alone = done(Contextual(model=str(bert), share=1.0, words=0.2), [rows(*texts)[number - 1]])
        assert added(alone)[0].columns == row.columns


def test_contextual_leaves_texts_with_a_mask_token(bert: Path) -> None:
    found = done(Contextual(model=str(bert), share=1.0), rows({"text": "the [MASK] meal was good"}))
    assert found.report.counts["rejected: unchanged"] == 1


def test_models_that_cannot_serve_are_named(bert: Path) -> None:
    assert list(Contextual().check(settings([]).run)) == [
        "transform.contextual.model is empty: name a masked language model (a folder or a hub name)"
    ]
    context = settings([])
    context.run.transform = {"contextual": Contextual(share=1.0, model="./nowhere/bert")}
    with pytest.raises(ConfigError, match=r"transform\.contextual\.model=\./nowhere/bert: no such folder"):
        done(context.run.transform["contextual"], rows({"text": QUICK}), context)  # type: ignore[arg-type]
    context.run.transform = {"back": BackTranslation(share=1.0, forward=str(bert), back=str(bert))}
    with pytest.raises(
        ConfigError,
        match=r"^transform\.back\.forward, transform\.back\.back=\S+: a model of type 'bert' has no seq2seq head",
    ):
        done(context.run.transform["back"], rows({"text": QUICK}), context)  # type: ignore[arg-type]


PHRASES = {
    "the meal was really good": "das mahl war echt gut",
    "a film was bad": "ein film war schlecht",
    "the film was not bad": "der film war nicht schlecht",
}
AGAIN = {
    "das mahl war echt gut": "the meal was truly good",
    "ein film war schlecht": "a movie was bad",
    "der film war nicht schlecht": "the movie was bad",
}


@pytest.fixture(scope="module")
def translators(tmp_path_factory: pytest.TempPathFactory, words: Any) -> tuple[Path, Path]:
    """Two T5 of one layer that have learnt three sentences each by heart."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    vocabulary = sorted({w for d in (PHRASES, AGAIN) for pair in d.items() for text in pair for w in text.split()})
    tokenizer = words(vocabulary)
    folders = []
    for name, pairs in (("there", PHRASES), ("back", AGAIN)):
        torch.manual_seed(0)
        config = T5Config(
            vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, dropout_rate=0.0,
            pad_token_id=0, eos_token_id=3, decoder_start_token_id=0,
        )  # fmt: skip
        model = T5ForConditionalGeneration(config).train()
        batch = tokenizer(list(pairs), return_tensors="pt", padding=True)
        labels = tokenizer(list(pairs.values()), return_tensors="pt", padding=True)["input_ids"][:, 1:]
        labels = labels.masked_fill(labels == 0, -100)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(80):
            loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert float(loss.detach()) < 0.1
        folders.append(tmp_path_factory.mktemp(name))
        model.save_pretrained(folders[-1])
        tokenizer.save_pretrained(folders[-1])
    return folders[0], folders[1]


def test_back_translation_by_models(translators: tuple[Path, Path]) -> None:
    there, back = translators
    context = settings([])
    part = BackTranslation(forward=str(there), back=str(back), share=1.0)
    text = "the meal was really good\n```\na film was bad\n```\na film was bad"
    found = done(part, rows({"text": text}, {"text": "the film was not bad"}), context)
    assert [row.columns["text"] for row in added(found)] == [
        "the meal was truly good\n```\na film was bad\n```\na movie was bad"
    ]
    assert context.counts["rejected: negation"] == 1, "what lost its not"


def test_what_untrained_translators_say_is_rejected(tmp_path: Path, words: Any) -> None:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    tokenizer = words(WORDS)
    config = T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2,
                      pad_token_id=0, eos_token_id=3, decoder_start_token_id=0)  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = ["the meal was really good", "a lovely film", "Pay 5 euros to Ann", "was it not bad?"]
    found = done(
        BackTranslation(forward=str(tmp_path), back=str(tmp_path), share=1.0), rows(*({"text": t} for t in texts))
    )
    assert added(found) == []


@dataclass(kw_only=True)
class Interpreter(Teacher):
    """Translates from a small dictionary, out of order, and fails on what it does not know."""

    name: ClassVar[str] = "interpreter"

    def complete(self, requests: Any, context: Any) -> Any:
        """Answers in reverse."""
        for request in reversed(list(requests)):
            there = (
                request.messages[0]["content"] == "Translate the text into German. Answer with the translation alone."
            )
            assert there or request.messages[0]["content"].startswith("Translate the text into English. ")
            found = (PHRASES if there else AGAIN).get(request.messages[1]["content"])
            yield request, Answer(found or "", error="" if found else "unknown words")


def test_back_translation_by_a_teacher() -> None:
    context = settings([])
    context.run.teacher = {"mine": Interpreter()}
    part = BackTranslation(teacher="mine", language="German", share=1.0)
    assert list(part.check(context.run)) == []
    texts = ["the meal was really good", "a film was bad", "something else entirely", "the film was not bad"]
    found = done(part, rows(*({"text": t} for t in texts)), context)
    assert [row.columns["text"] for row in added(found)] == ["the meal was truly good", "a movie was bad"]
    assert context.counts["teacher's failures"] == 1
    assert context.counts["rejected: negation"] == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "transform.back_translation needs forward and back"),
        ({"forward": "a"}, "transform.back_translation needs forward and back"),
        ({"teacher": "mine"}, "transform.back_translation.teacher=mine: no such teacher (none is configured)"),
        ({"teacher": "mine", "back": "b"}, "transform.back_translation.teacher=mine translates instead of"),
    ],
)
def test_back_translation_says_what_it_needs(fields: dict[str, Any], said: str) -> None:
    assert next(iter(BackTranslation(**fields).check(settings([]).run))).startswith(said)


def test_a_sentence_model_compares_meaning(tmp_path: Path) -> None:
    """A model of word vectors, made on the spot: `film` and `movie` are near, `film` and `car` far apart."""
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    vocabulary = ["pad", "film", "movie", "car"]
    weights = np.array([[0.0, 0.0], [1.0, 0.1], [1.0, 0.0], [0.0, 1.0]])
    embedding = WordEmbeddings(WhitespaceTokenizer(vocabulary, stop_words=[]), weights)
    SentenceTransformer(modules=[embedding, Pooling(2)]).save(str(tmp_path))
    context = settings([])
    given = rows({"text": "film film"}, {"text": "a film film"})
    part = Scripted(share=1.0, min_likeness=0.0, semantic_model=str(tmp_path), min_cosine=0.9)
    found = done(part, given, context)
    assert [row.columns["text"] for row in added(found)] == ["film movie"]
    assert context.counts["rejected: other meaning"] == 1
