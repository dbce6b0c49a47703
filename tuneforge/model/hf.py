"""Models in Hugging Face's format."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Model
from tuneforge.errors import ConfigError, nearest
from tuneforge.model.brought import Brought, run_folder
from tuneforge.rows import Loaded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.settings import Run


class DType(StrEnum):
    """Type of the weights in memory."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Attention(StrEnum):
    """Implementation of attention."""

    auto = "auto"
    sdpa = "sdpa"
    eager = "eager"
    flash_attention_2 = "flash_attention_2"


@dataclass(kw_only=True)
class Hf(Model):
    """A model folder or a name on the Hugging Face hub, with its tokenizer. Weights are read from safetensors only."""

    name: ClassVar[str] = "hf"

    path: str = ""
    """Folder with config.json, *.safetensors and a tokenizer, or a hub name as `org/name`."""
    dtype: DType = DType.auto
    """Weights' type: auto (bfloat16 where an accelerator has it, else float32), float32, bfloat16 or float16."""
    attention: Attention = Attention.auto
    """Attention: auto (the model's default), sdpa, eager or flash_attention_2."""
    chat_template: str | None = None
    """A .jinja file, a template itself, or `none` for plain text; null: the tokenizer's own."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null: the default branch."""
    token: str | None = field(default=None, metadata={"secret": True})
    """Hub token, as ${oc.env:HF_TOKEN}; null: the one that is logged in."""
    trust_remote_code: bool = False
    """Run Python code that the model brings."""
    adapter: Brought | None = None
    """What becomes of an adapter that the path brings: continue, merge or stack; null: continue if it is this run's own
    kind and settings, merge if all parameters train."""

    @property
    def learning_rate_factor(self) -> float:  # type: ignore[override]
        """That of the model with which the run at the path began; 1 for any other path."""
        from tuneforge.model.brought import factor

        return factor(self.path)

    def check(self, run: Run) -> Iterable[str]:
        """A path is needed, and one that stays what it is."""
        if not self.path:
            yield "model.path is empty: give a model folder or a hub name (model=./folder also works)"
        elif run_folder(self.path) is not None and Path(self.path).expanduser().is_symlink():
            yield (
                f"model.path={self.path} is a link that moves with the next run; write model={self.path}, which keeps"
                " the run that it names now"
            )

    def config(self) -> Mapping[str, Any]:
        """The content of config.json, of the base where the path brings an adapter."""
        from tuneforge.model.brought import find

        origin = find(self)
        if origin is not None:
            return origin.base.config() if origin.base is not None else _config_json(origin.folder)
        folder = self._folder()
        if folder is None:
            return dict(self._from_hub("AutoConfig").to_dict())
        return _config_json(folder)

    def load(self, head: str, context: Context) -> Loaded:
        """Model and tokenizer; says the chosen dtype, the pad token where one had to be chosen, and new weights.

        A path that is a run or an adapter is loaded with its adapter, as `adapter` says. ConfigError for weights that
        lack the head of a causal language model.
        """
        from tuneforge.model import brought

        origin = brought.find(self)
        if origin is not None and origin.base is not None:
            return brought.load(self, origin, head, context)
        if self.adapter is not None:
            raise ConfigError(f"model.adapter={self.adapter}: {self.path} is a whole model and brings no adapter")
        own = context.run.model is self
        plain = self if origin is None else dataclasses.replace(self, path=str(origin.folder))
        if own and origin is not None:
            context.note(f"lineage: the model of {origin.run}")
        return plain._plain(head, context, own)

    def _plain(self, head: str, context: Context, own: bool) -> Loaded:
        """A plain folder or hub name; `own`: this run's model, which its adapter may want quantised."""
        from tuneforge.model.heads import auto_class, label_options, new_weights, other_classes, renew_head, say_new
        from tuneforge.model.tokenizer import check_size

        auto = auto_class(self.name, head, self.config())
        folder = self._folder()
        if folder is not None:
            _config_json(folder)
            _check_weights(folder)
        tokenizer = self.tokenizer(folder, context)
        options = self._weights(context, own) | label_options(head, context.labels)
        other = other_classes(self.config(), head, context.labels)
        if other and context.whole:
            raise ConfigError(
                f"{self.path}: its head has other classes ({other}); it was not trained with a {head} head"
            )
        with new_weights(context.seed):
            model, report = self._from_hub(
                auto, output_loading_info=True, ignore_mismatched_sizes=bool(other), **options
            )
            if other and not report["missing_keys"]:
                renew_head(model)
                context.note(f"the model brings a head for other classes ({other}); its weights are drawn anew")
        say_new(self.path, head, report["missing_keys"], context)
        if "quantization_config" in options:
            from tuneforge.training.four_bits import keep_exact

            keep_exact(model)
        check_size(tokenizer, model, self.path)
        for settings in (model.config, getattr(model, "generation_config", None)):
            if settings is not None:
                settings.pad_token_id = tokenizer.pad_token_id
        return Loaded(model, tokenizer)

    def tokenizer(self, folder: Path | None, context: Context) -> Tokenizer:
        """The tokenizer in `folder` (None: of the hub name), with the chat template that is wanted."""
        from tuneforge.model.tokenizer import prepare

        source = self if folder is None else dataclasses.replace(self, path=str(folder), adapter=None)
        tokenizer: Tokenizer = source._from_hub("AutoTokenizer")
        prepare(tokenizer, self.chat_template, context)
        return tokenizer

    def _weights(self, context: Context, own: bool) -> dict[str, Any]:
        dtype = self.dtype.value
        if self.dtype is DType.auto:
            dtype = _best_dtype(context.run)
            context.note(f"model.dtype=auto: {dtype}")
        options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
        quantization = context.run.adapter.quantization() if own else None
        if quantization is not None:
            options["quantization_config"] = quantization
        if self.attention is not Attention.auto:
            options["attn_implementation"] = self.attention.value
        return options

    def _folder(self) -> Path | None:
        """The model's folder; None for a hub name. ConfigError for a path that is no model folder."""
        path = Path(self.path).expanduser()
        if path.is_file():
            raise ConfigError(f"model.path={self.path} is a file; a folder with config.json is needed")
        if path.is_dir():
            return path
        looks_local = self.path.startswith((".", "/", "~")) or self.path.count("/") != 1 or path.parent.is_dir()
        if looks_local and (self.path.count("/") != 0 or not self.path):
            raise ConfigError(f"model.path={self.path}: no such folder.{_near(path)}")
        return None

    def _from_hub(self, auto: str, **options: Any) -> Any:
        """`transformers.<auto>.from_pretrained`; what goes wrong becomes one ConfigError."""
        import transformers

        where = str(Path(self.path).expanduser()) if self._folder() else self.path
        try:
            with _quiet():
                return getattr(transformers, auto).from_pretrained(
                    where,
                    revision=self.revision or "main",
                    token=self.token,
                    trust_remote_code=self.trust_remote_code,
                    local_files_only=self._folder() is None and not _hub_answers(),
                    **options,
                )
        except Exception as error:
            near = "" if self._folder() else _near(Path(self.path))
            raise ConfigError(f"model.path={self.path}: {_reason(error, self._folder() is None)}.{near}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar, which would stand amid our own lines."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@cache
def _hub_answers() -> bool:
    """Whether the hub answers one request, asked once; libraries ask one that does not for 20 s per file."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception:  # of whatever HTTP library the hub's own uses, or that it is told to be offline
        return False
    return True


def _best_dtype(run: Run) -> str:
    import torch

    from tuneforge.training.devices.place import place

    return "bfloat16" if place(run).type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _config_json(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.exists():
        inside = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        raise ConfigError(
            f"model.path={folder} has no config.json (it has {inside}); a Hugging Face model folder is needed"
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{file} holds no JSON object")
    return config


def _check_weights(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(pattern))
    if pickles:
        raise ConfigError(
            f"model.path={folder} holds only pickled weights ({', '.join(pickles[:3])}), which can run code when read;"
            " convert them to safetensors first"
        )
    raise ConfigError(f"model.path={folder} holds no weights (*.safetensors)")


def _near(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    missing = path.relative_to(parent).parts[0] if path.is_relative_to(parent) else path.name
    found = nearest(missing, [p.name for p in parent.iterdir() if p.is_dir()])
    return found.replace("'", f"'{parent}/", 1) if found else ""


def _reason(error: Exception, hub: bool) -> str:
    """The first sentence of what transformers says, or what an unreachable hub means."""
    text = " ".join(str(error).split())
    if type(error).__name__ == "SafetensorError":
        return f"a file of weights is damaged or cut off ({text})"
    if "safetensors" in text:
        return f"no weights in safetensors, which alone are read ({text[:200]})"
    if hub and (isinstance(error, OSError) or "offline" in text.lower() or "connect" in text.lower()):
        return "no such folder, and the Hugging Face hub does not give it (offline, misspelt, or a token is needed)"
    return f"{type(error).__name__}: {text[:300]}"
