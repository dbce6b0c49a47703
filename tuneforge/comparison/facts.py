"""What several runs cost, and in which values of their configs and in which data they differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tuneforge.comparison.contestants import Contestant

UNLIKE = ("output_dir", "resume", "name")
"""Keys that differ between any two runs and say nothing."""
COSTS = {
    "seconds": ("seconds", "all"),
    "training_seconds": ("training", "seconds"),
    "steps": ("training", "steps"),
    "tokens": ("training", "tokens"),
    "loss_tokens": ("training", "loss_tokens"),
}
"""Name of a cost → where run.json has it."""
Differences = list[tuple[str, list[str]]]
"""(key, its value in each run); `-` where a run does not have it."""


def cost(one: Contestant) -> dict[str, float | None]:
    """Seconds in all and of training, steps, tokens, peak memory in bytes; None where run.json does not say."""
    found = {name: (one.record.get(part) or {}).get(key) for name, (part, key) in COSTS.items()}
    return {**found, "peak_memory_bytes": one.record.get("peak_memory_bytes")}


def config_differences(found: Sequence[Contestant]) -> Differences:
    """Dotted keys of config.yaml whose values are not the same in all, in the order of the files."""
    return _differences([dict(_flat(_config(one))) for one in found])


def data_differences(found: Sequence[Contestant]) -> Differences:
    """Training rows and fingerprints of run.json's `data` that are not the same in all."""
    return _differences([_data(one.record) for one in found])


def same_data(found: Sequence[Contestant]) -> bool:
    """Whether all trained on the same rows, as far as run.json says."""
    prints = [(one.record.get("data") or {}).get("fingerprint") for one in found]
    return None not in prints and len(set(prints)) == 1


def _data(record: Mapping[str, Any]) -> dict[str, str]:
    data = record.get("data") or {}
    found = (
        {"training rows": f"{data['rows']:,}", "training data": str(data.get("fingerprint"))}
        if data.get("rows")
        else {}
    )
    return found | {name: str(fingerprint) for name, fingerprint in (data.get("sets") or {}).items()}


def _differences(values: Sequence[Mapping[str, str]]) -> Differences:
    keys = dict.fromkeys(key for one in values for key in one)
    found = [(key, [one.get(key, "-") for one in values]) for key in keys]
    return [(key, row) for key, row in found if len(set(row)) > 1]


def _config(one: Contestant) -> Mapping[str, Any]:
    path = one.folder / "config.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except yaml.YAMLError:
        return {"config.yaml": "damaged"}
    return content if isinstance(content, Mapping) else {}


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Leaves by dotted key; a list is a leaf."""
    if not isinstance(node, Mapping) or (prefix and not node):
        yield prefix, node if isinstance(node, str) else json.dumps(node, ensure_ascii=False, default=str)
        return
    for key, value in node.items():
        if prefix or key not in UNLIKE:
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
