"""Heads that a strategy may ask of a model, as transformers' Auto classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tuneforge.errors import ConfigError

CLASSES = {
    "causal_lm": "AutoModelForCausalLM",
    "masked_lm": "AutoModelForMaskedLM",
    "sequence_classification": "AutoModelForSequenceClassification",
    "reward": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "embedding": "AutoModel",
}
"""Head → the Auto class that loads it."""
LABELLED = ("sequence_classification", "token_classification")


def auto_class(model: str, head: str) -> str:
    """Name of the Auto class; ConfigError for a head that no model has."""
    if head not in CLASSES:
        raise ConfigError(f"model={model} has no head '{head}'; it has {', '.join(CLASSES)}")
    return CLASSES[head]


def label_options(head: str, labels: Sequence[str]) -> dict[str, Any]:
    """What the model's configuration must say of its classes."""
    if head == "reward":
        return {"num_labels": 1}
    if head not in LABELLED or not labels:
        return {}
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


@contextmanager
def new_weights(seed: int) -> Iterator[None]:
    """Weights that a head needs and the checkpoint lacks are drawn with this seed; generators stay as they were."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
