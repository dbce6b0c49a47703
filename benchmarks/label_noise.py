"""Planted label flips that the audit's check `label_noise` finds, by precision and recall.

    python benchmarks/label_noise.py [--data ../shared/data] [--shares 0 0.05 0.1 0.2]

Labels of a share of the rows are replaced by another class, drawn evenly. The reference on each line is what would be
found by doubting as many rows drawn at random: its precision is the share planted. `said` is whether the check gives a
warning or declines to judge, as where words cannot tell the classes (truthfulqa_judge, pubmedqa). At a share of 0 every
row found is a label error of the set itself, or a mistake of the check.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tuneforge.audit.label_noise import MANY, SKILL, _skill, confident, cross_validated

TOPICS = {
    "ships": "sail harbour anchor mast deck crew wave tide",
    "baking": "flour oven dough sugar butter cake bread yeast",
    "music": "guitar chord tune drum song choir violin note",
    "football": "goal striker penalty pitch keeper match score league",
}
COMMON = ["the", "a", "of", "and", "with", "for", "in", "my", "one", "two", "very", "old", "new", "good"]


def synthetic() -> list[tuple[str, str]]:
    """2,000 texts of four topics, 45 % of their words of the topic."""
    rng = random.Random(0)
    words = {name: text.split() for name, text in TOPICS.items()}
    return [
        (" ".join(rng.choice(words[name] if rng.random() < 0.45 else COMMON) for _ in range(12)), name)
        for name in TOPICS
        for _ in range(500)
    ]


def sets(data: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    yield "synthetic", synthetic()
    with gzip.open(data / "pubmedqa/ori_pqal.nontest.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file).values()
    yield "pubmedqa", [(f"{row['QUESTION']} {row['LONG_ANSWER']}", row["final_decision"]) for row in rows]
    with gzip.open(data / "truthfulqa_judge/finetune_truth.head.jsonl.gz", "rt", encoding="utf-8") as file:
        judged = [json.loads(line) for line in file]
    yield "truthfulqa_judge", [(row["prompt"], row["completion"].strip()) for row in judged]
    with (data / "banking77/train.csv").open(encoding="utf-8", newline="") as file:
        yield "banking77", [(row["text"], row["category"]) for row in csv.DictReader(file)]


def measure(name: str, rows: list[tuple[str, str]], share: float) -> None:
    classes = sorted({label for _, label in rows})
    rng = np.random.default_rng(1)
    labels = np.array([classes.index(label) for _, label in rows])
    flipped = rng.permutation(len(rows)) < round(share * len(rows))
    labels[flipped] = (labels[flipped] + rng.integers(1, len(classes), flipped.sum())) % len(classes)
    began = time.process_time()
    probable = cross_validated([text for text, _ in rows], labels.tolist(), 0)
    found = confident(probable, labels.tolist())
    seconds = time.process_time() - began
    doubtful, skill = found.doubtful, _skill(probable, labels.tolist())
    precision = flipped[doubtful].mean() if doubtful.any() else float("nan")
    recall = doubtful[flipped].mean() if flipped.any() else float("nan")
    said = "not judged" if skill < SKILL else "warning" if doubtful.mean() >= MANY else "no warning"
    print(
        f"{name:17} planted {share:4.0%}  found {doubtful.sum():5,}  precision {precision:.2f} (random {share:.2f})  "
        f"recall {recall:.2f}  estimated {found.share:5.1%}  skill {skill:.2f}  {said:10}  {seconds:.1f} CPU s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.05, 0.1, 0.2])
    options = parser.parse_args()
    for name, rows in sets(options.data):
        for share in options.shares:
            measure(name, rows, share)


if __name__ == "__main__":
    main()
