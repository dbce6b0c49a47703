"""Answers that are known, rows and settings for the tests of models with a head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuneforge.adapter.full import Full
from tuneforge.context import RunContext
from tuneforge.evaluation.unable import Unable
from tuneforge.model.tiny import Tiny
from tuneforge.optimizer.adamw import AdamW
from tuneforge.rows import Row, content_hash
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.classification import Classification


class Fixed(Unable):
    """An LM whose answers are given: `predict` (n, labels), `tag` lists, `embed` by text, `reward` by column."""

    def __init__(self, **answers: Any) -> None:
        super().__init__("fixed")
        self.answers = answers

    def predict(self, rows: Sequence[Row]) -> Any:
        return self.answers["predict"]

    def tag(self, rows: Sequence[Row]) -> list[list[str]]:
        return list(self.answers["tag"])

    def embed(self, texts: Sequence[str]) -> Any:
        return np.array([self.answers["embed"][text] for text in texts], dtype=np.float64)


def made(columns: dict[str, Any], line: int) -> Row:
    return Row(columns=columns, id=content_hash(columns), source="data.job", file="job.jsonl", line=line)


def labelled(labels: Sequence[Any], texts: Sequence[str] = ()) -> list[Row]:
    words = texts or [f"text {i}" for i in range(len(labels))]
    return [made({"text": t, "label": x}, i + 1) for i, (t, x) in enumerate(zip(words, labels, strict=True))]


def tagged_rows(tags: Sequence[list[str]], words: Sequence[list[str]] = ()) -> list[Row]:
    tokens = words or [[f"w{i}" for i in range(len(one))] for one in tags]
    return [made({"tokens": w, "tags": t}, i + 1) for i, (w, t) in enumerate(zip(tokens, tags, strict=True))]


def pair_rows(pairs: Sequence[tuple[str, str]]) -> list[Row]:
    return [made({"anchor": a, "positive": p}, i + 1) for i, (a, p) in enumerate(pairs)]


def settings(labels: Sequence[str], strategy: Any = None, folder: Path = Path("unused")) -> RunContext:
    """The context of a run on the CPU with these classes."""
    run = Run(
        model=Tiny(), strategy=strategy or Classification(), adapter=Full(), optimizer=AdamW(), scheduler=Constant()
    )
    run.trainer.accelerator = "cpu"
    return RunContext(run, folder, labels=list(labels))
