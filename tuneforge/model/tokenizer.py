"""What a tokenizer needs before training: a pad token, and the chat template that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuneforge.components import Context
from tuneforge.errors import ConfigError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers import PreTrainedTokenizerBase as Tokenizer


def prepare(tokenizer: Tokenizer, chat_template: str | None, context: Context) -> None:
    """Set the chat template and a pad token. Raises ConfigError for a template that cannot be read."""
    if chat_template is not None:
        tokenizer.chat_template = None if chat_template.strip().lower() == "none" else _template(chat_template)
    _check_template(tokenizer)
    if tokenizer.pad_token_id is None:
        _set_pad(tokenizer, context)


def check_size(tokenizer: Tokenizer, model: PreTrainedModel, path: str) -> None:
    """ConfigError where the tokenizer makes ids that the model has no embedding for."""
    rows = model.get_input_embeddings().weight.shape[0]
    largest = max(tokenizer.get_vocab().values())
    if largest >= rows:
        raise ConfigError(
            f"model.path={path}: the tokenizer makes ids up to {largest}, the model's embedding has {rows} rows;"
            " they do not belong together"
        )


def _set_pad(tokenizer: Tokenizer, context: Context) -> None:
    """Without adding to the vocabulary: unk, else eos. Padding carries no label, so eos is still learned."""
    named = ("<pad>", "[PAD]", "<|pad|>", "<|padding|>", "<|endoftext|>")
    vocabulary = tokenizer.get_added_vocab()
    choice = next((t for t in named if t in vocabulary), None) or tokenizer.unk_token or tokenizer.eos_token
    if choice is None:
        raise ConfigError("the tokenizer has no pad, unk or eos token; one of them is needed to fill batches")
    tokenizer.pad_token = choice
    context.note(f"the tokenizer has no pad token; {choice!r} fills batches (it carries no loss there)")


def _template(given: str) -> str:
    """The template's text: of a file, or as given."""
    if "{" in given:
        return given
    path = Path(given).expanduser()
    if path.is_file():
        return path.read_text(encoding="utf-8")
    folder = path.parent if path.parent.is_dir() else Path()
    near = nearest(path.name, [p.name for p in folder.glob("*.jinja")])
    raise ConfigError(f"model.chat_template={given}: no such file, and no template (that would hold a {{ ).{near}")


def _check_template(tokenizer: Tokenizer) -> None:
    """ConfigError for a template that is not valid Jinja or fails on a simple conversation."""
    if not tokenizer.chat_template:
        return
    from jinja2 import TemplateError

    try:
        tokenizer.apply_chat_template(
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], tokenize=False
        )
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"the chat template cannot be used: {error};"
            " mend it, or set model.chat_template (a file, a template, or none)"
        ) from error
