"""What an evaluation costs when nothing has changed since the last one: `tuneforge evaluate`, first and repeated.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/reevaluation.py [--rows 200] [--tokens 128] [--repeats 3] [--width 512]

Generated answers, log-probabilities and a head of classes: each is evaluated once with an empty cache and then
repeated, every time by a process of its own, as on the command line. The model is a Llama with random weights (at width
512: 27 million), so that no answer ends before `--tokens`; `tiny` is added as the worst case: answers of a few tokens
from a model that computes next to nothing. Printed are seconds of stage `evaluate` and of the whole command, as in
run.json, and of the processor for all of it, imports included; a ratio is the median of the repeated evaluations over
the first. metrics.json has to be equal to the byte. About six minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tuneforge.model.tiny import FOLDER

BUNDLED = Path(FOLDER).parents[1] / "bundled"
CLASSES = [f"class {i}" for i in range(20)]


class Cost(NamedTuple):
    """Seconds of one evaluation."""

    stage: float
    processor: float
    whole: float


def make_models(folder: Path, width: int) -> None:
    """`causal` and `classes`: Llamas with the vocabulary of `tiny` and random weights."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer), "hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": 8,
        "num_attention_heads": width // 64, "max_position_embeddings": 2048, "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    names = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: i for i, name in enumerate(CLASSES)}}
    causal = LlamaForCausalLM(LlamaConfig(**sizes))
    classes = LlamaForSequenceClassification(LlamaConfig(**sizes, **names, problem_type="single_label_classification"))
    for name, model in (("causal", causal), ("classes", classes)):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def make_rows(folder: Path, count: int) -> None:
    """`answers`, `texts` and `classes`, of the bundled sets."""
    lines = [line for file in sorted(BUNDLED.rglob("*.jsonl")) for line in file.read_text("utf-8").splitlines()]
    asked = [row for row in map(json.loads, dict.fromkeys(lines)) if "prompt" in row]
    rows = random.Random(0).sample(asked, count)
    texts = [f"{row['prompt']}\n{row['completion']}" for row in rows]
    made = {
        "answers": [{"prompt": row["prompt"], "completion": row["completion"]} for row in rows],
        "texts": [{"text": " ".join(texts[i : i + 4])} for i in range(count)],
        "classes": [{"text": text, "label": CLASSES[i % len(CLASSES)]} for i, text in enumerate(texts)],
    }
    for name, some in made.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in some), "utf-8")


def evaluate(words: Sequence[str], cache: Path, folder: Path) -> tuple[Cost, bytes]:
    """What it cost, and metrics.json."""
    command = [sys.executable, "-m", "tuneforge.cli", "evaluate", *words, f"output_dir={folder}"]
    with subprocess.Popen(
        command, env={**os.environ, "TUNEFORGE_CACHE": str(cache)}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(said)
    seconds = json.loads((folder / "run.json").read_text("utf-8"))["seconds"]
    cost = Cost(seconds["evaluate"], used.ru_utime + used.ru_stime, seconds["all"])
    return cost, (folder / "metrics.json").read_bytes()


def compare(name: str, words: Sequence[str], folder: Path, repeats: int) -> None:
    """One line: first, repeated, ratio."""
    first, expected = evaluate(words, folder / name, folder / f"{name}-0")
    found = [evaluate(words, folder / name, folder / f"{name}-{i + 1}") for i in range(repeats)]
    odd = sum(metrics != expected for _, metrics in found)
    parts = []
    for heading, at in (("stage evaluate", 0), ("processor", 1), ("command", 2)):
        again = statistics.median(cost[at] for cost, _ in found)
        parts.append(f"{heading} {first[at]:6.2f} s, then {again:5.2f} s ({again / first[at]:6.1%})")
    print(f"{name:<16} {';  '.join(parts)};  {odd} of {repeats} unequal", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=int, default=512)
    asked: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_models(folder, asked.width)
        make_rows(folder, asked.rows)
        answers, length = f"test={folder}/answers.jsonl", f"evaluator.token_f1.max_tokens={asked.tokens}"
        texts, classes = f"test={folder}/texts.jsonl", f"test={folder}/classes.jsonl"
        jobs = {
            "answers": (f"{folder}/causal", answers, "evaluator=token_f1", length),
            "likelihood": (f"{folder}/causal", texts, "strategy=clm", "evaluator=perplexity"),
            "classes": (f"{folder}/classes", classes, "strategy=classification", "evaluator=classification"),
            "answers of tiny": ("tiny", answers, "evaluator=token_f1", length),
        }
        for name, words in jobs.items():
            compare(name, words, folder, asked.repeats)


if __name__ == "__main__":
    main()
