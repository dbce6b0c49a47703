"""The cache that processes share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tuneforge.cache import Cache, key


def test_what_was_put_is_found_by_another_process(tmp_path: Path) -> None:
    file = tmp_path / "below" / "answers.sqlite"
    assert Cache(file).get(["a"]) == {}
    script = (
        f"from tuneforge.cache import Cache; Cache(__import__('pathlib').Path({str(file)!r})).put({{'a': [1, 'é']}})"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    Cache(file).put({str(n): n for n in range(1200)})
    found = Cache(file).get(["a", "b", *map(str, range(1200))])
    assert found["a"] == [1, "é"]
    assert "b" not in found
    assert len(found) == 1201


def test_a_file_that_is_no_database_is_moved_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "answers.sqlite"
    file.write_bytes(b"torn" * 1000)
    Cache(file).put({"a": 1})
    assert Cache(file).get(["a"]) == {"a": 1}
    assert file.with_name("answers.sqlite.damaged").read_bytes()[:4] == b"torn"
    assert "answers.sqlite is no database: moved to answers.sqlite.damaged" in capsys.readouterr().err


def test_keys_do_not_depend_on_the_order_of_a_mapping() -> None:
    assert key("m", {"a": 1, "b": 2}) == key("m", {"b": 2, "a": 1})
    assert key("ab", "c") != key("a", "bc")
