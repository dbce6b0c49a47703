"""Real public data sets, with their dirt: every row is either kept or rejected for the known reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tuneforge.audit.leaks import leaks
from tuneforge.components import Columns, DataSource, Strategy
from tuneforge.data.csv import Csv
from tuneforge.data.json import Json
from tuneforge.data.share import Share
from tuneforge.data.text import Text, Unit
from tuneforge.errors import ConfigError
from tuneforge.preparation.prepare import Prepared, refuse
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.instruction import Instruction
from tuneforge.strategy.sft import Sft
from tuneforge.transform.exact_dedup import ExactDedup

pytestmark = pytest.mark.shared

SETS: dict[str, tuple[str, Strategy, DataSource, str, int]] = {
    "alpaca": ("alpaca_demo/alpaca_en_demo.json", Sft(), Json(), "json, alpaca", 999),
    "roleplay": (
        "gpteacher_roleplay/roleplay-similarity_0.6-instruct-dataset.json",
        Sft(),
        Json(),
        "json, alpaca",
        1500,
    ),
    "identity": ("sharegpt_identity/dummy_conversation.json", Instruction(), Json(), "json, sharegpt", 500),
    "toolcall": ("toolcall_demo/glaive_toolcall_en_demo.json.gz", Instruction(), Json(), "json, sharegpt", 300),
    "dpo": ("dpo_demo/dpo_en_demo.json.gz", Dpo(), Json(), "json, sharegpt preference", 300),
    "hh": ("hh_rlhf/harmless-base.part1.jsonl.gz", Dpo(), Json(), "json, hh_rlhf", 1500),
    "parts": ("v1_chat_parts/v1_sft_demo.jsonl.gz", Instruction(), Json(), "json, messages", 500),
    "stories": ("tinystories/tinystories_train800.json.gz", Clm(), Json(), "json, text", 800),
    "c4": ("c4_demo/c4_demo.jsonl.gz", Clm(), Json(), "json, text", 300),
    "wiki": ("wiki_demo/wiki_demo.txt.gz", Clm(), Text(unit=Unit.line), "text, text", 30),
    "judge": ("truthfulqa_judge/finetune_truth.head.jsonl.gz", Sft(), Json(), "json, prompt_completion", 4000),
    "pubmedqa": (
        "pubmedqa/ori_pqal.nontest.json.gz",
        Sft(),
        Json(columns=Columns(prompt="QUESTION", completion="LONG_ANSWER", label="final_decision")),
        "json, prompt_completion",
        500,
    ),
    "gsm8k": (
        "gsm8k/train.jsonl.gz",
        Sft(),
        Json(columns=Columns(prompt="question", completion="answer")),
        "json, prompt_completion",
        7473,
    ),
    "aqua": (
        "aqua_rat/dev.json",
        Sft(),
        Json(columns=Columns(prompt="question", completion="rationale")),
        "json, prompt_completion",
        254,
    ),
    "spider": (
        "spider/dev.part1.json.gz",
        Sft(),
        Json(columns=Columns(prompt="question", completion="query", group="db_id")),
        "json, prompt_completion",
        500,
    ),
    "cypher": (
        "text2cypher/text2cypher_gpt4turbo.csv.gz",
        Sft(),
        Csv(columns=Columns(prompt="question", completion="cypher", group="database")),
        "csv, prompt_completion",
        6426,
    ),
    "banking": ("banking77/train.csv", Clm(), Csv(columns=Columns(label="category")), "csv, text", 10003),
    "boolean": (
        "bbh/boolean_expressions.json",
        Sft(),
        Json(rows="examples", columns=Columns(prompt="input", completion="target")),
        "json, prompt_completion",
        250,
    ),
}

LOST = {"hh": {"empty answer": 4, "prompt differs": 1, "roles out of order": 3}}
DUPLICATES = {"alpaca": 14, "judge": 229, "toolcall": 35, "dpo": 5}


@pytest.fixture
def go(shared: Path, prepared: Any) -> Any:
    def of(name: str, **groups: Any) -> Prepared:
        path, strategy, source, _, _ = SETS[name]
        source.path = str(shared / "data" / path)
        return prepared(strategy, data={"real": source}, **groups)  # type: ignore[no-any-return]

    return of


@pytest.mark.parametrize("name", SETS)
def test_every_row_is_kept_or_rejected_for_its_reason(name: str, go: Any, make_run: Any) -> None:
    found = go(name, transform={"dedup": ExactDedup()}, test={"share": Share()})
    report = next(report for report in found.sources if report.key == "real")
    _, _, _, detected, rows = SETS[name]
    assert report.format.startswith(detected + " columns ")
    assert (report.read, report.reasons) == (rows, LOST.get(name, {}))
    assert report.kept == rows - sum(report.reasons.values())
    held = len(found.held_out[0].rows)
    assert 0 < held < rows / 4
    assert len(found.train) + held + len(found.dropped["dedup"]) == report.kept
    refuse(make_run(), found)
    leaked = leaks(found.train, found.held_out)
    assert leaked.of(*leaked.proven) == [], "a clean share is refused"


@pytest.mark.parametrize("name", DUPLICATES)
def test_duplicates(name: str, go: Any) -> None:
    found = go(name, transform={"exact": ExactDedup(fold=False), "folded": ExactDedup()})
    assert len(found.dropped["exact"]) == DUPLICATES[name]
    assert len(found.dropped["folded"]) == (2 if name == "judge" else 0)


def test_quirks(go: Any) -> None:
    tools = go("toolcall").train
    assert Counter(bool(row.columns.get("tools")) for row in tools)[True] == 191
    assert all(isinstance(row.columns.get("tools", []), list) for row in tools)
    assert {m["role"] for row in tools for m in row.columns["messages"]} == {"user", "assistant", "tool"}
    assert sum(row.columns["prompt"][0]["role"] == "system" for row in go("dpo").train) == 80
    assert {m["weight"] for row in go("parts").train for m in row.columns["messages"]} == {0.0, 1.0}
    assert Counter(row.columns["label"] for row in go("pubmedqa").train) == {"yes": 276, "no": 169, "maybe": 55}
    assert go("pubmedqa").train[0].line == "10808977"
    assert Counter(row.columns["completion"] for row in go("judge").train) == {" yes": 1694, " no": 2306}
    labels = Counter(row.columns["label"] for row in go("banking").train)
    assert (len(labels), min(labels.values()), max(labels.values())) == (77, 35, 187)
    assert len({row.group for row in go("cypher").train}) == 11
    assert [r.row.line for r in go("hh").rejected] == [87, 517, 668, 764, 926, 1104, 1255, 1320]


def test_sets_that_need_a_word_say_so(shared: Path, prepared: Any) -> None:
    def of(path: str) -> Prepared:
        return prepared(Sft(), data={"real": Json(path=str(shared / "data" / path))})  # type: ignore[no-any-return]

    with pytest.raises(ConfigError, match=r"data.real: no known layout in the columns QUESTION, CONTEXTS"):
        of("pubmedqa/ori_pqal.nontest.json.gz")
    with pytest.raises(ConfigError, match=r"trains on completion rows.*the file has id, name, instruction, instances"):
        of("self_instruct_seeds/seed_tasks.jsonl")
    with pytest.raises(
        ConfigError, match=r"canary, examples.*If 'examples' holds the rows, say data.real.rows=examples"
    ):
        of("bbh/boolean_expressions.json")


def test_prompts_without_answers_serve_as_evaluation_sets(shared: Path, go: Any) -> None:
    tests = {
        "safety": Csv(path=str(shared / "data/xstest/xstest_prompts.csv")),
        "following": Json(path=str(shared / "data/ifeval/input_data.part1.jsonl")),
    }
    found = go("alpaca", test=tests)
    safety, following = found.held_out
    assert Counter(row.columns["label"] for row in safety.rows) == {"safe": 250, "unsafe": 200}
    assert len(following.rows) == 300
    assert found.sources[1].format == "csv, prompt (no answer) columns detected"
