"""Some parameters train, the others stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tuneforge.adapter.whole import load_whole, refuse_quantized, save_whole
from tuneforge.components import Adapter, Context
from tuneforge.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.settings import Run

REGEX = "re:"


@dataclass(kw_only=True)
class Freeze(Adapter):
    """Only chosen parameters train: those whose names match, the last layers, or both."""

    name: ClassVar[str] = "freeze"

    train: list[str] = field(default_factory=list)
    """Names of parameters or modules that train: globs (`*.mlp.*`) or, after `re:`, regular expressions."""
    last_layers: int | None = None
    """How many of the last layers train, with what stands above them: the last norm and the head; null: 2 where `train`
    names nothing, else 0."""

    def check(self, run: Run) -> Iterable[str]:
        """Something must train, and regular expressions must be some."""
        if not self.train and self.last_layers == 0:
            yield "adapter=freeze: nothing would train; set adapter.train (names or patterns) or adapter.last_layers"
        if self.last_layers is not None and self.last_layers < 0:
            yield f"adapter.last_layers={self.last_layers} must be 0 or more"
        for pattern in self.train:
            if pattern.startswith(REGEX):
                try:
                    re.compile(pattern.removeprefix(REGEX))
                except re.error as error:
                    yield f"adapter.train: {pattern} is no regular expression: {error}"

    def apply(self, model: Module, context: Context) -> Module:
        """The model with exactly the chosen parameters training. ConfigError for a pattern that matches nothing."""
        from tuneforge.training.depth import by_depth, train_only

        refuse_quantized(model, self.name)
        names = [name for name, _ in model.named_parameters()]
        chosen = {name for pattern in self.train for name in matching(pattern, names)}
        last = (0 if self.train else 2) if self.last_layers is None else self.last_layers
        if last:
            groups = by_depth(model)
            if last > len(groups) - 2:
                raise ConfigError(f"adapter.last_layers={last}: the model has {len(groups) - 2} layers")
            chosen.update(name for group in groups[: last + 1] for name in group)
            self._say_tied(model, chosen, context)
        train_only(model, sorted(chosen))
        return model

    def _say_tied(self, model: Module, chosen: set[str], context: Context) -> None:
        output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # type: ignore[operator]
        if output is None:
            return
        trained = {id(p) for name, p in model.named_parameters() if name in chosen}
        if not any(id(p) in trained for p in output.parameters()):
            context.note("adapter=freeze: the head is tied to the embeddings and stays frozen with them")

    def save(self, model: Module, folder: Path) -> None:
        """The whole model: `config.json` and safetensors, as transformers loads them."""
        save_whole(model, folder)

    def load(self, model: Module, folder: Path, trainable: bool) -> Module:
        """The weights in `folder` put into the freshly loaded base; `trainable`: the chosen ones train."""
        return load_whole(model, folder).requires_grad_(trainable)

    def merge(self, model: Module) -> Module:
        """The model itself."""
        return model


def matching(pattern: str, names: Sequence[str]) -> list[str]:
    """Names that the pattern fits: whole, or a module on their path. ConfigError with the nearest names for none."""
    if pattern.startswith(REGEX):
        found = [name for name in names if re.search(pattern.removeprefix(REGEX), name)]
    else:
        found = [n for n in names if any(fnmatchcase(part, pattern) for part in _paths(n))]
    if not found:
        parts = sorted({part for name in names for part in _paths(name)}, key=len)
        near = nearest(pattern.removeprefix(REGEX).strip("*."), [*parts, *{p for n in names for p in n.split(".")}])
        raise ConfigError(
            f"adapter.train: '{pattern}' fits no parameter; they are named as {names[0]}, {names[-1]}.{near}"
        )
    return found


def _paths(name: str) -> list[str]:
    """`a.b.c`: a, a.b, a.b.c."""
    steps = name.split(".")
    return [".".join(steps[: i + 1]) for i in range(len(steps))]
