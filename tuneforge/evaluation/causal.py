"""A causal language model asked by token ids: in batches, of which each is kept when it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tuneforge.evaluation.decoding import Decoded, greedy
from tuneforge.evaluation.memory import Memory
from tuneforge.evaluation.trouble import Trouble
from tuneforge.evaluation.windows import Window, log_probs
from tuneforge.rows import content_hash
from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers import PreTrainedTokenizerBase as Tokenizer

BATCH_ROWS = 64
LOGITS = 2**28
"""Logits in memory at once (1 GiB of float32)."""


class Ask(NamedTuple):
    """A prompt, and the most tokens of its answer: at least one."""

    ids: list[int]
    limit: int


class Causal:
    """Greedy answers and log-probabilities of token ids, each computed once.

    Batches are cut from the front of one order. So an evaluation that was killed goes on with the batches that it had
    before it, and gives the same numbers as one that was not.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer, batch_tokens: int, cache: Path | None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens
        self.memory = Memory(model, cache)

    def answers(self, asks: Sequence[Ask], stop_text: str, trouble: Trouble) -> list[Decoded]:
        """What the model says to each; an answer also ends at `stop_text`, unless it is empty."""
        import torch

        ending = [sorted(self.stop), stop_text, self._decoder if stop_text else ""]
        names, places = self.memory.unknown("answers", [[*ask, *ending] for ask in asks], trouble)
        unknown = {name: asks[place] for name, place in places.items()}
        with evaluating(self.model), torch.no_grad():
            for batch in self._batches(unknown):
                ids, limits = zip(*(unknown[name] for name in batch), strict=True)
                found = greedy(self.model, ids, limits, self.stop, self.pad, stop_text, self.decode)
                self.memory.keep(dict(zip(batch, found, strict=True)), trouble)
        return [Decoded(*self.memory[name]) for name in names]

    def log_probs(self, parts: Sequence[Window], trouble: Trouble) -> list[float]:
        """Nats of the scored tokens of each part: at least one token."""
        import torch

        names, places = self.memory.unknown("log-probabilities", [[list(p.ids), p.score] for p in parts], trouble)
        budget = max(min(self.batch_tokens, LOGITS // self.vocabulary), 1)
        unknown = list(places)
        with evaluating(self.model), torch.no_grad():
            for batch, nats in log_probs(self.model, [parts[place] for place in places.values()], budget):
                self.memory.keep({unknown[i]: value for i, value in zip(batch, nats, strict=True)}, trouble)
        return [self.memory[name] for name in names]

    # ---------------------------------------------------------------- batches

    def _batches(self, asks: Mapping[str, Ask]) -> Iterator[list[str]]:
        """Names of similar prompt length, longest first, as many as fit the token budget with their answers."""
        batch: list[str] = []
        longest = 0
        for name in sorted(asks, key=lambda n: (-len(asks[n].ids), -asks[n].limit)):
            most = max(longest, asks[name].limit)
            size = len(asks[batch[0]].ids) + most if batch else 0
            if batch and (len(batch) == self._rows or (len(batch) + 1) * size > self.batch_tokens):
                yield batch
                batch, most = [], asks[name].limit
            batch.append(name)
            longest = most
        if batch:
            yield batch

    @property
    def _rows(self) -> int:
        return BATCH_ROWS if self.model.device.type == "cpu" else 4 * BATCH_ROWS

    # ---------------------------------------------------------------- tokens

    @cached_property
    def stop(self) -> set[int]:
        """Token ids that end an answer."""
        from tuneforge.training.text.render import stop_ids

        return set(stop_ids(self.tokenizer, self.model))

    @property
    def pad(self) -> int:
        """The id that fills a batch."""
        return int(self.tokenizer.pad_token_id or 0)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are to choose from."""
        return int(self.model.config.get_text_config().vocab_size)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    @cached_property
    def _decoder(self) -> str:
        """What makes text of tokens, for answers that end at a text."""
        tokenizer: Any = self.tokenizer
        return content_hash({"": tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else tokenizer.get_vocab()})
