"""Vectors that a frozen model makes of texts, and synthetic ones between them for rare classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Linear, Module

from tuneforge.errors import ConfigError
from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.rows import Batch, Encoded

ROWS = 64
"""Rows that are read at a time."""
NEIGHBOURS = 5
"""Nearest rows of its class between which and a row synthetic vectors lie: Chawla et al. 2002, and imbalanced-learn."""
CLOSE = 0.05
"""Largest difference between the head on the vector and the model's own logits, as a share of the largest logit."""


class Synthetic(NamedTuple):
    """Vectors that stand for no text: (vectors, width) float32, and the class of each."""

    vectors: Tensor
    classes: Tensor
    per_row: float
    """How many there are for each training row."""
    left: dict[str, list[int]]
    """Why classes got none: their indices."""

    def drawn(self, streams: Sequence[torch.Generator]) -> Tensor:
        """Indices of those that train along with a batch: of each row's stream `per_row` on average, with replacement.

        In an epoch as many are drawn as there are.
        """
        found = []
        for stream in streams:
            count = int(self.per_row + torch.rand((), generator=stream, dtype=torch.float64))
            found.append(torch.randint(len(self.vectors), (count,), generator=stream))
        return torch.cat(found)


def output_layer(model: Module) -> tuple[str, Linear]:
    """Name and layer of the last linear one that gives as many numbers as there are classes. ConfigError for none."""
    labels = getattr(model.config, "num_labels", None)
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, Linear) and m.out_features == labels]
    if not found:
        raise ConfigError(
            f"strategy.smote: {type(model).__name__} has no linear layer with {labels} outputs at its end"
        )
    return found[-1]


def vectors_of(model: Module, rows: Sequence[Encoded], collate: Callable[[Sequence[Encoded]], Batch]) -> Tensor:
    """(rows, width) float32: what enters the output layer for each row, in eval mode.

    Where the layer is applied to every position, as in causal models, it is the last token's. ConfigError where the
    layer does not make the model's own logits of it.
    """
    layer = output_layer(model)[1]
    device = layer.weight.device
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].parts["input_ids"]))
    found = torch.zeros(len(rows), layer.in_features, device=device)
    try:
        with evaluating(model), torch.no_grad():
            for start in range(0, len(order), ROWS):
                places = order[start : start + ROWS]
                batch = {k: v.to(device) for k, v in collate([rows[i] for i in places]).items()}
                seen.clear()
                logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
                vectors = _pooled(seen[-1], batch["attention_mask"])
                _require_same(layer, vectors, logits, model)
                found[places] = vectors.float()
    finally:
        handle.remove()
    return found


def _pooled(states: Tensor, mask: Tensor) -> Tensor:
    if states.dim() == 2:
        return states
    return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]


def _require_same(layer: Linear, vectors: Tensor, logits: Tensor, model: Module) -> None:
    apart = float((torch.nn.functional.linear(vectors, layer.weight, layer.bias) - logits).abs().max())
    if apart > CLOSE * float(logits.abs().max()):
        raise ConfigError(
            f"strategy.smote: the last layer of {type(model).__name__} on a text's vector gives other logits than the"
            f" model (by {apart:.2g}), so that its vectors cannot be made; strategy.class_weights works on any model"
        )


def synthesise(vectors: Tensor, classes: Sequence[int], kind: str, seed: int) -> Synthetic:
    """Synthetic vectors by imbalanced-learn, so many that each class has as many rows as the largest.

    A class of n rows lies between up to 5 neighbours, n - 1 where it is smaller; one of a single row has no neighbour
    and gets none, nor does a class for which the method sees no need.
    """
    import numpy as np

    counts = Counter(classes)
    most = max(counts.values())
    by_neighbours: dict[int, list[int]] = {}
    for name, n in sorted(counts.items()):
        if 1 < n < most:
            by_neighbours.setdefault(min(NEIGHBOURS, n - 1), []).append(name)
    given, named = vectors.cpu().numpy().astype(np.float64), np.array(classes)
    alone = sorted(name for name, n in counts.items() if n == 1 < most)
    left = {"only one row": alone} if alone else {}
    made = []
    for k, names in sorted(by_neighbours.items()):
        for group in [names] if kind == "smote" else [[name] for name in names]:
            found = _resampled(given, named, kind, dict.fromkeys(group, most), k, seed)
            if not len(found[1]):
                left.setdefault(f"{kind} sees no row that needs them", []).extend(group)
            made.append(found)
    inside = np.concatenate([m[0] for m in made]) if made else given[:0]
    labels = np.concatenate([m[1] for m in made]) if made else named[:0]
    new = torch.from_numpy(inside).to(vectors)
    return Synthetic(new, torch.from_numpy(labels).to(vectors.device), len(new) / len(given), left)


def _resampled(
    vectors: ndarray, classes: ndarray, kind: str, wanted: dict[int, int], k: int, seed: int
) -> tuple[ndarray, ndarray]:
    """What imbalanced-learn adds to the vectors."""
    from imblearn import over_sampling

    options: Any = {"sampling_strategy": wanted, "random_state": seed}
    if kind == "adasyn":
        sampler = over_sampling.ADASYN(n_neighbors=k, **options)
    else:
        sampler = {"smote": over_sampling.SMOTE, "borderline": over_sampling.BorderlineSMOTE}[kind](
            k_neighbors=k, **options
        )
    try:
        found, named = sampler.fit_resample(vectors, classes)
    except (ValueError, RuntimeError) as error:
        if kind == "adasyn" and ("neigbours belong" in str(error) or "No samples" in str(error)):
            return vectors[:0], classes[:0]  # every neighbour is of the class itself
        raise ConfigError(f"strategy.smote={kind} cannot be made of these {len(vectors):,} rows: {error}") from error
    return found[len(vectors) :], named[len(vectors) :]
