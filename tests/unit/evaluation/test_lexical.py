"""BM25 as vectors, and as what an embedding model has to beat."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from tuneforge.evaluation.lexical import WIDTH, Bm25

CORPUS = ["the cat sat on the mat", "the dog sat", "a bird sings in the tree", "cat and dog and bird"]


def reference(query: str, text: str) -> float:
    """The textbook's sum over the words of the query."""
    texts = [t.split() for t in CORPUS]
    mean = sum(map(len, texts)) / len(texts)
    total = 0.0
    for word in query.split():
        n = sum(word in t for t in texts)
        count = Counter(text.split())[word]
        weight = math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
        total += weight * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(text.split()) / mean))
    return total


def test_the_dot_product_ranks_as_bm25() -> None:
    found = Bm25([*CORPUS, CORPUS[0]])  # an equal text is one candidate
    for query in ("cat sat", "bird tree sings nowhere", "the dog"):
        scores = (found.embed([query]) @ found.embed(CORPUS).T)[0]
        wanted = np.array([reference(query, text) for text in CORPUS])
        assert np.allclose(scores / scores.max(), wanted / wanted.max(), atol=1e-6)
    assert not found.embed(["nowhere"]).any()


def test_many_words_share_dimensions() -> None:
    found = Bm25(f"w{i}" for i in range(WIDTH + 10))
    assert found.embed(["w1", "W1", "w2"]).shape == (3, WIDTH)
    assert np.array_equal(*found.embed(["w1", "W1"]))


def test_the_better_of_base_and_words_is_to_be_beaten() -> None:
    from tests.unit.evaluation.heads import pair_rows, settings
    from tests.unit.training import bert
    from tuneforge.evaluation.contenders import contenders
    from tuneforge.evaluator.retrieval import Retrieval
    from tuneforge.rows import HeldOut, Loaded
    from tuneforge.strategy.contrastive import Contrastive

    context = settings([], Contrastive())
    loaded = Loaded(bert.bert("BertModel"), bert.tokenizer())
    shared = pair_rows([(f"w{i} w90", f"w{i} w91") for i in range(20)])
    for rows, split, names, wanted in (
        (shared, "validation", ["base", "bm25"], "bm25"),
        (shared, "test", ["base", "bm25"], "bm25"),
    ):
        held = [HeldOut("pairs", split, "target", rows)]
        found, choice = contenders(context.run, loaded, {"retrieval": Retrieval()}, held, (), context)
        assert (list(found), choice.name) == (names, wanted)
        assert bool(choice.scores) is (split == "validation")
    assert context.notes[-1]["text"].startswith("no validation rows to choose on, so BM25")
    # Nothing but an unknown word is shared here, and each text is one word by itself.
    unlike = pair_rows([(f"w{i}", f"strange W{i}x") for i in range(20)])
    held = [HeldOut("pairs", "validation", "target", unlike)]
    found, choice = contenders(context.run, loaded, {"retrieval": Retrieval()}, held, (), context)
    assert (list(found), choice.name) == (["base"], "base")
