"""Every real data set loads with one line of config, through the composition that a command line takes."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tuneforge.composition import compose_config
from tuneforge.context import RunContext
from tuneforge.preparation.prepare import Prepared, prepare

ROOT = Path(__file__).parents[3]
SPEC = importlib.util.spec_from_file_location("load", ROOT / "benchmarks" / "load.py")
assert SPEC is not None
load: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(load)  # type: ignore[union-attr]

ROWS = {
    "alpaca_demo": 999, "gpteacher_roleplay": 1500, "hh_rlhf": 1500, "dpo_demo": 300, "toolcall_demo": 300,
    "sharegpt_identity": 500, "v1_chat_parts": 500, "self_instruct_seeds": 175, "pubmedqa": 500, "medquad": 2191,
    "tatqa": 900, "gsm8k": 7473, "aqua_rat": 254, "spider": 500, "text2cypher": 6437, "truthfulqa_judge": 4000,
    "banking77": 10080, "wnut17_ner": 4403, "btc_ner": 1000, "presidio_pii": 1600, "ubuntu_irc": 8437,
    "tinystories": 800, "c4_demo": 300, "wiki_demo": 30, "mt_bench": 88, "bbh": 3500, "xstest": 450, "ifeval": 300,
}  # fmt: skip
"""Folder of the shared data: rows of its files, as its index says."""


@pytest.fixture(scope="module")
def loaded(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prepared]:
    """Line: what came of it; the bundled training rows of an evaluation set's line are left out."""
    folder, found = tmp_path_factory.mktemp("load"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shared / "data")
        for line in load.lines():
            run = compose_config(["model=tiny", *shlex.split(line)]).run
            run.transform, run.validation = {}, {}
            if "test=" in line:
                run.data = {}
            else:
                run.test = {}
            found[line] = prepare(run, RunContext(run, folder / "run", folder / "cache"))
    return found


def name(line: str) -> str:
    match = re.search(r"(?:data|test)=(?:\./)?(\w+)", line)
    assert match is not None
    return match[1]


@pytest.mark.shared
def test_every_row_is_kept_or_rejected_for_its_reason(loaded: dict[str, Prepared]) -> None:
    read: Counter[str] = Counter()
    for line, found in loaded.items():
        [report] = found.sources
        read[name(line)] += report.read
        lost = {"empty answer": 4, "prompt differs": 1, "roles out of order": 3} if "hh_rlhf" in line else {}
        assert report.reasons == lost, line
        assert report.kept == report.read - sum(lost.values())
    assert read == ROWS


@pytest.mark.shared
def test_every_set_has_its_line(shared: Path) -> None:
    assert {name(line) for line in load.lines()} == {d.name for d in (shared / "data").iterdir() if d.is_dir()}


@pytest.mark.shared
def test_nested_columns_come_out_whole(loaded: dict[str, Prepared]) -> None:
    def rows(set_name: str) -> list[Any]:
        found = next(f for line, f in loaded.items() if name(line) == set_name)
        return list(found.train or found.held_out[0].rows)

    tatqa = rows("tatqa")
    assert tatqa[2].columns["completion"] == "fixed-price type, cost-plus type, time-and-material type"
    assert tatqa[4].columns["completion"] == "-12.6"
    assert "Fixed Price | $  1,452.4 | $  1,146.2 | $  1,036.9\n" in tatqa[0].columns["prompt"]
    assert (len({row.group for row in tatqa}), tatqa[0].line) == (150, "1.1")
    assert len({row.file for row in rows("medquad")}) == 326
    assert "Options" not in rows("aqua_rat")[0].columns["prompt"]
    assert re.search(r"\nA\)\S.*\nB\)", rows("aqua_rat")[0].columns["prompt"])
    assert rows("self_instruct_seeds")[0].columns["completion"].startswith("Yes, you can have 1 oatmeal")
    assert len({row.file for row in rows("bbh")}) == 14
    assert sum(len(row.columns["tokens"]) for row in rows("wnut17_ner")) == sum(
        len(row.columns["tags"]) for row in rows("wnut17_ner")
    )


def test_the_page_shows_lines_that_are_loaded() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").split("each in one line")[1]
    shown = re.findall(r"\| `([^`]+)` \|$", text, re.MULTILINE)
    assert len(shown) > 9
    assert [line for line in shown if line not in load.lines()] == []
