"""What a run asks of its process: a record however it is ended, and libraries that keep quiet."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tuneforge.errors import Preempted


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM outside of training ends the run as Ctrl-C does: recorded as preempted, exit code 143."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Preempted("SIGTERM outside of training; nothing was lost, run it again or resume it", number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def quiet_libraries() -> None:
    """Without libraries' progress bars and remarks on their own build, which would stand amid our own lines."""
    import logging as standard

    from transformers.utils import logging

    for name in ("bitsandbytes", "torchao", "torch.utils._pytree", "huggingface_hub"):
        standard.getLogger(name).setLevel(standard.ERROR)
    # PEFT 0.21 asks transformers 5 by the old name.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
