"""Words with tags, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tuneforge.data.conll import Conll


def file(tmp_path: Path, content: str | bytes) -> str:
    path = tmp_path / "a.conll"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def sentences(found: Any) -> list[tuple[int | str, str]]:
    made = []
    for row in found.rows:
        pairs = zip(row.columns["tokens"], row.columns["tags"], strict=True)
        made.append((row.line, " ".join(f"{a}/{b}" for a, b in pairs)))
    return made


def test_tabs_bom_crlf_and_blank_lines(tmp_path: Path, read: Any) -> None:
    found = read(Conll(path=file(tmp_path, b"\xef\xbb\xbf\r\nAnn\tB-PER\r\n!\tO\r\n\r\n \r\n#RT\tO\r\n")))
    assert sentences(found) == [(2, "Ann/B-PER !/O"), (6, "#RT/O")]
    assert not found.notes


def test_four_columns_documents_and_comments(tmp_path: Path, read: Any) -> None:
    text = "-DOCSTART- -X- -X- O\n\n# sent 1\nAnn NNP B-NP B-PER\n# SYM O O\n\nhere RB O O\n"
    found = read(Conll(path=file(tmp_path, text)))
    assert sentences(found) == [(4, "Ann/B-PER #/O"), (7, "here/O")]
    assert found.notes[0]["text"].endswith("1 -DOCSTART- lines passed over, 1 comments passed over")
    assert sentences(read(Conll(path=file(tmp_path, text), tag=1)))[1] == (7, "here/RB")


def test_lines_with_other_columns_are_counted_or_rejected(tmp_path: Path, read: Any) -> None:
    found = read(Conll(path=file(tmp_path, "a\tO\nb\tx\tB-X\n\nc\n\nd\tO\n\n\tO\n")))
    assert sentences(found) == [(1, "a/O b/B-X"), (6, "d/O"), (8, "/O")]
    assert found.reasons() == {4: "wrong number of columns: line 4 has 1, a word and its tag are 2"}
    assert found.notes[0]["text"].endswith("2 lines with other columns than the first")
    assert read(Conll(path=file(tmp_path, "a\tO\n"), tag=3)).reasons() == {1: "wrong number of columns: line 1 has 2"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"caf\xe9\tO\n", "not UTF-8: byte 0xe9"),
        (b"x" * 5_000_000 + b"\tO\n", "row too large: 5,000,003 bytes"),
        (b"word\tO\n" * 700_000, "row too large: a sentence of over"),
    ],
)
def test_a_bad_sentence_is_rejected_and_the_others_are_kept(
    line: bytes, reason: str, tmp_path: Path, read: Any
) -> None:
    found = read(Conll(path=file(tmp_path, b"a\tO\n\nb\tO\n" + line + b"\nc\tO\n")))
    assert [text for _, text in sentences(found)] == ["a/O", "c/O"]
    assert list(found.reasons()) == [3]
    assert found.reasons()[3].startswith(reason)
