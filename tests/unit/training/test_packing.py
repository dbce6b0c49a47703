"""Packs: every row once, nothing cut, nearly full."""

from __future__ import annotations

import random
import time

import pytest

from tuneforge.training.batches.packing import fill, pack


def test_every_row_stands_in_one_pack_that_holds_it() -> None:
    draw = random.Random(0)
    rows = [draw.randint(1, 100) for _ in range(500)]
    packs = pack(rows, 128)
    assert sorted(i for p in packs for i in p) == list(range(500))
    assert all(sum(rows[i] for i in p) <= 128 for p in packs)
    assert fill(packs, rows, 128) > 0.97
    assert packs == pack(rows, 128)


def test_best_fit_takes_the_fullest_pack_that_holds_the_row() -> None:
    assert pack([6, 5, 4, 5], 10) == [[0, 2], [1, 3]]
    assert pack([], 10) == []
    assert fill(pack([], 10), [], 10) == 0.0


def test_a_row_that_is_too_long_is_an_error() -> None:
    with pytest.raises(ValueError, match="a row of 11 tokens is longer than max_length=10"):
        pack([11], 10)


def test_a_hundred_thousand_rows_take_a_moment() -> None:
    draw = random.Random(0)
    rows = [draw.randrange(1, 1025) for _ in range(100_000)]
    start = time.process_time()
    pack(rows, 1024)
    assert time.process_time() - start < 2
