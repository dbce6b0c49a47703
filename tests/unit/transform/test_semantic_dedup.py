"""Semantic deduplication, by a small model of word vectors made on the spot."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tuneforge.errors import ConfigError
from tuneforge.preparation import semantic
from tuneforge.preparation.compared import Keep, Part
from tuneforge.rows import Rejected, Row
from tuneforge.transform.semantic_dedup import SemanticDedup

SYNONYMS = ("car automobile", "buy purchase", "fast quick", "house home", "begin start")
OTHERS = ["the", "where", "can", "i", "a", "my", "is", "how", "do", "red", "green", "river", "bread", "and"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Synonyms have nearly one vector, all other words vectors of their own; a text is their mean."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = [word for pair in SYNONYMS for word in pair.split()] + sorted(set(OTHERS))
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(len(words) + 1, 48)).astype("float32")
    for at in range(0, 2 * len(SYNONYMS), 2):
        vectors[at + 1] = vectors[at] + 0.05 * draw.normal(size=48)
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate([*words, "?"])}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("embedder")
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=vectors)]).save(str(folder))
    return str(folder)


def dropped(component: SemanticDedup, *columns: dict[str, Any]) -> dict[int | str, str]:
    rows = [Row(columns=c, file="a.jsonl", line=number) for number, c in enumerate(columns, 1)]
    context: Any = SimpleNamespace(seed=0, counts=Counter())
    found = list(component.apply(iter(rows), context))
    assert [item.row if isinstance(item, Rejected) else item for item in found] == rows
    return {item.row.line: item.reason for item in found if isinstance(item, Rejected)}


def test_other_words_for_the_same_are_found(model: str) -> None:
    given = (
        {"prompt": "where can i buy a fast car", "completion": "the river"},
        {"prompt": "where can i purchase a quick automobile", "completion": "the river"},
        {"prompt": "where can i buy a fast car", "completion": "my house is red"},
        {"prompt": "how do i begin the bread", "completion": "the river is green"},
        {"prompt": "", "completion": ""},
        {"prompt": "", "completion": ""},
    )
    reasons = dropped(SemanticDedup(model=model), *given)
    assert list(reasons) == [2]
    assert reasons[2].startswith("same meaning: cosine 0.9")
    assert reasons[2].endswith("to a.jsonl:1")
    assert list(dropped(SemanticDedup(model=model, compare=Part.prompt), *given)) == [2, 3]
    assert list(dropped(SemanticDedup(model=model, compare=Part.answer), *given)) == [2]
    assert list(dropped(SemanticDedup(model=model, keep=Keep.longest), *given)) == [1]
    assert dropped(SemanticDedup(model=model, threshold=1.0), *given) == {}
    labels = ({"text": "buy a fast car", "label": "a"}, {"text": "purchase a quick car", "label": "b"})
    assert dropped(SemanticDedup(model=model), *labels) == {}
    assert dropped(SemanticDedup(model=model)) == {}


@pytest.mark.parametrize("clusters", [None, 1, 5])
def test_against_all_pairs(clusters: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks, too; clusters part no planted pair here."""
    monkeypatch.setattr(semantic, "CELLS", 7000)
    draw = np.random.default_rng(1)
    centres = 4 * draw.normal(size=(5, 16))
    vectors = (np.repeat(centres, 60, axis=0) + draw.normal(size=(300, 16))).astype("float32")
    vectors[100:130] = vectors[:30][::-1] + 0.01
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kinds = ["a"] * 299 + ["b"]
    found = {near.text: near for near in semantic.near(vectors, kinds, 0.97, clusters, 0)}
    cosines = vectors @ vectors.T
    stays: list[int] = []
    for at in range(299):
        near = [other for other in stays if cosines[at, other] >= 0.97]
        if near:
            assert found[at].kept == max(near, key=lambda other: cosines[at, other])
            assert found[at].similarity == pytest.approx(cosines[at, found[at].kept], abs=1e-5)
        else:
            stays.append(at)
    assert set(found) == set(range(299)) - set(stays)
    assert len(found) >= 30


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    run: Any = None
    assert "model is needed" in next(iter(SemanticDedup().check(run)))
    bad = list(SemanticDedup(model="m", threshold=2, clusters=0).check(run))
    assert bad == ["threshold=2 is a cosine: above 0 and at most 1", "clusters=0 must be at least 1"]
    with pytest.raises(ConfigError, match=r"transform.semantic_dedup.model=.*is no sentence-transformers model"):
        dropped(SemanticDedup(model=str(tmp_path)), {"text": "x"})
