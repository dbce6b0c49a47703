"""CSV and TSV."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tuneforge.data.csv import Csv
from tuneforge.errors import ConfigError


def file(tmp_path: Path, content: bytes, name: str = "rows.csv") -> str:
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


def test_cells_over_several_lines(tmp_path: Path, read: Any) -> None:
    found = read(Csv(path=file(tmp_path, b'\xef\xbb\xbfa,b\r\n1,"x\r\ny, ""z"""\r\n\r\n2,\r\n')))
    assert [(row.line, dict(row.columns)) for row in found.rows] == [
        (2, {"a": "1", "b": 'x\r\ny, "z"'}),
        (5, {"a": "2", "b": ""}),
    ]


def test_tabs(tmp_path: Path, read: Any) -> None:
    packed = gzip.compress(b"a\tb\n1\t2,5\n")
    assert read(Csv(path=file(tmp_path, packed, "rows.tsv.gz"))).columns("b") == ["2,5"]
    assert read(Csv(path=file(tmp_path, b"a\tb\n1\t2\n"), delimiter="tab")).columns("b") == ["2"]
    assert read(Csv(path=file(tmp_path, b"a;b\n1;2\n"), delimiter=";")).columns("b") == ["2"]
    with pytest.raises(ConfigError, match="delimiter=';;' must be one character"):
        read(Csv(path=file(tmp_path, b"a;b\n1;2\n"), delimiter=";;"))


def test_bad_rows_are_rejected_one_by_one(tmp_path: Path, read: Any) -> None:
    rows = [
        b"a,b",
        b"1,2",
        b"1",
        b"1,2,3",
        b"caf\xe9,2",
        b'"x"y,2',
        b"z," + b"x" * 5_000_000,
        b"5,6",
        b'"open,1',
        b"2,3",
    ]
    found = read(Csv(path=file(tmp_path, b"\n".join(rows))))
    assert found.columns("b") == ["2", "6"]
    reasons = found.reasons()
    assert reasons[3] == "wrong number of cells: 1, the header has 2"
    assert reasons[4] == "wrong number of cells: 3, the header has 2"
    assert reasons[5] == "not UTF-8: byte 0xe9 at byte offset 19 of the file"
    assert reasons[6].startswith("invalid CSV: ',' expected after '\"'")
    assert reasons[7] == "row too large: 5,000,003 bytes, the limit is 4,194,304"
    assert reasons[9] == "invalid CSV: unexpected end of data"


def test_truncated_gzip(tmp_path: Path, read: Any) -> None:
    import random

    noise = random.Random(0)
    packed = gzip.compress(b"a,b\n" + b"".join(b"%d,%f\n" % (n, noise.random()) for n in range(5000)))
    found = read(Csv(path=file(tmp_path, packed[: len(packed) // 2], "rows.csv.gz")))
    assert len(found.rows) > 1000
    assert "broken gzip" in found.rejected[-1].reason


def test_headers(tmp_path: Path, read: Any) -> None:
    with pytest.raises(ConfigError, match="the header names 'a' twice"):
        read(Csv(path=file(tmp_path, b"a,a\n1,2\n")))
    with pytest.raises(ConfigError, match="no usable header line: not UTF-8"):
        read(Csv(path=file(tmp_path, b"\xe9,a\n1,2\n")))
    with pytest.raises(ConfigError, match="no header line"):
        read(Csv(path=file(tmp_path, b"\n\n")))
    assert read(Csv(path=file(tmp_path, b"a,b\n"))).rows == []
