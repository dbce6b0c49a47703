"""The model card: what the model is, what it was trained on and how, what was measured. From the run's files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tuneforge.evaluation.figures import with_interval
from tuneforge.model.heads import CLASSES
from tuneforge.report import files

SHOWN = {"base": "base", "prompted": "best prompt", "tuned": "tuned"}


def write_card(run_folder: Path, folder: Path, compared: str) -> None:
    """`README.md` in an exported folder. `compared` says how it was held against the tuned model."""
    run = files.read(run_folder)
    config = yaml.safe_load(run.config) or {}
    record, audit = run.record, run.audit
    base = Path(str((record.get("lineage") or {}).get("model") or "")).name
    head = {"base_model": base, "library_name": "transformers", "tags": ["tuneforge", str(_choice(record, "strategy"))]}
    name = str((record.get("run") or {}).get("name") or run_folder.name)
    parts = [
        "---\n" + yaml.safe_dump(head, sort_keys=False) + "---",
        f"# {_plain(name)}",
        f"{_plain(base)} adapted with TuneForge {(record.get('versions') or {}).get('tuneforge', '')}: "
        f"strategy {_choice(record, 'strategy')}, adapter {_choice(record, 'adapter')}.",
        _verdict(run.metrics),
        "## Evaluation\n\n" + _table(run.metrics),
        "## Data\n\n" + _data(audit),
        "## Recipe\n\n" + _recipe(config, record),
        "## Use\n\n" + _use(record, folder),
        "## This form\n\n" + compared,
        "## Limits\n\nLicences of the base model and of the data apply; neither is stated in the run."
        " Nothing was measured beyond the table above.",
    ]
    (folder / "README.md").write_text("\n\n".join(p for p in parts if p) + "\n", encoding="utf-8")


def _choice(record: Mapping[str, Any], group: str) -> str:
    return _plain(str((record.get("choices") or {}).get(group, "")))


def _plain(text: str) -> str:
    """On one line, with what Markdown and HTML would read as their own made harmless."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", " ".join(text.split()))


def _verdict(metrics: Mapping[str, Any]) -> str:
    verdict = metrics.get("verdict") or {}
    return f"**{str(verdict['decision']).upper()}**: {_plain(str(verdict['reason']))}" if verdict else ""


def _table(metrics: Mapping[str, Any]) -> str:
    rows = [r for r in metrics.get("rows") or [] if r["split"] == "test"]
    if not rows:
        return "Nothing was evaluated."
    models = [m for m in SHOWN if any(r["model"] == m for r in rows)]
    keys = list(dict.fromkeys((r["role"], r["set"], r["evaluator"], r["metric"]) for r in rows))
    head = ["role", "set", "metric", "n", *(SHOWN[m] for m in models)]
    lines = [head, ["---"] * len(head), *(_line(rows, key, models) for key in keys)]
    note = "Values with 95 % intervals; every column on the same rows under one protocol."
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{note}"


def _line(rows: list[Mapping[str, Any]], key: tuple[str, ...], models: list[str]) -> list[str]:
    mine = [r for r in rows if (r["role"], r["set"], r["evaluator"], r["metric"]) == key and not r["versus"]]
    cells = {r["model"]: with_interval(r["value"], r["low"], r["high"]) for r in mine}
    name = _plain(key[3]) + ("" if mine and mine[0]["higher_is_better"] else " (lower is better)")
    count = str(max((r["n"] for r in mine), default=""))
    return [key[0], _plain(key[1]), name, count, *(cells.get(m, "-") for m in models)]


def _data(audit: Mapping[str, Any]) -> str:
    lines = [
        f"- {_plain(str(s['split']))} `{str(s['key']).replace('`', '')}`: {s['read']:,} rows read, {s['used']:,} used"
        for s in audit.get("sources") or []
    ]
    return "\n".join(lines) or "The run kept no record of its data."


def _recipe(config: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    training = record.get("training") or {}
    kept = ("strategy", "adapter", "optimizer", "scheduler", "batch", "trainer")
    settings = yaml.safe_dump({k: config[k] for k in kept if k in config} | {"seed": record.get("seed")})
    rate = f", peak learning rate {record['learning_rate']:g}" if "learning_rate" in record else ""
    steps = f"{training['steps']:,} optimizer steps, {training['tokens']:,} tokens{rate}" if training else ""
    return "\n\n".join(p for p in (steps, f"```yaml\n{settings}```") if p)


def _use(record: Mapping[str, Any], folder: Path) -> str:
    """Code that loads the folder, for a form that transformers loads."""
    if not (folder / "config.json").is_file():
        return "See the files of this folder."
    auto = CLASSES.get(str(record.get("head") or "causal_lm"), "AutoModel")
    lines = [f"from transformers import {auto}, AutoTokenizer", ""]
    lines += [
        f'{name} = {cls}.from_pretrained("FOLDER")' for name, cls in (("model", auto), ("tokenizer", "AutoTokenizer"))
    ]
    return "\n".join(["```python", *lines, "```"])
