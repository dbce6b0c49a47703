"""Run directories as a run leaves them, whole and in part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NASTY = "<script>alert(1)</script> ]]> &amp; <img src=x onerror=alert(2)> \x1b[31m \ud800 {{ 7*7 }} </pre></body>"
LEAK_FREE = {"check": "leakage", "severity": "ok", "text": "none of 500 held-out rows stands in the training data"}


def metric(model: str, value: float, low: float, high: float, versus: str = "", **other: Any) -> dict[str, Any]:
    row = {"model": model, "stage": "", "evaluator": "exact_match", "metric": "exact_match", "set": "test",
           "split": "test", "role": "target", "protocol": "p", "versus": versus, "value": value, "low": low,
           "high": high, "n": 500, "higher_is_better": True}  # fmt: skip
    return row | other


def metrics() -> dict[str, Any]:
    general = {"role": "general", "set": "general", "n": 300}
    safety = {"role": "safety", "set": "safe<b>", "n": 200, "evaluator": "refusal", "metric": "refusal"}
    loss = {"evaluator": "perplexity", "metric": "bits_per_byte", "higher_is_better": False}
    difference = metric("tuned", 0.41, 0.36, 0.46, "prompted")
    budgets = [
        {"role": "general", "set": "general", "evaluator": "exact_match", "metric": "exact_match", "budget": 0.05,
         "state": "not settled", "value": -0.03, "low": -0.06, "high": 0.0, "n": 300, "rows_needed": 675},
        {"role": "safety", "set": "safe<b>", "evaluator": "refusal", "metric": "refusal", "budget": 0.05,
         "state": "kept", "value": -0.01, "low": -0.04, "high": 0.02, "n": 200, "rows_needed": None},
    ]  # fmt: skip
    return {
        "schema": 1,
        "verdict": {
            "decision": "better",
            "reason": "exact_match +.41 [+.36,+.46] over the best prompt (4-shot); 1 budget not settled",
            "primary": difference,
            "budgets": budgets,
            "hints": ["680 general rows would settle -.03 on general"],
        },
        "rows": [
            metric("base", 0.03, 0.02, 0.05), metric("prompted", 0.4, 0.36, 0.44), metric("tuned", 0.81, 0.77, 0.84),
            difference, metric("tuned", 0.78, 0.74, 0.82, "base"),
            metric("base", 1.27, 1.21, 1.33, **loss), metric("tuned", 0.61, 0.57, 0.65, **loss),
            metric("tuned", -0.66, -0.71, -0.61, "base", **loss),
            metric("base", 0.62, 0.56, 0.67, **general), metric("tuned", 0.59, 0.53, 0.64, **general),
            metric("tuned", -0.03, -0.06, 0.0, "base", **general),
            metric("base", 0.94, 0.9, 0.97, **safety), metric("tuned", 0.93, 0.89, 0.96, **safety),
            metric("tuned", -0.01, -0.04, 0.02, "base", **safety),
        ],
        "variants": {
            "base": {"shots": 0, "template": "plain text", "first_prompt": "q", "first_prompt_ids": [1], "prompt": "a"},
            "prompted": {"shots": 4, "name": "4-shot", "reason": "zero-shot .04, 4-shot .41 -> 4-shot"},
        },
    }  # fmt: skip


def measures(text: str = "refund") -> dict[str, Any]:
    """What stands in metrics.json beside its rows: curves, confusions and slices; `text` is text from data."""
    place = {"evaluator": "exact_match", "set": "test", "split": "test"}
    ends = [(x / 9, max(x / 9 - 0.1, 0.0), min(x / 9 + 0.1, 1.0)) for x in range(10)]
    bins = [{"x": x / 10 + 0.05, "y": y, "n": 50, "low": low, "high": high} for x, (y, low, high) in enumerate(ends)]
    answered = [{"x": n / 500, "y": 0.3 * (n / 500) ** 2, "n": n} for n in range(1, 501)]
    nothing = [{"x": 0.5, "y": None, "n": 0, "low": None, "high": None}]
    names = [*(f"class {i}" for i in range(27)), 'say "yes"', "שלום", text]
    counts = [[(7 + i) * (i == j) + (i + 1 == j) * (i % 3) for j in range(30)] for i in range(30)]
    classes = [
        {"label": text, "rows": 9, "predicted": 3, "precision": 1.0, "recall": 0.33, "f1": 0.5},
        {"label": "odd", "rows": 0, "predicted": 1, "precision": 0.0, "recall": None, "f1": 0.0},
    ]
    example = {"kind": "newly wrong", "place": "test.jsonl:3", "text": text}
    piece = {
        **place, "role": "target", "metric": "exact_match", "higher_is_better": True, "by": "label", "name": text,
        "n": 40, "model": "tuned", "versus": "base", "value": -0.2, "low": -0.3, "high": -0.1, "base": 0.7,
        "tuned": 0.5, "tuned_low": 0.35, "tuned_high": 0.65, "test_share": 0.08, "train_share": None,
        "weak": True, "worse": False, "verdict": "coverage", "examples": [example],
    }  # fmt: skip
    return {
        "curves": [
            place | {"model": "tuned", "kind": "reliability", "points": bins},
            place | {"model": "base", "kind": "reliability", "points": nothing},
            place | {"model": "tuned", "kind": "risk_coverage", "points": answered},
            place | {"model": "tuned", "kind": "a kind of tomorrow", "points": bins},
        ],
        "confusions": [
            place | {"model": model, "labels": names, "counts": counts, "classes": classes}
            for model in ("base", "tuned")
        ],
        "slices": [piece | {"weak": False, "verdict": "", "name": "others", "examples": []}, piece],
    }


def sample(line: int, role: str, base: float, tuned: float, text: str = "Reset my VPN") -> dict[str, Any]:
    scores = {"base": base, "tuned": tuned} | ({"prompted": base} if role == "target" else {})
    evaluator = "refusal" if role == "safety" else "exact_match"
    return {
        "set": "test", "split": "test", "role": role, "id": str(line), "place": f"test.jsonl:{line}", "prompt": text,
        "reference": '{"queue":"network","urgency":2}',
        "answers": {v: '{"queue":"network","urgency":2}' if s else f"I can help. {text}" for v, s in scores.items()},
        "scores": {v: {f"{evaluator}.{evaluator}": s} for v, s in scores.items()},
    }  # fmt: skip


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            path.write_text("".join(json.dumps(line) + "\n" for line in content))
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def whole(folder: Path, text: str = "Reset my VPN") -> Path:
    """A finished run; `text` stands wherever a run holds text from data."""
    losses = [(10 * i, 2 / (i + 1), max(2.1 / (i + 1), 0.2 + 0.01 * i)) for i in range(30)]
    log = "".join(f"{s},{t:.4f},{v:.4f},{1e-4 * (1 - s / 300):.3e},{1 + 1 / (s + 1):.3f}\n" for s, t, v in losses)
    proof = {
        "texts": 4559, "rows": 4559, "rejected": 0, "tokens": 1204331, "loss_share": 0.314, "max_length": 1024,
        "stop_token": "<|im_end|>", "stop_trained": 4559, "mask_from": "the template's generation marks",
        "mask_checked": 20, "chunked": 0, "preview": [],
    }  # fmt: skip
    view = [
        [f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n", False],
        ['{"queue":"network"}<|im_end|>', True],
    ]
    entry = {"place": "train.jsonl:1", "part": "", "tokens": 40, "loss_tokens": 12, "text": text, "stretches": view}
    source = {"key": "train", "split": "train", "file": "train.jsonl", "format": "json, alpaca columns", "read": 4812,
              "kept": 4799, "used": 4799, "role": "target", "reasons": {"empty output": 9, text[:60]: 4}}  # fmt: skip
    cleaned = {
        "name": "normalize", "set": "train", "before": 4799, "after": 4790, "reasons": {f"odd {text[:60]}": 9},
        "examples": [f"train.jsonl:3: odd: {text}"], "excerpts": [text], "seconds": 0.31, "changed": 12, "added": 1,
        "counts": {f"quotes {text[:60]}": 7},
        "changes": [{"place": "train.jsonl:5", "before": text, "after": "x"}],
    }  # fmt: skip
    idle = {"name": "dedup", "set": "test.t", "before": 5, "after": 5, "reasons": {}, "examples": [], "seconds": 0.0}
    return write(
        folder,
        {
            "run.json": {
                "run": {"name": "support-lora", "folder": "outputs/2026-11-21/10-02-11-sft"}, "status": "finished",
                "model": "./Qwen3-0.6B   596 M, trains 10.1 M (1.7 %), bfloat16", "seed": 0, "command": "run",
                "started": "2026-11-21T10:02:11+00:00", "versions": {"tuneforge": "0.1.0", "torch": "2.13.0"},
                "hardware": {"cores": 16, "accelerators": ["H200"]}, "seconds": {"train": 255.0, "all": 402.0},
                "gate": {"level": "default", "passed": True}, "notes": [{"text": text}],
                "choices": {"strategy": "lora"},
                "training": {"steps": 411, "best_step": 80, "stopped_early": True,
                             "seconds": 255.0, "planned_seconds": 251.0, "loss_tokens": 1134000},
                "peak_memory_bytes": 9.1 * 2**30, "plugins": ["tuneforge 0.1.0"], "git": None,
            },
            "metrics.json": metrics() | measures(text),
            "data/audit.json": {
                "sources": [source], "transforms": [cleaned, idle], "findings": [LEAK_FREE], "proof": proof,
            },
            "data/preview.jsonl": [entry] * 5,
            "data/quarantine.jsonl": [{"file": "train.jsonl", "line": 7, "reason": f"empty output {text}"}],
            "samples.jsonl": [
                sample(1, "target", 0, 1, text), sample(2, "target", 0, 1), sample(3, "target", 1, 0, text),
                sample(4, "target", 0, 0, text), sample(5, "general", 1, 0), sample(6, "safety", 1, 1),
            ],
            "logs/metrics.csv": f"step,train/loss,validation/loss,learning_rate,grad_norm\n{log}",
            "config.yaml": f"strategy: lora\nname: {text!r}\n",
            "model/config.json": {},
        },
    )  # fmt: skip
