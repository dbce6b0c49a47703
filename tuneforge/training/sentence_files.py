"""The files that make a model folder one of sentence-transformers, in the layout that versions 2 to 6 read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODES = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "last": "pooling_mode_lasttoken"}
"""Pooling here → the flag of sentence-transformers."""


def write(folder: Path, width: int, pooling: str, *, normalise: bool, prompts: Mapping[str, str]) -> None:
    """modules.json, the configurations of its modules, and the prompts that `encode_query` and so on apply."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalise else [])]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(modules)
    ]
    for path, _ in modules[1:]:
        (folder / path).mkdir(exist_ok=True)
    flags = {flag: mode == pooling for mode, flag in MODES.items()}
    _write(folder / "modules.json", listed)
    _write(folder / "sentence_bert_config.json", {"do_lower_case": False})
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **flags})
    similarity = "cosine" if normalise else "dot"
    _write(
        folder / "config_sentence_transformers.json",
        {"prompts": dict(prompts), "default_prompt_name": None, "similarity_fn_name": similarity},
    )


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
