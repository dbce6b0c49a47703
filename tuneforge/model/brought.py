"""Models that are no plain folder: an adapter, or an earlier run, and what becomes of the adapter that they bring."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tuneforge.components import Adapter, Context, Model
from tuneforge.errors import ConfigError
from tuneforge.rows import Loaded

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.model.hf import Hf
    from tuneforge.settings import Run

Brought = StrEnum("Brought", {"continue": "continue", "merge": "merge", "stack": "stack"})
"""What becomes of an adapter that the model brings. (`continue` is a keyword, so this cannot be a class body.)"""
GO_ON, MERGE, STACK = Brought("continue"), Brought("merge"), Brought("stack")
PEFT_CONFIG, BOTTLENECK_CONFIG = "adapter_config.json", "bottleneck_config.json"
BOTTLENECK = "BOTTLENECK"
MERGED = "merged into its base"
"""What the name of a merged model ends with."""
MERGEABLE = ("LORA", "IA3")
"""Kinds whose update can be added to weights, and of which one can stand on another."""
CHOICES = (
    "model.adapter=continue (it trains on, and is the reference of dpo), merge (into the base's weights, with a new one"
    " on top) or stack (frozen under a new one)"
)


@dataclass(frozen=True)
class Origin:
    """What stands at a path that is a run or an adapter."""

    folder: Path
    """Weights or adapter, with the tokenizer."""
    base: Model | None
    """Loads what the adapter stands on; None: the folder holds a whole model."""
    made_by: Adapter | None = None
    """The adapter's settings in the run that saved it; None where they are not known."""
    head: str | None = None
    """Head that it was trained with; None where it is not known."""
    run: Path | None = None

    @property
    def kind(self) -> str:
        """PEFT's name of the adapter, or BOTTLENECK."""
        if (self.folder / BOTTLENECK_CONFIG).is_file():
            return BOTTLENECK
        return str(_json(self.folder / PEFT_CONFIG).get("peft_type"))


def run_folder(path: str) -> Path | None:
    """The run directory that the path names, itself or by its `model` folder; None for anything else."""
    folder = Path(path).expanduser()
    for at in (folder, folder.parent) if folder.name == "model" else (folder,):
        if (at / "config.yaml").is_file() and (at / "types.json").is_file():
            return at
    return None


def find(model: Hf) -> Origin | None:
    """What the model's path holds, where it is a run or an adapter; None for a plain folder or a hub name.

    ConfigError for a run that left no model, and an adapter that names no base.
    """
    run = run_folder(model.path)
    if run is not None:
        return _of_run(run, model)
    folder = Path(model.path).expanduser()
    if (folder / "config.json").is_file():
        return None
    for name in (PEFT_CONFIG, BOTTLENECK_CONFIG):
        if (folder / name).is_file():
            return _of_folder(folder, name, model)
    return None


@cache
def _saved_run(path: Path, changed: int) -> Run:
    """The run that is saved there; `changed` is when its config was written, in ns."""
    from tuneforge import saved

    return saved.load(path)


def _of_run(path: Path, model: Hf) -> Origin:
    folder = path / "model"
    if not folder.is_dir():
        raise ConfigError(f"model.path={model.path}: this run left no model ({_ended(path)})")
    if (folder / "config.json").is_file():
        return Origin(folder, None, run=path)
    run = _saved_run(path, (path / "config.yaml").stat().st_mtime_ns)
    if getattr(run.model, "path", "") and run_folder(run.model.path) == path:  # type: ignore[attr-defined]
        raise ConfigError(f"model.path={model.path}: this run names itself as its model")
    return Origin(folder, _like(model, base_of(run)), run.adapter, run.strategy.head, path)


def _of_folder(folder: Path, name: str, model: Hf) -> Origin:
    config = _json(folder / name)
    base = config.get("base_model_name_or_path")
    if not base:
        raise ConfigError(f"model.path={folder} is an adapter whose {name} names no base model")
    tasks = {"CAUSAL_LM": "causal_lm", "TOKEN_CLS": "token_classification", "FEATURE_EXTRACTION": "embedding"}
    head = tasks.get(str(config.get("task_type")))
    return Origin(folder, dataclasses.replace(model, path=str(base), adapter=None), None, head)


def _ended(path: Path) -> str:
    """How the run ended, in words."""
    file = path / "run.json"
    book = _json(file) if file.is_file() else {}
    error = str(book.get("error") or "")
    status = f"its status is {book.get('status', 'unknown')}" + (f": {' '.join(error.split())[:200]}" if error else "")
    return f"{status}; continue it with tuneforge resume={path}, or name another"


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def _like(model: Hf, base: Model) -> Model:
    """The base with how this run wants its model loaded."""
    if type(base) is not type(model):
        return base
    wanted = {"dtype": model.dtype, "attention": model.attention, "token": model.token}
    return cast("Model", dataclasses.replace(base, **wanted))  # type: ignore[arg-type]


def base_of(run: Run) -> Model:
    """Loads what the adapter that the run saved stands on."""
    model: Any = run.model
    origin = find(model) if hasattr(model, "adapter") else None
    if origin is None or origin.base is None:
        return run.model
    if decide(model.adapter, origin, run.adapter, run.strategy.head) is MERGE:
        return cast("Model", dataclasses.replace(model, adapter=MERGE))
    return origin.base


def factor(path: str) -> float:
    """The learning-rate factor of the model that the run at `path` began with; 1 for anything else."""
    from omegaconf import OmegaConf

    from tuneforge import plugins

    run = run_folder(path)
    if run is None:
        return 1.0
    reference = _json(run / "types.json")["model"]
    if reference == "model/hf":
        inner = OmegaConf.load(run / "config.yaml").model.path
        return 1.0 if run_folder(inner) == run else factor(inner)
    return float(plugins.load().component(reference)().learning_rate_factor)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- what becomes of the adapter


def decide(asked: Brought | None, origin: Origin, adapter: Adapter, head: str) -> Brought:
    """What becomes of the brought adapter in a run with this adapter and head. ConfigError where it cannot be so."""
    if asked is None:
        if not adapter.kind:
            asked = MERGE
        elif origin.made_by is not None and origin.made_by == adapter:
            asked = GO_ON
        else:
            raise ConfigError(
                f"model.path={origin.run or origin.folder} brings an adapter ({_shown(origin)}), and this run's is"
                f" another ({_settings(adapter)}); choose {CHOICES}"
            )
    reason = _impossible(asked, origin, adapter, head)
    if reason:
        raise ConfigError(f"model.adapter={asked} with {origin.run or origin.folder}: {reason}")
    return asked


def _impossible(asked: Brought, origin: Origin, adapter: Adapter, head: str) -> str:
    kind = origin.kind
    if asked is MERGE:
        if kind not in MERGEABLE:
            return f"an adapter of kind {kind} cannot be merged into weights; use model.adapter=continue"
        if adapter.quantization() is not None:
            return (
                f"adapter={adapter.name} loads four-bit weights, which the update cannot be added to; merge first"
                " (tuneforge export), or use continue or stack"
            )
        return ""
    if adapter.kind != kind:
        return f"the brought adapter is of kind {kind}, adapter={adapter.name} is not; use model.adapter=merge"
    if origin.head is not None and origin.head != head:
        return (
            f"the brought adapter was trained with a {origin.head} head, this run has {head}; use model.adapter=merge"
        )
    if asked is STACK and kind not in MERGEABLE:
        return f"adapters of kind {kind} cannot stand on each other; use model.adapter=continue"
    if asked is STACK and (head not in ("causal_lm", "masked_lm", "embedding") or _whole_modules(origin)):
        return "both would train a module whole (a head, modules_to_save); use model.adapter=merge"
    return ""


def _whole_modules(origin: Origin) -> bool:
    return bool(_json(origin.folder / PEFT_CONFIG).get("modules_to_save"))


def _shown(origin: Origin) -> str:
    return _settings(origin.made_by) if origin.made_by is not None else f"of kind {origin.kind}, made elsewhere"


def _settings(adapter: Adapter) -> str:
    """The adapter and those of its fields that are not as they come."""
    plain = type(adapter)()
    pairs = [(f.name, getattr(adapter, f.name)) for f in dataclasses.fields(adapter)]
    return " ".join([adapter.name, *(f"{n}={v}" for n, v in pairs if v != getattr(plain, n))])


# ---------------------------------------------------------------- loading


def load(model: Hf, origin: Origin, head: str, context: Context) -> Loaded:
    """The model at `origin`, in this run's own use or as another model, with the tokenizer that was saved with it."""
    assert origin.base is not None
    own = model is context.run.model
    asked = decide(model.adapter, origin, context.run.adapter, head) if own else model.adapter
    if own and asked is not None:
        context.note(f"lineage: {origin.run or origin.folder} brings {_shown(origin)}; {SAID[asked]}")
    if asked is MERGE:
        found = _merged(origin, head, context)
        # No path: an adapter that is trained on this must not be put on the base without what was merged.
        found.model.name_or_path = f"{origin.run or origin.folder} {MERGED}"
    elif own:
        found = origin.base.load(head, _as(context, origin.base, context.run.adapter))
        found = found._replace(model=_adapted(found.model, origin, asked, context))
    else:
        found = origin.base.load(head, _as(context, origin.base, Adapter()))
        found = found._replace(model=as_it_is(found.model, origin))
    tokenizer = model.tokenizer(origin.folder, context) if has_tokenizer(origin.folder) else found.tokenizer
    return Loaded(found.model, tokenizer)


SAID = {
    GO_ON: "it trains on (model.adapter=continue), as it was set up there",
    MERGE: "it is merged into the weights in float32 (model.adapter=merge)",
    STACK: "it stays frozen under the new one (model.adapter=stack)",
}


def _as(context: Context, model: Model, adapter: Adapter) -> Context:
    """The context of a run that has this model and adapter: what loading looks at."""
    run = dataclasses.replace(context.run, model=model, adapter=adapter)
    return dataclasses.replace(context, run=run, whole=False)  # type: ignore[type-var]


def _adapted(model: Any, origin: Origin, asked: Brought | None, context: Context) -> Any:
    if asked is STACK:
        return _frozen_below(model, origin.folder)
    adapted: Any = context.run.adapter.load(model, origin.folder, trainable=True)
    adapted.brought = str(GO_ON)
    return adapted


def _frozen_below(model: Any, folder: Path) -> Module:
    """The adapters in `folder`, none of them named `default`, which is left to the one to come."""
    from peft import PeftModel

    from tuneforge.adapter.peft_adapter import activate, quiet_peft, stacked

    below = stacked(folder)
    name = f"brought{len(below) + 1}"
    with quiet_peft():
        found = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
        for other in below:
            found.load_adapter(str(folder / other), adapter_name=other)
        activate(found, [*below, name], trainable=False)
    return cast("Module", found)


def as_it_is(model: Any, origin: Origin) -> Any:
    """The adapter on its base, nothing of it training."""
    if origin.kind == BOTTLENECK:
        from tuneforge import plugins

        loader = cast("Adapter", plugins.load().component("adapter/bottleneck")())
        return loader.load(model, origin.folder, trainable=False)
    from tuneforge.adapter.peft_adapter import load_peft

    found: Any = load_peft(model, origin.folder, trainable=False)
    if found.active_peft_config.is_prompt_learning:
        from tuneforge.training.prompting import prompted

        return prompted(found)
    return found


def _merged(origin: Origin, head: str, context: Context) -> Loaded:
    """The adapter added to the base's weights in float32, under the head it was trained with; then `head`."""
    assert origin.base is not None
    trained = origin.head or head
    if origin.kind not in MERGEABLE:
        raise ConfigError(f"model.adapter=merge: an adapter of kind {origin.kind} cannot be merged into weights")
    loaded = origin.base.load(trained, _as(context, origin.base, Adapter()))
    kind = loaded.model.dtype
    whole: Any = as_it_is(loaded.model.float(), origin)
    merged: Any = whole.merge_and_unload().to(kind)
    if trained == head:
        return Loaded(merged, loaded.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        merged.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        again = _folder_model(origin.base, folder)
        return again.load(head, _as(context, again, Adapter()))


def _folder_model(base: Model, folder: str) -> Model:
    from tuneforge.model.hf import Hf

    if isinstance(base, Hf):
        return dataclasses.replace(base, path=folder, adapter=None)
    return Hf(path=folder)


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer was saved there."""
    return (folder / "tokenizer_config.json").is_file()
