"""samples.jsonl: per evaluation row the prompt, the reference, and what each variant answered and scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tuneforge.conversation import answer_text, classes, references, split
from tuneforge.evaluation.figures import finite
from tuneforge.evaluation.lm import row_key
from tuneforge.evaluation.measure import Measured
from tuneforge.evaluation.recorder import tagged
from tuneforge.files import write_text
from tuneforge.rows import Row


def samples(measured: Measured) -> Iterator[dict[str, Any]]:
    """One object per row and set, in the order of the sets."""
    variants = list(dict.fromkeys(variant for _, variant in measured.cells))
    for (split_name, name), held in measured.sets.items():
        scores = _scores(measured, split_name, name)
        for row, here in zip(held.rows, occurrences(map(row_key, held.rows)), strict=True):
            if here not in scores:
                continue
            key, _ = here
            answers = {v: a for v in variants if (a := measured.answers.get((v, key))) and v in scores[here]}
            yield {
                "set": name,
                "split": split_name,
                "role": held.role,
                "id": key,
                "place": row.place,
                "group": row.group,
                **_asked(row),
                "answers": {v: a.text for v, a in answers.items()},
                "finish": {v: a.error or a.finish for v, a in answers.items()},
                "scores": scores[here],
            }


def occurrences(keys: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Each key and how often it stood before: a set may hold a row twice, with other kept columns or another group."""
    seen: dict[str, int] = {}
    for key in keys:
        seen[key] = seen.get(key, -1) + 1
        yield key, seen[key]


def _scores(
    measured: Measured, split_name: str, name: str
) -> dict[tuple[str, int], dict[str, dict[str, float | None]]]:
    """Row (key and occurrence) → variant → `evaluator.statistic` → number; None where it is none."""
    found: dict[tuple[str, int], dict[str, dict[str, float | None]]] = {}
    for (place, variant), cell in measured.cells.items():
        if (place.split, place.set) != (split_name, name):
            continue
        for i, here in enumerate(occurrences(map(row_key, measured.rows[place]))):
            numbers = found.setdefault(here, {}).setdefault(variant, {})
            numbers |= {f"{place.evaluator}.{stat}": finite(values[i]) for stat, values in cell.stats.items()}
    return found


def _asked(row: Row) -> dict[str, Any]:
    """The prompt as a text or messages, and the reference, and all where there are several; of a pair the chosen answer
    with the rejected one beside it; a plain text is its own reference."""
    for column in ("completion", "chosen"):
        parts = split(row.columns, column)
        if parts:
            prompt: Any = parts[0]
            if len(prompt) == 1 and set(prompt[0]) <= {"role", "content"}:
                prompt = prompt[0]["content"]
            pair = {"rejected": answer_text(row.columns, "rejected")} if column == "chosen" else {}
            right = references(row.columns) if column == "completion" else ()
            several = {"references": list(right)} if len(right) > 1 else {}
            return {"prompt": prompt, "reference": answer_text(row.columns, column)} | several | pair
    if (named := classes(row.columns)) is not None:
        return {"prompt": row.columns["text"], "reference": ", ".join(named)}
    if row.columns.get("tags") is not None:
        words = row.columns["tokens"]
        return {"prompt": " ".join(words), "reference": tagged(words, row.columns["tags"])}
    if row.columns.get("anchor") is not None:
        return {"prompt": row.columns["anchor"], "reference": row.columns["positive"]}
    return {"prompt": row.columns.get("prompt") or "", "reference": row.columns.get("text") or ""}


def write_samples(folder: Path, measured: Measured) -> Path:
    """samples.jsonl, replaced in one piece."""
    path = folder / "samples.jsonl"
    write_text(path, "".join(json.dumps(one, ensure_ascii=False, default=str) + "\n" for one in samples(measured)))
    return path
