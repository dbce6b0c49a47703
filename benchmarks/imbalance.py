"""Remedies for a long tail on banking77: macro F1 on an even test set, against the run without a remedy.

    python benchmarks/imbalance.py ../shared/data/banking77/train.csv ../shared/models/stories260K

The 77 classes keep 100 to 2 training rows by exponential decay (1,956 in all), the test set has 15 of each. Every run
takes as many optimizer steps. F1 is scikit-learn's on what stock transformers says of the saved model; intervals are
bootstrapped over test rows (95 %), differences on the same resamples; the tail is the rarest third of the classes.
SMOTE trains the head alone, on pooled vectors, and stands against such a run. About a CPU-minute for each of 12 runs.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.metrics import f1_score

import tuneforge

MOST, LEAST, TEST = 100, 2, 15
HEAD = ["adapter=freeze", "adapter.train=[score]"]
RATES = {"all": 3e-3, "head": 3e-2}
METHODS: dict[str, dict[str, Sequence[str]]] = {
    "all": {
        "none": [],
        "oversample": ["transform=[oversample]"],
        "oversample 0.3": ["transform=[oversample]", "transform.oversample.to=0.3"],
        "undersample": ["transform=[undersample]", "transform.undersample.to=0.1"],
        "balanced": ["strategy.class_weights=balanced"],
        "effective_number": ["strategy.class_weights=effective_number", "strategy.beta=0.95"],
        "focal": ["strategy.focal_gamma=2"],
    },
    "head": {
        "none": HEAD,
        "balanced": [*HEAD, "strategy.class_weights=balanced"],
        "smote": [*HEAD, "strategy.smote=smote"],
        "borderline": [*HEAD, "strategy.smote=borderline"],
        "adasyn": [*HEAD, "strategy.smote=adasyn"],
    },
}
"""What trains → remedy → its overrides."""


def split(path: Path, folder: Path, seed: int) -> tuple[list[str], list[dict[str, str]]]:
    """Writes train.jsonl; the classes from the largest to the rarest, and the test rows."""
    texts: dict[str, list[str]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            texts[row["category"]].append(row["text"])
    draw = random.Random(seed)
    names = sorted(texts, key=lambda name: (-len(texts[name]), name))
    train, test = [], []
    for place, name in enumerate(names):
        found = draw.sample(texts[name], len(texts[name]))
        kept = round(MOST * (LEAST / MOST) ** (place / (len(names) - 1)))
        test += [{"text": text, "label": name} for text in found[:TEST]]
        train += [{"text": text, "label": name} for text in found[TEST : TEST + kept]]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train), encoding="utf-8")
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in test), encoding="utf-8")
    return names, test


def predictions(folder: Path, test: Sequence[dict[str, str]]) -> list[str]:
    """What stock transformers says with the saved model."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found: list[str] = []
    for start in range(0, len(test), 64):
        batch = tokenizer([r["text"] for r in test[start : start + 64]], return_tensors="pt", padding=True)
        batch.pop("token_type_ids", None)
        with torch.no_grad():
            found += [model.config.id2label[i] for i in model(**batch).logits.argmax(1).tolist()]
    return found


def macro_f1(true: Any, said: Any, classes: int) -> float:
    """As scikit-learn's, much faster on resamples."""
    right = np.bincount(true[true == said], minlength=classes)
    both = np.bincount(true, minlength=classes) + np.bincount(said, minlength=classes)
    return float((2 * right[both > 0] / both[both > 0]).mean())


def table(what: str, names: Sequence[str], test: Sequence[dict[str, str]], said: dict[str, list[str]]) -> None:
    index = {name: i for i, name in enumerate(names)}
    true = np.array([index[row["label"]] for row in test])
    found = {method: np.array([index[name] for name in those]) for method, those in said.items()}
    draws = np.random.default_rng(0).integers(len(true), size=(1000, len(true)))
    samples = {m: np.array([macro_f1(true[d], those[d], len(names)) for d in draws]) for m, those in found.items()}
    tail = true >= 2 * len(names) // 3
    print(f"\n{what:18}{'macro F1':22}{'minus none':26}{'accuracy':10}tail recall")
    for method, those in found.items():
        value = f1_score(true, those, average="macro")
        assert abs(value - macro_f1(true, those, len(names))) < 1e-12
        apart = samples[method] - samples["none"]
        low, high = np.quantile(samples[method], [0.025, 0.975])
        below, above = np.quantile(apart, [0.025, 0.975])
        difference = value - f1_score(true, found["none"], average="macro")
        versus = f"{difference:+.3f} [{below:+.3f},{above:+.3f}]" if method != "none" else ""
        right = those == true
        own = f"{value:.3f} [{low:.3f},{high:.3f}]"
        print(f"{method:18}{own:22}{versus:26}{right.mean():<10.3f}{right[tail].mean():.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("banking77", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    values = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        names, test = split(values.banking77, folder, values.seed)
        print(f"{len(names)} classes of {MOST} to {LEAST} rows, {len(test)} test rows, {values.steps} steps of 32")
        for what, methods in METHODS.items():
            said = {}
            for method, overrides in methods.items():
                began, run = time.perf_counter(), folder / "run"
                with contextlib.redirect_stdout(io.StringIO()):
                    tuneforge.run(
                        [f"data={folder}/train.jsonl", f"test={folder}/test.jsonl", f"model={values.model.resolve()}",
                         "strategy=classification", f"optimizer.learning_rate={RATES[what]}", f"seed={values.seed}",
                         f"trainer.max_steps={values.steps}", "trainer.max_epochs=null", "batch.size=32", "gate=off",
                         "trainer.accelerator=cpu", "~validation.share", f"output_dir={run}", *overrides]
                    )  # fmt: skip
                said[method] = predictions(run / "model", test)
                shutil.rmtree(run)
                print(f"  {what} {method}: {time.perf_counter() - began:.0f} s", flush=True)
            table(what, names, test, said)


if __name__ == "__main__":
    main()
