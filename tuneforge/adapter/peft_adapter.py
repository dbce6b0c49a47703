"""What the adapters that PEFT implements share: wrapping, saving, loading, switching off, merging."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tuneforge.components import Adapter, Context
from tuneforge.errors import ConfigError, nearest

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch.nn import Module

TASKS = {
    "causal_lm": "CAUSAL_LM",
    "sequence_classification": "SEQ_CLS",
    "reward": "SEQ_CLS",
    "token_classification": "TOKEN_CLS",
    "embedding": "FEATURE_EXTRACTION",
}
"""Head → PEFT's task type; a head that is not here has none, and PEFT passes everything through."""
NEW_HEADS = ("sequence_classification", "reward", "token_classification")
"""Heads whose weights are new, so that they train whole and are saved with the adapter."""
MAIN = "default"
"""The adapter that trains; others are frozen under it."""
LINEAR = ("Linear", "Conv1D", "Linear4bit", "Linear8bitLt")


@dataclass(kw_only=True)
class PeftAdapter(Adapter):
    """Base of the adapters that PEFT implements; no option of its own."""

    def peft_config(self, model: Module, head: str) -> PeftConfig:
        """PEFT's configuration for this model, not yet wrapped, under that head."""
        raise NotImplementedError

    def apply(self, model: Module, context: Context) -> Module:
        """The model with adapters, seeded; exactly they, `modules_to_save` and a new head train.

        A model that brings its adapter (`model.adapter`) goes on training it, or gets a new one on top.
        """
        import torch
        from peft import PeftModel, get_peft_model

        torch.manual_seed(context.seed)
        with quiet_peft():
            if not isinstance(model, PeftModel):
                return self.finished(get_peft_model(model, self.peft_config(model, context.run.strategy.head)))
            if MAIN not in model.peft_config:
                _stack(model, self.peft_config(model.get_base_model(), context.run.strategy.head))
        return cast("Module", model)

    def finished(self, model: Module) -> Module:
        """The wrapped model, as training and evaluation need it."""
        return model

    def off(self, model: Module) -> AbstractContextManager[Any] | None:
        """Adapters switched off, those that were brought and stay frozen excepted. None: the brought one trains on."""
        if getattr(model, "brought", "") == "continue":
            return None
        below = [name for name in model.peft_config if name != MAIN]  # type: ignore[union-attr]
        if below:
            return only(model, below)
        return cast("AbstractContextManager[Any]", model.disable_adapter())  # type: ignore[operator]

    def save(self, model: Module, folder: Path) -> None:
        """`adapter_config.json` and `adapter_model.safetensors`, as PEFT loads them; a frozen one in a folder below."""
        from peft.utils.other import EMBEDDING_LAYER_NAMES

        configs = model.peft_config.values()  # type: ignore[operator]
        targets = {name for config in configs for name in getattr(config, "target_modules", None) or ()}
        # Otherwise PEFT looks for the base's config, on the hub too, to learn whether the vocabulary has grown.
        whole: Any = "auto" if targets & {*EMBEDDING_LAYER_NAMES} else False
        with quiet_peft():
            model.save_pretrained(str(folder), save_embedding_layers=whole)  # type: ignore[operator]

    def load(self, model: Module, folder: Path, trainable: bool) -> Module:
        """The adapter in `folder`, and those below it, on the freshly loaded base."""
        return self.finished(load_peft(model, folder, trainable))

    def merge(self, model: Module) -> Module:
        """The base model with the update added to its weights."""
        return cast("Module", model.merge_and_unload())  # type: ignore[operator]


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Without a warning that PEFT earns by asking transformers 5 by an old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield


def load_peft(model: Module, folder: Path, trainable: bool) -> Module:
    """PEFT's model: the adapter in `folder` as `default`, those in folders below frozen, all of them active."""
    from peft import PeftModel

    with quiet_peft():
        found = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
        below = stacked(folder)
        for name in below:
            found.load_adapter(str(folder / name), adapter_name=name)
        if below:
            activate(found, [*below, MAIN], trainable)
    if not trainable:
        found.requires_grad_(False)  # PEFT leaves virtual tokens and new heads training
    return cast("Module", found)


def stacked(folder: Path) -> list[str]:
    """Names of the adapters that were frozen under the one in `folder`."""
    return sorted(p.parent.name for p in folder.glob("*/adapter_config.json"))


def activate(model: Any, names: Sequence[str], trainable: bool = True) -> None:
    """All of the named adapters act; only `default` trains."""
    model.base_model.set_adapter(list(names), inference_mode=not trainable)
    model.active_adapter = MAIN if MAIN in model.peft_config else names[-1]
    for name, parameter in model.named_parameters():
        if any(f".{below}." in f"{name}." for below in names if below != MAIN):
            parameter.requires_grad = False


@contextmanager
def only(model: Module, names: Sequence[str]) -> Iterator[None]:
    """Only the named adapters act; what requires gradients stays as it is."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
    before = [layer._active_adapter for layer in layers]
    try:
        for layer in layers:
            layer._active_adapter = [name for name in names if name in layer._all_available_adapter_names()]
        yield
    finally:
        for layer, active in zip(layers, before, strict=True):
            layer._active_adapter = active


def _stack(model: Any, config: PeftConfig) -> None:
    """A new adapter over those that the model brings, which stay as they are."""
    below = list(model.peft_config)
    theirs = model.peft_config[below[0]].peft_type
    if config.peft_type != theirs:
        raise ConfigError(
            "model.adapter=stack: PEFT stacks adapters of one kind only, and the brought one is"
            f" {theirs.value.lower()}; use model.adapter=merge"
        )
    init = getattr(config, "init_lora_weights", True)
    if init in ("pissa", "olora"):
        raise ConfigError(
            f"model.adapter=stack: adapter.init={init} takes its start out of the base weights, on which the brought"
            " adapter stands; use another init, or model.adapter=merge"
        )
    model.add_adapter(MAIN, config)
    activate(model, [*below, MAIN])


# ---------------------------------------------------------------- names


def output_head(model: Any) -> Module | None:
    """The layer that makes logits of a language model; None for another head."""
    found: Module | None = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return found


def linear_names(model: Module) -> list[str]:
    """Paths of the linear layers, an output head and a new head excepted."""
    output, heads = output_head(model), new_head(model)
    return [
        name
        for name, layer in model.named_modules()
        if type(layer).__name__ in LINEAR and layer is not output and name.split(".")[0] not in heads
    ]


def short_names(model: Module, paths: Sequence[str]) -> list[str]:
    """Last names of the paths, where no other linear layer bears one of them; else the paths."""
    names = {path.rsplit(".", 1)[-1] for path in paths}
    every = [n for n, layer in model.named_modules() if type(layer).__name__ in LINEAR]
    others = {n.rsplit(".", 1)[-1] for n in every if n not in set(paths)}
    return sorted(paths if names & others else names)


def new_head(model: Module) -> list[str]:
    """Children beside the body that hold parameters: a classifier, a score, its dense layer."""
    body = getattr(model, "base_model_prefix", "")
    output = output_head(model)
    return [
        name
        for name, child in model.named_children()
        if name != body and child is not output and hasattr(model, body) and any(True for _ in child.parameters())
    ]


def saved_whole(model: Module, head: str, asked: Sequence[str]) -> list[str] | None:
    """`modules_to_save` for PEFT, which adds `classifier` and `score` itself; None for none."""
    heads = [n for n in new_head(model) if n not in ("classifier", "score")] if head in NEW_HEADS else []
    return [*dict.fromkeys([*asked, *heads])] or None


def check_names(key: str, names: Iterable[str], paths: Iterable[str], what: str) -> None:
    """ConfigError for a name that is the end of no path: PEFT would pass over it."""
    every = list(paths)
    allowed = sorted({p.rsplit(".", 1)[-1] for p in every if not p.rsplit(".", 1)[-1].isdigit()})
    for name in names:
        if not any(p == name or p.endswith(f".{name}") for p in every):
            raise ConfigError(
                f"adapter.{key}: the model has no {what} '{name}'; it has {', '.join(allowed)}.{nearest(name, allowed)}"
            )


def check_layers(model: Module, layers: Sequence[int]) -> list[int]:
    """The layers' numbers, negative ones counted from the end. ConfigError for one that is not there."""
    from tuneforge.training.depth import layers_of

    count = len(layers_of(model)[1])
    for layer in layers:
        if not -count <= layer < count:
            raise ConfigError(f"adapter.layers: the model has no layer {layer}; it has 0 to {count - 1}")
    return [layer % count for layer in layers]
