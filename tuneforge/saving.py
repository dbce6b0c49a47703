"""The tuned model on disk, whole or not there."""

from __future__ import annotations

import shutil
from pathlib import Path

from tuneforge.errors import TuneForgeError
from tuneforge.rows import Loaded
from tuneforge.settings import Run


def save_model(run: Run, tuned: Loaded, folder: Path) -> None:
    """Model and tokenizer, put in place when they are whole. TuneForgeError where the disk does not take them."""
    temporary = folder.with_name(".model")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        run.adapter.save(tuned.model, temporary)
        save_tokenizer(tuned, temporary)
        run.strategy.save(temporary, tuned)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except Exception as error:  # safetensors wraps what the operating system says in a class of its own
        shutil.rmtree(temporary, ignore_errors=True)
        free = shutil.disk_usage(folder.parent).free
        raise TuneForgeError(
            f"{folder}: the tuned model could not be written ({str(error).splitlines()[0]}; {free:,} bytes are free); "
            f"its last checkpoint is whole: make room, then tuneforge resume={folder.parent}"
        ) from error


def save_tokenizer(tuned: Loaded, folder: Path) -> None:
    """The tokenizer with the chat template that was trained on."""
    from tuneforge.training.text.chat import trained_template

    own = tuned.tokenizer.chat_template
    tuned.tokenizer.chat_template = trained_template(tuned.tokenizer)
    try:
        tuned.tokenizer.save_pretrained(folder)
    finally:
        tuned.tokenizer.chat_template = own
