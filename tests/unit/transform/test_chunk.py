"""Pieces of documents: together they are the document, each fits, and each knows where it comes from."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tuneforge
from tests.unit.transform.real import real_rows
from tuneforge.context import RunContext
from tuneforge.model.tiny import Tiny
from tuneforge.preparation.transforming import transform
from tuneforge.rows import Row
from tuneforge.transform.chunk import Chunk, Unit, _token_ends, _tokenizer
from tuneforge.transform.cleaning.pieces import heading, pieces


def cut(text: str, **options: Any) -> list[Row]:
    context = SimpleNamespace(counts=Counter(), run=SimpleNamespace(model=Tiny()))
    row = Row(columns={"text": text}, file="a.txt", line=12)
    return [row for row in Chunk(**options).apply([row], context) if isinstance(row, Row)]  # type: ignore[arg-type]


def texts(rows: list[Row]) -> list[str]:
    return [str(row.columns["text"]) for row in rows]


def test_paragraphs_then_sentences_then_words_then_characters() -> None:
    assert texts(cut("One two.\n\nThree four. Five.", size=16)) == ["One two.\n\n", "Three four. ", "Five."]
    assert texts(cut("Aaa bbb. Ccc ddd eee", size=12)) == ["Aaa bbb. ", "Ccc ddd eee"]
    assert texts(cut("aaaa bbbb cccc", size=9)) == ["aaaa ", "bbbb cccc"]
    assert texts(cut("abcdefghij", size=4)) == ["abcd", "efgh", "ij"]


def test_overlap_begins_with_a_word() -> None:
    assert texts(cut("aa bb cc dd ee ff", size=9, overlap=4)) == ["aa bb cc ", "cc dd ee ", "ee ff"]
    assert texts(cut("aa bb cc dd ee ff", size=3, overlap=1, unit=Unit.words)) == ["aa bb cc ", "cc dd ee ", "ee ff"]


def test_rows_are_traceable_and_one_group() -> None:
    rows = cut("aa bb cc dd ee ff", size=9)
    assert [(row.line, row.group) for row in rows] == [("12#1", "a.txt:12"), ("12#2", "a.txt:12")]


def test_what_is_short_or_no_document_stays() -> None:
    context = SimpleNamespace(counts=Counter())
    rows = [Row(columns=c) for c in ({"text": "short"}, {"text": "x " * 50, "label": 1}, {"prompt": "x " * 50})]
    assert list(Chunk(size=20).apply(rows, context)) == rows  # type: ignore[arg-type]
    assert not context.counts


def test_headings() -> None:
    text = "# Title\n\nIntro text here.\n\n## Part\n\nMore text stands here.\n\nAnd the last of it."
    assert texts(cut(text, size=34, headings=True)) == [
        "# Title\n\nIntro text here.\n\n", "## Part\n\nMore text stands here.\n\n", "## Part\n\nAnd the last of it.",
    ]  # fmt: skip
    assert heading("A plain title\n\nBody. Body.", 20) == "A plain title"
    assert heading("A sentence.\n\nBody. Body.", 20) == ""


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost(seed: int) -> None:
    draw = random.Random(seed)
    alphabet = ["a", "bb", " ", "  ", ". ", "\n", "\n\n", "é", "你", "。", "!\n"]
    text = "".join(draw.choices(alphabet, k=400))
    size = draw.randint(2, 60)
    overlap = draw.randint(0, size // 2)
    ends = range(1, len(text) + 1)
    found = list(pieces(text, ends, size, overlap))
    assert "".join(text[piece.fresh : piece.end] for piece in found) == text
    for before, piece in pairwise(found):
        assert before.end - overlap <= piece.start <= piece.fresh == before.end < piece.end
        assert piece.end - piece.start <= size


def test_tokens_are_those_of_the_run() -> None:
    text = "The answer is forty-two. Once upon a time there was a little dog. " * 20
    tokenizer = _tokenizer(SimpleNamespace(run=SimpleNamespace(model=Tiny())))  # type: ignore[arg-type]
    found = list(pieces(text, _token_ends(text, tokenizer), 50, 10))
    assert "".join(text[piece.fresh : piece.end] for piece in found) == text
    sizes = [len(tokenizer(text[p.start : p.end], add_special_tokens=False)["input_ids"]) for p in found]
    assert max(sizes) <= 52
    assert texts(cut(text, size=50, overlap=10, unit=Unit.tokens)) == [text[p.start : p.end] for p in found]


def test_check() -> None:
    assert not list(Chunk().check(None))  # type: ignore[arg-type]
    found = list(Chunk(size=10, overlap=6).check(None))  # type: ignore[arg-type]
    assert found == ["overlap=6 must be from 0 to half of size=10"]


@pytest.mark.shared
@pytest.mark.parametrize("unit", [Unit.characters, Unit.words])
def test_real_documents(unit: Unit, shared: Path, tmp_path: Path) -> None:
    context = RunContext(tuneforge.compose([]), tmp_path)
    rows = real_rows(shared, "wiki") + real_rows(shared, "c4")[:100]
    size, overlap = (1000, 100) if unit is Unit.characters else (200, 20)
    done = transform("chunk", Chunk(size=size, overlap=overlap, unit=unit), rows, "train", context)
    assert len({row.place for row in done.rows}) == len(done.rows) > 500
    assert done.report.changed == done.report.counts["documents cut"]
    assert done.report.after == done.report.before - done.report.changed + done.report.counts["pieces"]
    for row in rows[:40]:
        ends = Chunk(unit=unit)._ends(context)(row.columns["text"])
        found = list(pieces(row.columns["text"], ends, size, overlap))
        assert "".join(row.columns["text"][piece.fresh : piece.end] for piece in found) == row.columns["text"]
