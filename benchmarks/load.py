"""How the real data sets load, each with one line of config: rows in, kept, quarantined by reason, seconds.

    python benchmarks/load.py [FOLDER]      (FOLDER: ../shared/data, with a folder per set)

A line stands behind `tuneforge check`, run in FOLDER. Seconds are those of one source: reading, recognising its layout
and making its rows canonical. The last line is the reference: `json.loads` alone on the largest JSON Lines file.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")

LINES = r"""
data=alpaca_demo/alpaca_en_demo.json
data=gpteacher_roleplay/roleplay-similarity_0.6-instruct-dataset.json
strategy=dpo data=hh_rlhf/harmless-base.part1.jsonl.gz
strategy=dpo data=dpo_demo/dpo_en_demo.json.gz
strategy=instruction data=toolcall_demo/glaive_toolcall_en_demo.json.gz
strategy=instruction data=sharegpt_identity/dummy_conversation.json
strategy=instruction data=v1_chat_parts/v1_sft_demo.jsonl.gz
data=self_instruct_seeds/seed_tasks.jsonl data.seed_tasks.columns.prompt=instruction data.seed_tasks.columns.input=instances.0.input data.seed_tasks.columns.completion=instances.0.output
data=pubmedqa/ori_pqal.nontest.json.gz data.ori_pqal_nontest.columns.prompt='{CONTEXTS}\n\n{QUESTION}' data.ori_pqal_nontest.columns.completion=LONG_ANSWER
data=medquad/medquad_xml.tar.gz data.medquad_xml.columns.prompt=Question data.medquad_xml.columns.completion=Answer data.medquad_xml.columns.group=Document.@id
data=tatqa/tatqa_dataset_dev.json.gz data.tatqa_dataset_dev.each=questions data.tatqa_dataset_dev.columns.prompt='{table.table}\n\n{paragraphs.text}\n\n{question}' data.tatqa_dataset_dev.columns.completion='{answer:, }' data.tatqa_dataset_dev.columns.group=table.uid
data=gsm8k/train.jsonl.gz data.train.columns.prompt=question data.train.columns.completion=answer
data=aqua_rat/dev.json data.dev.columns.prompt='{question}\n{options:\n}' data.dev.columns.completion='{rationale}\n{correct}'
data=spider/dev.part1.json.gz data.dev_part1.columns.prompt=question data.dev_part1.columns.completion=query data.dev_part1.columns.group=db_id
data=text2cypher/text2cypher_gpt4turbo.csv.gz data.text2cypher_gpt4turbo.columns.prompt=question data.text2cypher_gpt4turbo.columns.completion=cypher data.text2cypher_gpt4turbo.columns.group=database
strategy=clm data=text2cypher/text2cypher_schemas.csv.gz data.text2cypher_schemas.columns.text=schema
data=truthfulqa_judge/finetune_truth.head.jsonl.gz
strategy=classification data=banking77/train.csv data.train.columns.label=category
strategy=clm data=banking77/categories.json
strategy=token_classification data=wnut17_ner
strategy=token_classification data=btc_ner
strategy=clm data=presidio_pii data.presidio_pii.columns.text=full_text
strategy=clm data=ubuntu_irc data.ubuntu_irc.unit=line
strategy=clm data=tinystories/tinystories_train800.json.gz
strategy=clm data=c4_demo/c4_demo.jsonl.gz
strategy=clm data=wiki_demo/wiki_demo.txt.gz data.wiki_demo.unit=line
strategy=clm data=mt_bench/judge_prompts.jsonl data.judge_prompts.columns.text=prompt_template
test=mt_bench/question.jsonl test.question.columns.prompt=turns.0
test=./bbh test.bbh.rows=examples test.bbh.columns.prompt=input test.bbh.columns.completion=target
test=xstest/xstest_prompts.csv
test=ifeval/input_data.part1.jsonl
"""  # noqa: E501


class Loaded(NamedTuple):
    """What became of one set."""

    line: str
    read: int
    kept: int
    reasons: dict[str, int]
    seconds: float


def lines() -> list[str]:
    """The lines of config, one per set."""
    return LINES.strip().splitlines()


def load(line: str, folder: Path) -> Loaded:
    """One set, composed from its line and read."""
    from tuneforge.composition import compose_config
    from tuneforge.context import RunContext
    from tuneforge.preparation.intake import read_source

    run = compose_config(["model=tiny", *shlex.split(line)]).run
    group = "test" if "test=" in line else "data"
    [(key, source)] = getattr(run, group).items()
    began = time.perf_counter()
    report = read_source(key, group, source, RunContext(run, folder, folder)).report
    return Loaded(line, report.read, report.kept, report.reasons, time.perf_counter() - began)


def reference(path: str) -> str:
    """What reading the lines and `json.loads` take."""
    began = time.perf_counter()
    with gzip.open(path, "rb") as stream:
        rows = sum(1 for line in stream if json.loads(line))
    return f"{rows:>6,} {'':>12} {time.perf_counter() - began:>6.2f}  json.loads alone of {path}"


def main() -> None:
    """Print the table."""
    os.chdir(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data").resolve())
    print(f"{'set':<20} {'in':>6} {'kept':>6} {'lost':>5} {'s':>6}  line of config; why rows are quarantined")
    with tempfile.TemporaryDirectory() as folder:
        for line in lines():
            with contextlib.redirect_stdout(io.StringIO()):
                found = load(line, Path(folder))
            path = next(word for word in line.split() if word.startswith(("data=", "test="))).partition("=")[2]
            name, lost = path.removeprefix("./").partition("/")[0], found.read - found.kept
            print(f"{name:<20} {found.read:>6,} {found.kept:>6,} {lost:>5} {found.seconds:>6.2f}  {line}")
            for reason, count in found.reasons.items():
                print(f"{'':<48}{count} {reason}")
    print(f"{'reference':<20} {reference('gsm8k/train.jsonl.gz')}")


if __name__ == "__main__":
    main()
