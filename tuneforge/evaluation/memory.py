"""What a model said before, by all that determines it: nothing is computed twice, and no stale answer is given."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.cache import Cache, key

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from tuneforge.evaluation.trouble import Trouble

FILE = "answers.sqlite"
ALGORITHM = 1
"""Raised when decoding or scoring here gives other results for the same model and tokens."""


class Memory:
    """Results of one model, as it is now, in memory and in `folder`/answers.sqlite where a folder is given.

    Names of results hold the model's identity, so that a model that was trained on finds nothing of what it was. A
    cache that cannot be read or written is given up for the rest of the run, and `problem` says why.
    """

    def __init__(self, model: Module, folder: Path | None = None) -> None:
        self.model = model
        self.file = None if folder is None else folder / FILE
        self.problem = ""
        """Why nothing is kept on disk; empty while all is well."""
        self._known: dict[str, Any] = {}
        self._stamp: tuple[Any, ...] = ()
        self._identity = ""

    @property
    def identity(self) -> str:
        """32 hex digits over weights, config, adapters, precision, device type, versions: what the function rests on.

        The weights are hashed again (1.3 GB/s a core) only when their bits add up to something else (10 GB/s).
        """
        from tuneforge.training.reference_cache import fingerprint

        try:
            now = stamp(self.model)
            if now != self._stamp:
                self._identity = fingerprint(self.model, *_circumstances(self.model))
                self._stamp = now
        except RuntimeError as error:
            self.problem = f"the bits of {type(self.model).__name__}'s weights cannot be read ({error})"
            self._identity = uuid.uuid4().hex
        return self._identity

    def names(self, kind: str, questions: Sequence[Any]) -> list[str]:
        """What results to questions (JSON values) are called."""
        identity = self.identity
        return [key(ALGORITHM, identity, kind, question) for question in questions]

    def __getitem__(self, name: str) -> Any:
        return self._known[name]

    def unknown(self, kind: str, questions: Sequence[Any], trouble: Trouble) -> tuple[list[str], dict[str, int]]:
        """The names of results to questions, and the place of each question whose result has to be computed, once."""
        names = self.names(kind, questions)
        asked = [name for name in dict.fromkeys(names) if name not in self._known]
        found = self._safely(lambda cache: cache.get(asked)) or {}
        self._known |= found
        trouble.asked[kind] += len(asked)
        trouble.recalled[kind] += len(found)
        trouble.forgetful = self.problem
        return names, {name: place for place, name in enumerate(names) if name not in self._known}

    def keep(self, results: Mapping[str, Any], trouble: Trouble) -> None:
        """Add results: they are on disk on return, all or none."""
        self._known |= results
        self._safely(lambda cache: cache.put(results))
        trouble.forgetful = self.problem

    def _safely(self, use: Any) -> Any:
        """What `use` gives of the cache; None, now and from here on, where the disk does not allow it."""
        if self.file is None or self.problem:
            return None
        try:
            return use(Cache(self.file))
        except (sqlite3.Error, OSError, ValueError) as error:
            self.problem = f"{self.file}: {error}"
            return None


def stamp(model: Any) -> tuple[Any, ...]:
    """Changes with weights, however they are written, config and what acts on them: as fast as memory is read."""
    state = [*model.named_parameters(), *model.named_buffers()]
    sums = [(name, int(_bits(tensor).sum())) for name, tensor in state]
    return (*_circumstances(model), str(model.config.to_dict()), *sums)


def _bits(tensor: Tensor) -> Tensor:
    """The same memory as integers."""
    import torch

    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().contiguous().view(kinds[tensor.element_size()])


def _circumstances(model: Any) -> tuple[str, ...]:
    """What changes a result beside weights, config and library versions."""
    import torch

    acting = [*(model.active_adapters if getattr(model, "peft_config", None) else ())]
    off = [bool(layer._disable_adapters) for layer in model.modules() if hasattr(layer, "_disable_adapters")]
    attention = getattr(model.config, "_attn_implementation", "")
    device = next(model.parameters()).device.type
    return device, str(attention), torch.get_float32_matmul_precision(), f"{acting} {off}"
