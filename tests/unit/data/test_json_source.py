"""JSON Lines, arrays and objects, with everything that is wrong in real files."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tuneforge.data.json import Json
from tuneforge.errors import ConfigError


def file(tmp_path: Path, content: bytes | str, name: str = "rows.jsonl") -> str:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_lines_with_numbers(tmp_path: Path, read: Any) -> None:
    path = file(tmp_path, '{"a": 1}\n\n   \n{"a": 2}\n{"a": 3}')
    found = read(Json(path=path))
    assert [(row.line, row.columns["a"], row.file) for row in found.rows] == [(1, 1, path), (4, 2, path), (5, 3, path)]
    assert not found.notes


def test_bom_and_crlf_are_fine(tmp_path: Path, read: Any) -> None:
    found = read(Json(path=file(tmp_path, b'\xef\xbb\xbf{"a": "x"}\r\n{"a": "y"}\r\n')))
    assert found.columns("a") == ["x", "y"]


def test_bom_before_an_array(tmp_path: Path, read: Any) -> None:
    assert read(Json(path=file(tmp_path, b'\xef\xbb\xbf[{"a": "x"}]', "rows.json"))).columns("a") == ["x"]


def test_one_invalid_line_in_a_large_file(tmp_path: Path, read: Any) -> None:
    lines = [json.dumps({"a": number}) for number in range(1, 10_001)]
    lines[7430] = '{"a": 7431'
    found = read(Json(path=file(tmp_path, "\n".join(lines))))
    assert len(found.rows) == 9999
    assert found.reasons() == {7431: "invalid JSON: Expecting ',' delimiter at column 11"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"oops", "invalid JSON: Expecting value at column 1"),
        (b'{"a": "x"} {"a": "y"}', "invalid JSON: Extra data at column 12"),
        (b'{"a": "x\0y"}', "NUL character: at column 9"),
        (b'{"a": "caf\xe9"}', "not UTF-8: byte 0xe9 at byte offset 21 of the file"),
        (b'{"a": "x", "a": "y"}', "duplicate key: 'a'"),
        (b'{"a": {"b": 1, "b": 2}}', "duplicate key: 'b'"),
        (b'["a"]', "not an object: a row must be {…}, this is a list"),
        (b"null", "not an object: a row must be {…}, this is null"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid JSON: nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "invalid JSON: Exceeds the limit"),
        (b'{"a": "' + b"x" * 20_000_000 + b'"}', "row too large: 20,000,010 bytes, the limit is 4,194,304"),
    ],
)
def test_a_bad_line_is_rejected_and_the_others_are_kept(tmp_path: Path, read: Any, line: bytes, reason: str) -> None:
    found = read(Json(path=file(tmp_path, b'{"a": "1"}\n' + line + b'\n{"a": "3"}\n')))
    assert found.columns("a") == ["1", "3"]
    assert list(found.reasons()) == [2]
    assert found.reasons()[2].startswith(reason)


def test_first_line_bad(tmp_path: Path, read: Any) -> None:
    found = read(Json(path=file(tmp_path, '{"a": \n{"a": 2}\n{"a": 3}\n')))
    assert found.columns("a") == [2, 3]
    found = read(Json(path=file(tmp_path, '{"a": "' + "x" * 5_000_000 + '"}\n{"a": 2}\n')))
    assert found.columns("a") == [2]


def test_truncated_gzip_keeps_the_rows_before_the_break(tmp_path: Path, read: Any) -> None:
    noise = random.Random(0)
    lines = [json.dumps({"a": number, "b": noise.random()}) + "\n" for number in range(5000)]
    packed = gzip.compress("".join(lines).encode())
    found = read(Json(path=file(tmp_path, packed[: len(packed) // 2], "rows.jsonl.gz")))
    assert 1000 < len(found.rows) < 4000
    assert found.columns("a") == list(range(len(found.rows)))
    assert list(found.reasons()) == [len(found.rows) + 1]
    assert "broken gzip: Compressed file ended before" in found.rejected[0].reason


def test_damaged_gzip(tmp_path: Path, read: Any) -> None:
    packed = bytearray(gzip.compress(b"".join(b'{"a": %d}\n' % n for n in range(1000))))
    packed[-8] ^= 1  # the checksum
    found = read(Json(path=file(tmp_path, bytes(packed), "rows.jsonl.gz")))
    assert "broken gzip: CRC check failed" in found.rejected[-1].reason
    with pytest.raises(ConfigError, match="broken gzip"):
        read(Json(path=file(tmp_path, bytes(packed[:11]), "tiny.jsonl.gz")))


def test_truncated_gzip_of_an_array(tmp_path: Path, read: Any) -> None:
    noise = random.Random(0)
    packed = gzip.compress(json.dumps([{"a": number, "b": noise.random()} for number in range(5000)]).encode())
    found = read(Json(path=file(tmp_path, packed[: len(packed) // 2], "rows.json.gz")))
    assert 1000 < len(found.rows) < 4000
    assert found.columns("a") == list(range(len(found.rows)))
    assert found.rejected[0].row.line == len(found.rows) + 1
    assert len(found.rejected) == 1


def test_array(tmp_path: Path, read: Any) -> None:
    content = json.dumps([{"a": 1}, {"a": 2}, 3, "four", None], indent=2)
    found = read(Json(path=file(tmp_path, content, "rows.json")))
    assert [(row.line, dict(row.columns)) for row in found.rows] == [
        (1, {"a": 1}),
        (2, {"a": 2}),
        (4, {"text": "four"}),
    ]
    assert list(found.reasons()) == [3, 5]
    assert not found.notes


def test_bad_rows_of_an_array(tmp_path: Path, read: Any) -> None:
    content = b'[{"a": 1, "a": 2},\n{"b": "caf\xe9"}, {"b": "caf\xe9 \xff"},{"a": "%s"}, {"a": 4}]' % (b"x" * 5_000_000)
    found = read(Json(path=file(tmp_path, content, "rows.json")))
    assert found.columns("a") == [4]
    assert found.reasons() == {
        1: "duplicate key: 'a'",
        2: "not UTF-8: byte 0xe9 at byte offset 29 of the file",
        3: "not UTF-8: byte 0xe9 at byte offset 44 of the file",
        4: "row too large: 5,000,009 characters, the limit is 4,194,304",
    }


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ('[{"a": 1},\n {"a": 2,}]', "line 2 column"),
        ('[{"a": 1}\n {"a": 2}]', "line 2 column 2: Expecting ',' and a value, or ']'"),
        ('[{"a": 1},]', r"line 1 column 10: Expecting ','"),
        ('[{"a": 1}', "line 1 column 10: Expecting ','"),
        ('[{"a": 1}]\n{"a": 2}', "line 2 column 1: the array has ended, but the file goes on"),
        ('{"x": {"a": 1},\n"y" {"a": 2}}', "line 2 column 1: Expecting a key and ':'"),
        ('{\n"x": {"a": 1}', "line 2 column 14"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_an_invalid_document_names_line_and_column(tmp_path: Path, read: Any, content: str, where: str) -> None:
    with pytest.raises(ConfigError, match="is not valid JSON: " + where.replace("(", r"\(")):
        read(Json(path=file(tmp_path, content, "rows.json")))


def test_the_content_decides_not_the_suffix(tmp_path: Path, read: Any) -> None:
    found = read(Json(path=file(tmp_path, '{"a": 1}\n{"a": 2}\n', "rows.json")))
    assert found.columns("a") == [1, 2]
    assert found.notes == [{"text": "rows.json holds JSON Lines, whatever its suffix says"}]
    found = read(Json(path=file(tmp_path, '[{"a": 1}, {"a": 2}]', "rows.jsonl")))
    assert found.columns("a") == [1, 2]
    assert found.notes == [{"text": "rows.jsonl holds a JSON array, whatever its suffix says"}]


@pytest.mark.parametrize("indent", [None, 2])
def test_object_keyed_by_id(tmp_path: Path, read: Any, indent: int | None) -> None:
    content = json.dumps({"id7": {"a": {"b": 1}}, "id9": {"a": {}}}, indent=indent)
    found = read(Json(path=file(tmp_path, content, "rows.json")))
    assert [(row.line, row.columns["a"]) for row in found.rows] == [("id7", {"b": 1}), ("id9", {})]
    assert not found.notes


def test_large_object_keyed_by_id_on_one_line(tmp_path: Path, read: Any) -> None:
    content = json.dumps({f"k{n}": {"a": "x" * 10_000} for n in range(600)})
    assert len(read(Json(path=file(tmp_path, content, "rows.json"))).rows) == 600


def test_object_of_other_things(tmp_path: Path, read: Any) -> None:
    path = file(tmp_path, json.dumps({"version": 1, "examples": [{"a": 1}, {"a": 2}]}, indent=1), "rows.json")
    with pytest.raises(ConfigError, match=r"'version' holds a number, not a row.*data.<key>.rows="):
        read(Json(path=path))
    assert read(Json(path=path, rows="examples")).columns("a") == [1, 2]
    with pytest.raises(ConfigError, match=r"no key 'exmples' \(it has version, examples\). Did you mean 'examples'\?"):
        read(Json(path=path, rows="exmples"))
    with pytest.raises(ConfigError, match="'version' holds no array"):
        read(Json(path=path, rows="version"))


def test_one_row(tmp_path: Path, read: Any) -> None:
    assert read(Json(path=file(tmp_path, '{"text": "x", "meta": {}}'))).columns("text") == ["x"]
    assert read(Json(path=file(tmp_path, "[]", "rows.json"))).rows == []
