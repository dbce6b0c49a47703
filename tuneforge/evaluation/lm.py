"""A causal language model under evaluation: greedy answers and log-probabilities, batched, each computed once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneforge.conversation import answer_text, split
from tuneforge.evaluation.causal import Ask, Causal
from tuneforge.evaluation.prompt import PLAIN, Prompt
from tuneforge.evaluation.unable import Unable
from tuneforge.evaluation.windows import Window, windows
from tuneforge.rows import Answer, Row, content_hash
from tuneforge.training.text.encode import positions_before

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers import PreTrainedTokenizerBase as Tokenizer

CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len")
PLAIN_STOP = "\n\n"
"""What ends an answer of a k-shot prompt in plain text: the blank line between its blocks."""


def row_key(row: Row) -> str:
    """What identifies a row in caches and samples: its id, else the hash of its content."""
    return row.id or content_hash(row.columns)


def context_length(model: PreTrainedModel) -> int | None:
    """Longest sequence in tokens that the model's configuration allows; None where it names none."""
    config = model.config.get_text_config()
    longest = next((int(n) for k in CONTEXT_KEYS if (n := getattr(config, k, None))), None)
    taken = getattr(model, "virtual_tokens", 0) + positions_before(config.to_dict())
    return None if longest is None else longest - taken


class Scored(NamedTuple):
    """Ids of which those from `start` on are scored; `unseen` nats are added, `tokens` and `size` bytes counted."""

    ids: list[int]
    start: int
    unseen: float
    tokens: int
    size: int


class HFLM(Unable):
    """Implements `components.LM` for a transformers model with a causal head.

    `asking` says what stands around each question. A prompt that leaves no room for an answer loses shots, first
    ones first, and where even the plain prompt does not fit the answer is empty with `error` set and finish
    `length`: counted in `trouble`, never dropped. Generation is greedy, without any penalty, whatever the
    model's generation_config says; the special tokens of an answer are not part of its text.

    With `cache`, a directory, answers and log-probabilities are kept there batch by batch, by model, tokens and
    decoding, so that no later evaluation computes them again. A model whose weights have changed is asked anew.
    """

    head = "a causal_lm"

    def __init__(
        self,
        variant: str,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        asking: Prompt = PLAIN,
        batch_tokens: int = 65536,
        cache: Path | None = None,
    ) -> None:
        super().__init__(variant)
        self.model = model
        self.tokenizer = tokenizer
        self.asking = asking
        self.causal = Causal(model, tokenizer, batch_tokens, cache)
        self.context = context_length(model)
        self._identity = ""
        self._answers: dict[tuple[str, int], Answer] = {}
        self._log_probs: dict[tuple[str, str], tuple[float, float, float]] = {}

    def asked(self, variant: str, asking: Prompt) -> HFLM:
        """The same model asked in another way; what it says either way is computed once."""
        other = HFLM(variant, self.model, self.tokenizer, asking)
        other.causal = self.causal
        return other

    # ---------------------------------------------------------------- the protocol

    def generate(self, rows: Sequence[Row], max_tokens: int) -> list[Answer]:
        """Greedy answers in the order of the rows, at most `max_tokens` tokens, cached per row."""
        self._renew()
        keys = [(row_key(row), max_tokens) for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._answers}
        if missing:
            prompts = [self.prompt(row, max_tokens) for row in missing.values()]
            self._answers.update(zip(missing, self._generate(prompts, max_tokens), strict=True))
            for key in missing:
                self.trouble.count(key[0], self._answers[key], max_tokens)
        return [self._answers[key] for key in keys]

    def log_probs(self, rows: Sequence[Row], column: str) -> NDArray[np.float64]:
        """(n, 3) float64: nats, tokens and UTF-8 bytes of `column` given the prompt.

        The token that ends the answer is left out of all three, so that models with another template or
        tokenizer compare by byte. `text` is scored whole: its first token after BOS (else EOS), and at
        log(vocabulary) where the tokenizer has neither.
        """
        self._renew()
        keys = [(row_key(row), column) for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._log_probs}
        if missing:
            self._log_probs.update(zip(missing, self._measure(list(missing.values()), column), strict=True))
        return np.array([self._log_probs[key] for key in keys], dtype=np.float64).reshape(-1, 3)

    def _renew(self) -> None:
        """Forget what the model said if it has been trained on since."""
        identity = self.causal.memory.identity
        if identity != self._identity:
            self._answers.clear()
            self._log_probs.clear()
        self._identity = identity

    # ---------------------------------------------------------------- prompts

    def prompt(self, row: Row, max_tokens: int) -> list[int]:
        """The ids that the model is asked with: as many shots as leave room for an answer; [] if unrenderable."""
        from tuneforge.training.text.render import RenderError

        try:
            return self._shortened(row, min(max_tokens, (self.context or max_tokens) // 4))
        except RenderError as error:
            self.trouble.unrendered[row_key(row)] = str(error)
            return []

    def _shortened(self, row: Row, room: int, column: str = "completion") -> list[int]:
        """The prompt with as many shots as leave `room` tokens, the last ones kept."""
        from tuneforge.training.text.render import prompt_ids

        columns, shots = self.asking.columns(row), self.asking.shots(row)
        for dropped in range(len(shots) + 1):
            ids = prompt_ids(columns, self.tokenizer, shots[dropped:], column)
            if self.context is None or len(ids) + room <= self.context:
                break
        if dropped:
            self.trouble.fewer_shots.add(row_key(row))
        return ids

    def describe(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What belongs to the variant: shots, template, and the first prompt as text and token ids."""
        first = self.prompt(rows[0], 1) if rows and split(rows[0].columns) else []
        template = str(getattr(self.tokenizer, "chat_template", None) or "")
        facts = self.asking.facts()
        return {
            **facts,
            "template": hashlib.sha256(template.encode()).hexdigest()[:16] if template else "plain text",
            "prompt": content_hash({**facts, "template": template, "first": first}),
            "first_prompt_ids": first,
            "first_prompt": self.tokenizer.decode(first) if first else "",
        }

    # ---------------------------------------------------------------- generation

    @property
    def stop(self) -> set[int]:
        """Token ids that end an answer."""
        return self.causal.stop

    @cached_property
    def stop_text(self) -> str:
        """Text that ends an answer: the blank line after each shot of a plain prompt, unless shots hold one."""
        shots = self.asking.examples
        plain_prompt = shots and not getattr(self.tokenizer, "chat_template", None)
        return PLAIN_STOP if plain_prompt and not any(PLAIN_STOP in answer_text(s.columns) for s in shots) else ""

    def _generate(self, prompts: Sequence[list[int]], max_tokens: int) -> list[Answer]:
        """One answer per prompt; an empty one with an error where the prompt is none or fills the whole context."""
        room = [min(max_tokens, self.context - len(p)) if self.context else max_tokens for p in prompts]
        refusal = "the prompt cannot be rendered", f"the prompt does not fit the context of {self.context} tokens"
        answers = [Answer("", refusal[bool(p)], "length", len(p)) for p in prompts]
        asks = {i: Ask(prompts[i], tokens) for i, tokens in enumerate(room) if tokens > 0 and prompts[i]}
        found = self.causal.answers(list(asks.values()), self.stop_text, self.trouble)
        for (i, ask), one in zip(asks.items(), found, strict=True):
            text = self._text(one.ids)
            answers[i] = Answer(text, "", one.finish, len(ask.ids), len(one.ids), log_prob=one.log_prob)
        return answers

    def _text(self, ids: Sequence[int]) -> str:
        """The answer's text, up to the text that ends it."""
        text = self.causal.decode(ids)
        return text.split(self.stop_text)[0] if self.stop_text else text

    # ---------------------------------------------------------------- log-probabilities

    def _measure(self, rows: Sequence[Row], column: str) -> list[tuple[float, float, float]]:
        """(nats, tokens, bytes) per row."""
        scored = self._texts(rows) if column == "text" else self._answered(rows, column)
        parts: list[Window] = []
        for i, (row, one) in enumerate(zip(rows, scored, strict=True)):
            if self.context and len(one.ids) > self.context:
                self.trouble.windowed.add(row_key(row))
            parts += [p for p in windows(i, one.ids, one.start, self.context) if p.score < len(p.ids)]
        sums = [one.unseen for one in scored]
        for part, nats in zip(parts, self.causal.log_probs(parts, self.trouble), strict=True):
            sums[part.sequence] += nats
        return [(nats, one.tokens, one.size) for nats, one in zip(sums, scored, strict=True)]

    def _texts(self, rows: Sequence[Row]) -> list[Scored]:
        """The `text` column of each row after BOS or EOS."""
        from tuneforge.training.text.render import RenderError, plain

        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        first = [t for t in (begin, end) if t is not None][:1]
        found = []
        for row, text in zip(rows, plain([row.columns["text"] for row in rows], self.tokenizer), strict=True):
            if isinstance(text, RenderError):
                found.append(self._unrendered(row, text))
                continue
            ids = text.ids[1:] if text.ids[:1] == [begin] else text.ids
            ids = ids[:-1] if ids[-1:] == [end] else ids
            # Without BOS and EOS the first token is charged as one of the whole vocabulary.
            unseen = 0.0 if first or not ids else -math.log(self.causal.vocabulary)
            size = len(row.columns["text"].encode("utf-8", "surrogatepass"))
            found.append(Scored([*first, *ids], 1, unseen, len(ids), size))
        return found

    def _answered(self, rows: Sequence[Row], column: str) -> list[Scored]:
        """The answer in `column` of each row after its prompt, without the token that ends it."""
        from tuneforge.training.text.render import RenderError, answers

        found = []
        asked = [self.asking.columns(row) for row in rows]
        for row, whole in zip(rows, answers(asked, self.tokenizer, column), strict=True):
            if isinstance(whole, RenderError):
                found.append(self._unrendered(row, whole))
                continue
            ends = [i for i in range(whole.cut, len(whole.ids)) if whole.ids[i] in self.stop]
            answer = whole.ids[whole.cut : ends[-1] if ends else None]
            # Where a token straddles prompt and answer, the answer begins before the end of the prompt.
            straddling = len(whole.prompt) - whole.cut
            prompt = whole.prompt if self.asking == PLAIN else self._shortened(row, len(answer), column)
            prompt = prompt[: len(prompt) - straddling]
            size = len(answer_text(row.columns, column).encode("utf-8", "surrogatepass"))
            found.append(Scored([*prompt, *answer], len(prompt), 0.0, len(answer), size))
        return found

    def _unrendered(self, row: Row, reason: Exception) -> Scored:
        self.trouble.unrendered[row_key(row)] = str(reason)
        return Scored([0], 1, 0.0, 0, 0)
