"""The tuned model of a run in other forms: merged in float32, written, loaded again, and compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.context import RunContext
from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.rows import Loaded
from tuneforge.settings import Run

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.components import Exporter
    from tuneforge.evaluation.logits import Difference

MERGED = 1e-4
"""Largest difference that merging in float32 may make, relative to the largest output."""
TEXTS = 16
PLAIN = ["The quick brown fox jumps over the lazy dog.", "1 + 1 =", "Once upon a time"]
"""What is compared where the run kept no preview."""


def export_all(run: Run, folder: Path, exporters: Mapping[str, Exporter], context: RunContext) -> list[dict[str, Any]]:
    """Every exporter's form of the run's model, in `folder/export/<key>`; what was measured, for the record.

    TuneForgeError where a form differs from the tuned model by more than its tolerance: it is not kept.
    """
    from tuneforge.evaluation.logits import difference, outputs

    texts = _texts(folder)
    adapted = adapted_model(run, folder, context)
    before = outputs(adapted, texts)
    merged = _merged(run, adapted, context)
    apart = difference(before, outputs(merged, texts))
    if apart.relative > MERGED:
        raise TuneForgeError(
            f"export {folder}: the merged model's outputs differ from the adapter's by {apart.largest:.3g}"
            f" ({apart.relative:.2g} of the largest, allowed {MERGED:g}); nothing was written"
        )
    return [
        {"exporter": key, "merged": _facts(apart), **_export(key, exporter, merged, before, texts, folder, context)}
        for key, exporter in exporters.items()
    ]


def adapted_model(run: Run, folder: Path, context: RunContext) -> Loaded:
    """The run's tuned model with its adapter apart, in float32 and eval mode, with the tokenizer that was saved.

    Weights in four bits stay what they are: they were trained over. ConfigError where the run left no model.
    """
    from transformers import AutoTokenizer

    from tuneforge.model.brought import base_of
    from tuneforge.training.text.classes import load_labels

    saved = folder / "model"
    if not saved.is_dir():
        raise ConfigError(f"export {folder}: the run left no model; continue it with tuneforge resume={folder}")
    base: Any = base_of(run).load(run.strategy.head, context).model
    quantised = bool(getattr(base, "is_quantized", False))
    model: Any = run.adapter.load(base if quantised else base.float(), saved, trainable=False)
    whole = model if quantised else model.float()
    for name, value in load_labels(saved).items():
        setattr(whole.config, name, value)
    return Loaded(whole.eval(), AutoTokenizer.from_pretrained(str(saved)))


def _merged(run: Run, adapted: Loaded, context: RunContext) -> Loaded:
    if _untie(adapted.model):
        context.note("the adapter changes a tied embedding on one side only: the exported model's head is untied")
    model: Any = run.adapter.merge(adapted.model)
    return Loaded(model.eval(), adapted.tokenizer)


def _untie(model: Any) -> bool:
    """Give a tied head weights of its own where an adapter stands on the head or the embedding alone."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if base is model or not getattr(base.config, "tie_word_embeddings", False):
        return False
    head, embedding = base.get_output_embeddings(), base.get_input_embeddings()
    if head is None or not any(hasattr(layer, "base_layer") for layer in (head, embedding)):
        return False
    import torch

    plain = getattr(head, "base_layer", head)
    plain.weight = torch.nn.Parameter(plain.weight.detach().clone(), requires_grad=False)
    base.config.tie_word_embeddings = False
    return True


def _export(
    key: str, exporter: Exporter, merged: Loaded, before: Sequence[Tensor], texts: Sequence[str], folder: Path,
    context: RunContext,
) -> dict[str, Any]:  # fmt: skip
    from tuneforge.evaluation.logits import difference, outputs
    from tuneforge.report.card import write_card

    target, temporary = folder / "export" / key, folder / "export" / f".{key}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        exporter.export(merged, temporary, context)
        if (temporary / "config.json").exists():
            context.run.strategy.save(temporary, merged)
        again = exporter.reload(temporary, context)
        apart = None if again is None else difference(before, outputs(again, texts))
        _refuse(key, exporter, apart, folder)
        write_card(folder, temporary, _said(apart, len(texts)))
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return {"folder": str(target), "reloaded": None if apart is None else _facts(apart), "tolerance": exporter.limit}


def _refuse(key: str, exporter: Exporter, apart: Difference | None, folder: Path) -> None:
    if apart is not None and not apart.relative <= exporter.limit:
        raise TuneForgeError(
            f"export {folder}: exporter={key}, loaded again, differs from the tuned model by {apart.largest:.3g}"
            f" ({apart.relative:.2g} of the largest output, allowed {exporter.limit:g});"
            f" it was not kept. exporter.{key}.tolerance accepts more"
        )


def _said(apart: Difference | None, texts: int) -> str:
    if apart is None:
        return "This form cannot be loaded again by the tool that wrote it: it was not compared with the tuned model."
    return (
        f"Loaded again and compared with the tuned model on {texts} texts ({apart.positions:,} positions): the largest"
        f" difference of an output is {apart.largest:.3g} ({apart.relative:.2g} of the largest), and"
        f" {apart.agreement:.1%} of the positions put the same output first."
    )


def _facts(apart: Difference) -> dict[str, float]:
    return {k: round(v, 9) for k, v in apart._asdict().items()}


def _texts(folder: Path) -> list[str]:
    """Rows of the run as the model saw them, from data/preview.jsonl."""
    path = folder / "data" / "preview.jsonl"
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n") if path.is_file() else []
    found = ["".join(text for text, _ in json.loads(line)["stretches"]) for line in lines[:TEXTS]]
    return [text for text in found if text.strip()] or PLAIN
