"""Rows and packs as tensors."""

from __future__ import annotations

import pytest
import torch

from tuneforge.rows import Encoded
from tuneforge.training.batches.collate import collate, collate_packed


def row(ids: list[int], first: int = -100) -> Encoded:
    return Encoded({"input_ids": ids, "labels": [first, *ids[1:]]})


def test_rows_are_padded_on_the_right() -> None:
    batch = collate([row([5, 6, 7]), row([8])], pad=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [-100, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert {t.dtype for t in batch.values()} == {torch.int64}


def test_parts_and_extras() -> None:
    parts = {"chosen.input_ids": [1, 2], "chosen.labels": [-100, 2], "rejected.input_ids": [3], "rejected.labels": [3]}
    batch = collate([Encoded(parts, {"weight": 0.5})], pad=0)
    assert set(batch) == {*parts, "chosen.attention_mask", "rejected.attention_mask", "weight"}
    assert batch["weight"].dtype == torch.float32


def test_packs_restart_positions_and_silence_first_labels() -> None:
    batch = collate_packed([[row([5, 6, 7], 5), row([8, 9], 8)], [row([4], 4)]], pad=0, length=7)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 0, 0], [4, 0, 0, 0, 0, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0, 1], [0, 0, 1, 2, 3, 4, 5]]
    assert batch["labels"].tolist() == [[-100, 6, 7, -100, 9, -100, -100], [-100] * 7]
    assert "attention_mask" not in batch


def test_a_pack_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 3 tokens does not fit in 2"):
        collate_packed([[row([1, 2, 3])]], pad=0, length=2)
