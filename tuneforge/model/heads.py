"""Heads that a strategy may ask of a model, as transformers' Auto classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tuneforge.components import Context
from tuneforge.errors import ConfigError

CLASSES = {
    "causal_lm": "AutoModelForCausalLM",
    "masked_lm": "AutoModelForMaskedLM",
    "sequence_classification": "AutoModelForSequenceClassification",
    "reward": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "embedding": "AutoModel",
    "seq2seq": "AutoModelForSeq2SeqLM",
}
"""Head → the Auto class that loads it."""
LABELLED = ("sequence_classification", "token_classification")


def auto_class(model: str, head: str, config: Mapping[str, Any] | None = None) -> str:
    """Name of the Auto class; ConfigError for a head that no model has, or that models of this `config` do not have."""
    if head not in CLASSES:
        raise ConfigError(f"model={model} has no head '{head}'; it has {', '.join(CLASSES)}")
    config = config or {}
    kind, own = config.get("model_type"), config.get("auto_map") or {}
    if kind and CLASSES[head] not in own and not _has(kind, head):
        others = ", ".join(name for name in CLASSES if _has(kind, name))
        raise ConfigError(f"model={model}: a model of type '{kind}' has no {head} head; it has {others or 'none'}")
    return CLASSES[head]


def _has(kind: str, head: str) -> bool:
    import transformers

    return kind in getattr(transformers, CLASSES[head])._model_mapping._model_mapping


def label_options(head: str, labels: Sequence[str]) -> dict[str, Any]:
    """What the model's configuration must say of its classes."""
    if head == "reward":
        return {"num_labels": 1}
    if head not in LABELLED or not labels:
        return {}
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def other_classes(config: Mapping[str, Any], head: str, labels: Sequence[str]) -> str:
    """The classes of the head that a model brings, where they are not the run's; empty: they are, or it has none."""
    brought = list((config.get("id2label") or {}).values())
    same = len(brought) == 1 if head == "reward" else brought == list(labels) or not labels
    if head not in (*LABELLED, "reward") or not brought or same:
        return ""
    return ", ".join(brought[:5]) + (f" and {len(brought) - 5} more" if len(brought) > 5 else "")


def renew_head(model: Any) -> None:
    """Draw every weight outside of the model's body anew."""
    for name, module in model.named_modules():
        if name.partition(".")[0] not in ("", model.base_model_prefix) and hasattr(module, "reset_parameters"):
            module.reset_parameters()


def say_new(path: str, head: str, missing: Iterable[str], context: Context) -> None:
    """Name the weights that are new. ConfigError where a language model would speak through them, or nobody trains."""
    names = sorted(missing)
    if not names:
        return
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if head == "causal_lm":
        raise ConfigError(
            f"model.path={path}: its weights lack {shown}, without which it is no causal language model;"
            " it was saved with another head, or is not whole"
        )
    if context.whole:
        raise ConfigError(f"{path}: its weights lack {shown}: it was not trained with a {head} head")
    context.note(f"new weights, drawn with seed={context.seed}: {shown}")


@contextmanager
def new_weights(seed: int) -> Iterator[None]:
    """Weights that a head needs and the checkpoint lacks are drawn with this seed; generators stay as they were."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
