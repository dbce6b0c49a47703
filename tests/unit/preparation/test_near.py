"""Near-duplicates: against all pairs compared one by one, on texts and on real rows."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

from tuneforge.preparation.near import RECALL, Search, bands
from tuneforge.preparation.shingles import Shingling, Unit, jaccard

CHARACTERS, WORDS = Shingling(), Shingling(Unit.words, 3)
WORD = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "r", "st", "ll", "k")]


def written(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORD) for _ in range(words))


def retyped(draw: random.Random, text: str, words: int) -> str:
    """The text with that many of its words replaced."""
    parts = text.split()
    for at in draw.sample(range(len(parts)), words):
        parts[at] = draw.choice(WORD)
    return " ".join(parts)


@pytest.mark.parametrize("shingling", [CHARACTERS, WORDS, Shingling(Unit.words, 1), Shingling(size=1)], ids=str)
def test_hashes_are_those_of_the_shingles(shingling: Shingling) -> None:
    texts = ["Once upon  a time", "", "ab", "once UPON a time, again", "Ünïcödé is  löng", "日本語の本"]
    texts += ["a a a a a a a"]
    hashes, offsets = shingling.hashes(texts)
    rows = [set(hashes[a:b].tolist()) for a, b in pairwise(offsets)]
    sets = [shingling.of(text) for text in texts]
    assert [len(row) for row in rows] == [len(one) for one in sets]
    for (a, b), (c, d) in zip(combinations(rows, 2), combinations(sets, 2), strict=True):
        assert len(a & b) == len(c & d)
    assert hashes.dtype == np.uint64
    alone = [shingling.hashes([text])[0].tolist() for text in texts]
    assert [sorted(row) for row in rows] == [sorted(set(one)) for one in alone]


def test_what_a_shingle_is() -> None:
    assert CHARACTERS.of(" Ab  cdE") == {"ab cd", "b cde"}
    assert CHARACTERS.of("ab") == {"ab"}
    assert CHARACTERS.of(" \n") == frozenset() == WORDS.of("?!")
    assert WORDS.of("The cat, the CAT sat.") == {"the cat the", "cat the cat", "the cat sat"}
    assert WORDS.of("Hi!") == {"hi"}
    assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5
    assert jaccard(frozenset(), frozenset()) == 0


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_find_what_is_just_as_similar_as_asked(threshold: float) -> None:
    number, rows = bands(threshold)
    assert number * rows <= 128
    assert 1 - (1 - threshold**rows) ** number >= RECALL
    assert rows == 128 or 1 - (1 - threshold ** (rows + 1)) ** (128 // (rows + 1)) < RECALL


@pytest.mark.parametrize("shingling", [CHARACTERS, WORDS], ids=str)
@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_against_all_pairs(shingling: Shingling, threshold: float) -> None:
    draw = random.Random(3)
    texts = [written(draw, draw.randint(15, 50)) for _ in range(150)]
    texts += [retyped(draw, draw.choice(texts), draw.randint(0, 5)) for _ in range(150)]
    draw.shuffle(texts)
    sets = [shingling.of(text) for text in texts]
    search = Search(len(texts), texts.__getitem__, threshold, shingling)
    found = {near.text: near for near in search.near()}
    for near in found.values():
        assert near.kept < near.text
        assert near.kept not in found
        assert near.similarity == jaccard(sets[near.text], sets[near.kept]) >= threshold
    stay = [n for n in range(len(texts)) if n not in found]
    missed = [pair for pair in combinations(stay, 2) if jaccard(sets[pair[0]], sets[pair[1]]) >= threshold]
    assert 20 < len(found) < 150
    assert missed == []
    assert search.limited == 0


def test_a_chain_is_not_one() -> None:
    """Each step is near the one before, the last is far from the first: what stays is near all that goes."""
    draw = random.Random(1)
    steps = [written(draw, 60)]
    for _ in range(12):
        steps.append(retyped(draw, steps[-1], 2))
    found = list(Search(len(steps), steps.__getitem__, 0.8).near())
    kept = {near.kept for near in found}
    assert len(kept) > 1
    assert all(near.similarity >= 0.8 for near in found)


def test_an_order_and_kinds() -> None:
    texts = ["the quick brown fox jumps over the lazy dog", "The quick brown fox jumps over the lazy dog!", "", ""]
    assert [near[:2] for near in Search(4, texts.__getitem__).near()] == [(1, 0)]
    assert [near[:2] for near in Search(4, texts.__getitem__).near([3, 2, 1, 0])] == [(0, 1)]
    assert list(Search(4, texts.__getitem__, kind=str).near()) == []
    assert list(Search(0, texts.__getitem__).near()) == []


def test_rows_of_one_template_do_not_make_it_quadratic() -> None:
    """All meet in some band, few are near: what could not be compared is counted."""
    draw = random.Random(0)
    form = written(draw, 30)
    texts = [f"{form} {written(draw, 12)}" for _ in range(1500)]
    search = Search(len(texts), texts.__getitem__, 0.9)
    found = list(search.near())
    assert search.limited > 0
    assert all(near.similarity >= 0.9 for near in found)


def test_whatever_the_hash_seed() -> None:
    code = (
        "import random; from tuneforge.preparation.near import Search; d = random.Random(0);"
        "w = [f'w{n}' for n in range(300)];"
        "t = [' '.join(d.choice(w) for _ in range(9)) for _ in range(50)]; t += [x + ' more' for x in t];"
        "print(list(Search(100, t.__getitem__, 0.5).near()))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert said.pop().count(b"Near(") >= 50


@pytest.mark.shared
def test_real_rows_against_all_pairs(shared: Path) -> None:
    with (shared / "data/banking77/train.csv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)][:1000]
    sets = [CHARACTERS.of(text) for text in texts]
    index: dict[str, list[int]] = {}
    pairs = set()
    for number, shingles in enumerate(sets):
        shared_with = np.bincount([o for s in shingles for o in index.get(s, ())], minlength=number)
        for other in np.flatnonzero(shared_with).tolist():
            if jaccard(shingles, sets[other]) >= 0.8:
                pairs.add((other, number))
        for shingle in shingles:
            index.setdefault(shingle, []).append(number)
    found = {near.text for near in Search(len(texts), texts.__getitem__).near()}
    assert len(pairs) > 5
    assert {pair for pair in pairs if not found & set(pair)} == set()
    assert found <= {later for _, later in pairs}
