"""Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuneforge.data.parquet import Parquet
from tuneforge.errors import ConfigError


def test_rows_with_nested_cells(tmp_path: Path, read: Any) -> None:
    rows = [{"messages": [{"role": "user", "content": str(n)}], "n": n if n % 2 else None} for n in range(2500)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = read(Parquet(path=str(tmp_path / "a.parquet")))
    assert [row.line for row in found.rows] == list(range(1, 2501))
    assert [dict(row.columns) for row in found.rows] == rows


def test_bytes_that_are_no_text(tmp_path: Path, read: Any) -> None:
    raw = pa.array([b"fine", b"caf\xe9", b"good"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    pq.write_table(pa.table({"a": text}), tmp_path / "a.parquet")
    found = read(Parquet(path=str(tmp_path / "a.parquet")))
    assert found.columns("a") == ["fine", "good"]
    assert found.reasons() == {2: "not UTF-8: byte 0xe9 at byte offset 3 of a cell"}


def test_broken_files(tmp_path: Path, read: Any) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(ConfigError, match="no readable Parquet file"):
        read(Parquet(path=str(tmp_path / "a.parquet")))
    pq.write_table(pa.table({"a": ["x" * 1000] * 100}), tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes((tmp_path / "b.parquet").read_bytes()[:-50])
    with pytest.raises(ConfigError, match="no readable Parquet file"):
        read(Parquet(path=str(tmp_path / "c.parquet")))
