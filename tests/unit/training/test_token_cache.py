"""Encoded rows are found again by content, and by nothing less; damage and rivals do no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.training import small
from tuneforge.model.tiny import Tiny
from tuneforge.rows import Encoded, Rejected, Row
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.sft import LossOn, Sft
from tuneforge.training.text import token_cache
from tuneforge.training.text.encode import encode


def rows(n: int = 30) -> list[Row]:
    found = [
        Row(
            columns={
                "prompt": f"Question {i}?", "completion": f"Answer {i}.", "chosen": f"Good {i}", "rejected": f"Bad {i}",
                "text": "many words " * (i + 1),
            },
            file="x.jsonl", line=i,
        )
        for i in range(n)
    ]  # fmt: skip
    return [*found, Row(columns={"label": "odd"}, file="x.jsonl", line=n)]


def tokens():
    run = small.settings()
    run.model = Tiny()
    return run.model.load("causal_lm", small.context(run, Path())).tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return tokens()


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(token_cache, "FEWEST", 5)


def encoded(folder: Path, tokenizer, strategy=None, given=None, cache="cache", **values):
    run = small.settings(strategy or Sft(), **{"batch__max_length": 64, **values})
    run.model = Tiny()
    context = small.context(run, folder)
    context.cache = folder / cache
    return encode(run, rows() if given is None else given, tokenizer, context), context


def content(found) -> list:
    return [
        [(dict(r.parts), dict(r.extras), s.line) for r, s in zip(found.rows, found.sources, strict=True)],
        [(r.row.line, r.reason) for r in found.rejected],
        [getattr(found, name) for name in token_cache.COUNTS],
        dict(found.stops),
    ]


@pytest.mark.parametrize("strategy", [Sft(), Dpo(), Clm()], ids=lambda s: s.name)
def test_what_is_read_is_what_was_encoded(tmp_path, tokenizer, monkeypatch, strategy):
    first, _ = encoded(tmp_path, tokenizer, strategy)
    again, _ = encoded(tmp_path, tokenizer, strategy)
    monkeypatch.setattr(token_cache, "FEWEST", 10**9)
    plain, _ = encoded(tmp_path, tokenizer, strategy)
    assert (first.cached, again.cached, plain.cached) == (True, True, False)
    assert content(first) == content(again) == content(plain)
    assert len(plain.rejected) == 1
    assert all(type(ids) is list for row in again.rows for ids in row.parts.values())


def test_every_difference_makes_another_file(tmp_path, tokenizer):
    def files(**more):
        encoded(tmp_path, tokenizer, **more)
        return len(list((tmp_path / "cache/tokens").iterdir()))

    assert files() == 1
    assert files() == 1
    assert files(strategy=Sft(loss_on=LossOn.all)) == 2
    assert files(given=rows()[1:]) == 3
    assert files(batch__max_length=63) == 4
    other = tokens()
    other.chat_template = other.chat_template.replace("user", "User") + " "
    encoded(tmp_path, other)
    assert len(list((tmp_path / "cache/tokens").iterdir())) == 5


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_made_anew_aloud(tmp_path, tokenizer, damage):
    first, _ = encoded(tmp_path, tokenizer)
    want = content(first)
    del first
    (file,) = (tmp_path / "cache/tokens").iterdir()
    whole = bytearray(file.read_bytes())
    middle = len(whole) // 2
    file.unlink()  # the mapped one stays whole
    file.write_bytes(
        {
            "cut": whole[:middle], "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "empty": b"", "text": b"no arrow at all" * 9,
        }[damage]
    )  # fmt: skip
    again, context = encoded(tmp_path, tokenizer)
    assert content(again) == want
    assert "are damaged" in context.notes[0]["text"]
    third, context = encoded(tmp_path, tokenizer)
    assert content(third) == want
    assert not any("damaged" in note["text"] for note in context.notes)


def test_a_cache_that_cannot_be_written_is_said_and_ignored(tmp_path, tokenizer):
    (tmp_path / "file").write_text("in the way")
    found, context = encoded(tmp_path, tokenizer, cache="file")
    assert not found.cached
    assert len(found.rows) == 30
    assert [note["text"].split(":")[0] for note in context.notes] == ["tokens are not cached"]


@dataclass(kw_only=True)
class Seeded(Sft):
    """Encodes by something that no name of the cache holds."""

    def encode(self, rows, tokenizer, context) -> Iterator[Encoded | Rejected]:
        assert context.seed == 0
        return super().encode(rows, tokenizer, context)


def test_what_depends_on_more_than_the_name_says_is_not_kept(tmp_path, tokenizer):
    found, _ = encoded(tmp_path, tokenizer, Seeded())
    assert not found.cached
    assert not (tmp_path / "cache").exists()


RIVAL = """
import json, sys
from pathlib import Path
from tests.unit.training import test_token_cache as t
t.token_cache.FEWEST = 5
tokenizer = t.tokens()
sys.stdin.readline()
found, _ = t.encoded(Path(sys.argv[1]), tokenizer, given=t.rows(400))
print(json.dumps([found.cached, t.content(found)]))
"""


def test_two_processes_that_build_one_set_at_once_do_not_disturb_each_other(tmp_path):
    root, environment = Path(__file__).parents[3], os.environ | {"PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", RIVAL, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": root, "env": environment}
    rivals = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    results = [json.loads(rival.communicate()[0].splitlines()[-1]) for rival in rivals]
    assert all(cached for cached, _ in results)
    assert results[0] == results[1]
    assert len(list((tmp_path / "cache/tokens").iterdir())) == 1
