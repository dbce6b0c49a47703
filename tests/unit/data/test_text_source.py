"""Plain text."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tuneforge.data.text import Text, Unit

CONTENT = b"\xef\xbb\xbf\n\none\r\n two\r\n\r\n\r\nthree\n\nfo\xffur\nfive\n\nsix"


@pytest.mark.parametrize(
    ("unit", "rows", "rejected"),
    [
        (Unit.paragraph, [(3, "one\n two"), (7, "three"), (12, "six")], [9]),
        (Unit.line, [(3, "one"), (4, " two"), (7, "three"), (10, "five"), (12, "six")], [9]),
        (Unit.file, [], [3]),
    ],
)
def test_units(tmp_path: Path, read: Any, unit: Unit, rows: list[Any], rejected: list[int]) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(CONTENT))
    found = read(Text(path=str(tmp_path / "a.txt.gz"), unit=unit))
    assert [(row.line, row.columns["text"]) for row in found.rows] == rows
    assert list(found.reasons()) == rejected
    assert found.rejected[0].reason == "not UTF-8: byte 0xff at byte offset 29 of the file"
    assert f"one row per {unit}" in found.notes[0]["text"]


def test_whole_file_keeps_its_blank_lines(tmp_path: Path, read: Any) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n\n")
    assert read(Text(path=str(tmp_path / "a.txt"), unit=Unit.file)).columns("text") == ["one\n\ntwo"]


def test_too_large_a_unit(tmp_path: Path, read: Any) -> None:
    (tmp_path / "a.txt").write_text(("x" * 1000 + "\n") * 6000 + "\nshort\n")
    found = read(Text(path=str(tmp_path / "a.txt")))
    assert found.columns("text") == ["short"]
    assert found.reasons() == {1: "row too large: over 4,194,304 characters; choose a smaller unit"}
