"""What is wrong with a file itself is said once, as an error of the config."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tuneforge.components import DataSource
from tuneforge.data import reading
from tuneforge.data.csv import Csv
from tuneforge.data.json import Json
from tuneforge.data.parquet import Parquet
from tuneforge.data.share import Share
from tuneforge.data.text import Text
from tuneforge.errors import ConfigError

ALL: list[type[DataSource]] = [Json, Csv, Parquet, Text]


@pytest.mark.parametrize("source", ALL)
def test_missing_file_names_the_nearest(source: type[DataSource], tmp_path: Path, read: Any) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(ConfigError, match=r"trian.jsonl does not exist\. Did you mean 'train.jsonl'\?"):
        read(source(path=str(tmp_path / "trian.jsonl")))


@pytest.mark.parametrize("source", ALL)
def test_missing_directory_is_said(source: type[DataSource], tmp_path: Path, read: Any) -> None:
    with pytest.raises(ConfigError, match=r"There is no directory .*nowhere either"):
        read(source(path=str(tmp_path / "nowhere" / "train.jsonl")))


@pytest.mark.parametrize("source", ALL)
def test_directory_empty_file_and_no_path(source: type[DataSource], tmp_path: Path, read: Any) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ConfigError, match="is a directory"):
        read(source(path=str(tmp_path)))
    with pytest.raises(ConfigError, match="is empty"):
        read(source(path=str(tmp_path / "empty")))
    with pytest.raises(ConfigError, match="path is empty"):
        read(source(path=""))


def test_utf16_and_blank_files(tmp_path: Path, read: Any) -> None:
    (tmp_path / "wide.jsonl").write_text('{"text": "x"}', encoding="utf-16")
    (tmp_path / "blank.jsonl").write_text("\n \n\n")
    with pytest.raises(ConfigError, match="is UTF-16; save it as UTF-8"):
        read(Json(path=str(tmp_path / "wide.jsonl")))
    with pytest.raises(ConfigError, match="only blank lines"):
        read(Json(path=str(tmp_path / "blank.jsonl")))


def test_unreadable_file(tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": "x"}\n')

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    # Tests often run as root, whom no permission bit stops.
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(ConfigError, match=r"train.jsonl cannot be read: Permission denied"):
        read(Json(path=str(path)))


def test_home_is_expanded(tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    assert read(Json(path="~/a.jsonl")).columns("text") == ["x"]


def test_gzip_is_known_by_its_content(tmp_path: Path, read: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(gzip.compress(b'{"text": "x"}\n'))
    assert read(Json(path=str(path))).columns("text") == ["x"]


def test_lines_of_any_size_hold_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "huge.jsonl"
    path.write_bytes(b'{"text": "' + b"x" * 20_000_000 + b'"}\n{"text": "y"}\n')
    tracemalloc.start()
    found = [(line.number, len(line.data), line.problem) for line in reading.lines(path)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [(1, 0, "row too large: 20,000,013 bytes, the limit is 4,194,304"), (2, 14, "")]
    assert peak < 16_000_000


def test_share_is_no_file(read: Any) -> None:
    with pytest.raises(ConfigError, match="belongs under validation or test"):
        read(Share())


def test_share_checks_its_fields() -> None:
    assert not list(Share().check(None))  # type: ignore[arg-type]
    assert list(Share(fraction=0.9).check(None)) == ["fraction=0.9 must be above 0 and at most 0.5"]  # type: ignore[arg-type]
    assert len(list(Share(fraction=0, path="x").check(None))) == 2  # type: ignore[arg-type]
