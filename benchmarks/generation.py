"""Greedy answers per CPU-second: HFLM against transformers' own `model.generate`, on the same prompts and batches.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/generation.py [MODEL_FOLDER ...] [--rows 256] [--repeats 3]

Model `tiny` on the bundled sets, and every model folder that is named on stories that it begins itself: prompts and
answers of uneven length. Both are given the prompts sorted by length, left-padded, in batches of the same rows; the
variants take turns in this process, and medians are compared. Answers are compared token by token. The ratio is
transformers' time over ours: above 1, ours is the faster. About three minutes.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from tuneforge.evaluation.causal import BATCH_ROWS, Ask, Causal
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.trouble import Trouble
from tuneforge.model.tiny import FOLDER
from tuneforge.rows import Row

BUNDLED = Path(FOLDER).parents[1] / "bundled"
LONGEST = 1024
"""Tokens of a prompt and its answer, at most: the rows of a batch are then always as many."""
Answers = list[list[int]]


def load(folder: Path) -> HFLM:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return HFLM(folder.name, model.eval(), AutoTokenizer.from_pretrained(folder))


def bundled(lm: HFLM, rows: int) -> list[list[int]]:
    """Prompts of the bundled sets, in the model's chat template."""
    import json

    found = []
    for file in sorted(BUNDLED.rglob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            columns = json.loads(line)
            if "prompt" in columns:
                found.append(lm.prompt(Row(columns=columns, id=line), 64))
    return random.Random(0).sample(found, rows)


def stories(lm: HFLM, rows: int) -> list[list[int]]:
    """Stories that the model begins itself, drawn with a seed, cut at uneven lengths."""
    torch.manual_seed(0)
    draw = random.Random(0)
    first = lm.tokenizer("Once upon a time", return_tensors="pt").input_ids.expand(rows, -1)
    with torch.no_grad():
        drawn = lm.model.generate(
            first, do_sample=True, max_new_tokens=150, pad_token_id=lm.causal.pad, eos_token_id=-1
        )
    return [ids[: draw.randint(8, 150)].tolist() for ids in drawn]


def ours(lm: HFLM, prompts: Sequence[Sequence[int]], tokens: int) -> Answers:
    """What an evaluation runs, with an empty memory."""
    causal = Causal(lm.model, lm.tokenizer, BATCH_ROWS * LONGEST, None)
    return [one.ids for one in causal.answers([Ask(list(p), tokens) for p in prompts], "", Trouble())]


def theirs(lm: HFLM, prompts: Sequence[Sequence[int]], tokens: int) -> Answers:
    """transformers' generate, with its default key-value cache."""
    found: Answers = []
    pad = lm.causal.pad
    options = {
        "do_sample": False,
        "max_new_tokens": tokens,
        "eos_token_id": sorted(lm.stop),
        "pad_token_id": lm.causal.pad,
    }
    for start in range(0, len(prompts), BATCH_ROWS):
        batch = prompts[start : start + BATCH_ROWS]
        width = max(map(len, batch))
        ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in batch])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch])
        with torch.no_grad():
            out = lm.model.generate(ids, attention_mask=mask, **options)[:, width:].tolist()
        for answer in out:
            end = next((i for i, token in enumerate(answer) if token in lm.stop), len(answer))
            found.append(answer[:end])
    return found


def timed(use: Callable[[], Answers]) -> tuple[float, Answers]:
    started = time.process_time()
    found = use()
    return time.process_time() - started, found


def compare(lm: HFLM, prompts: list[list[int]], tokens: int, repeats: int) -> None:
    prompts = sorted({tuple(p): p for p in prompts}.values(), key=lambda p: -len(p))
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    answers: dict[str, Answers] = {}
    for _ in range(repeats):
        for name, use in (("theirs", theirs), ("ours", ours)):
            taken, answers[name] = timed(lambda use=use: use(lm, prompts, tokens))  # type: ignore[misc]
            seconds[name].append(taken)
    unequal = sum(a != b for a, b in zip(answers["ours"], answers["theirs"], strict=True))
    lengths = [len(a) for a in answers["ours"]]
    mine, other = (statistics.median(seconds[name]) for name in ("ours", "theirs"))
    print(
        f"{lm.variant}: {len(prompts)} prompts of {len(prompts[-1])} to {len(prompts[0])} tokens, answers of"
        f" {min(lengths)} to {max(lengths)} (mean {statistics.mean(lengths):.0f}), {unequal} unequal;"
        f" generate {other:.2f} s, HFLM {mine:.2f} s, ratio {other / mine:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    asked: Any = parser.parse_args()
    tiny = load(FOLDER)
    tiny.variant = "tiny"
    compare(tiny, bundled(tiny, asked.rows), asked.tokens, asked.repeats)
    for folder in asked.models:
        lm = load(folder)
        compare(lm, stories(lm, asked.rows), asked.tokens, asked.repeats)


if __name__ == "__main__":
    main()
