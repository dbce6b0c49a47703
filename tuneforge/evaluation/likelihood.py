"""What a causal language model finds likelier where a new head is to learn it: names of classes, answers A and B."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneforge.components import Context
from tuneforge.context import RunContext
from tuneforge.conversation import answer_text, as_messages
from tuneforge.errors import ConfigError
from tuneforge.evaluation.decoding import forward_options
from tuneforge.evaluation.lm import HFLM, row_key
from tuneforge.evaluation.prompt import PLAIN
from tuneforge.evaluation.unable import Unable
from tuneforge.rows import Loaded, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run

CACHED = 16384
"""Tokens of prompts, as often as options are read after them at once."""
WORD = re.compile(r"[^\W\d_]{2,}")


class Quiet(RunContext):
    """A context that says nothing, for what has been said, or will be."""

    def note(self, text: str, **numbers: float) -> None:
        """Nothing."""


def causal(run: Run, loaded: Loaded, context: Context) -> HFLM:
    """The run's model, as found, with its language model's head. ConfigError with the reason where it has none."""
    found = run.model.load("causal_lm", Quiet(run, context.folder, context.cache))
    if found.model.device != loaded.model.device:
        found.model.to(loaded.model.device)
    if _sees_ahead(found.model):
        raise ConfigError("its tokens see those after them, so it is no causal language model")
    if not forward_options(found.model, past_key_values=None):
        raise ConfigError(f"{type(found.model).__name__} has no key-value cache")
    return HFLM("causal", found.model, found.tokenizer, cache=context.cache)


def _sees_ahead(model: Any) -> bool:
    """Whether what is said of the first token depends on the last one."""
    import torch

    from tuneforge.training.mode import evaluating

    with evaluating(model), torch.no_grad():
        ids = torch.tensor([[5, 6, 7], [5, 6, 8]], device=model.device)
        first = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, 0]
    return bool((first[0] - first[1]).abs().max() > 1e-4)


class LabelLikelihood(Unable):
    """Each class by the likelihood of its name after the text, in nats per token, as shares over the classes.

    A plain prompt, without examples. A text that does not fit the context is given to all classes alike.
    """

    def __init__(self, lm: HFLM, labels: Sequence[str], context: Context) -> None:
        super().__init__("label_likelihood")
        self.lm, self.labels, self.context = lm, list(labels), context
        self.chatted = bool(getattr(lm.tokenizer, "chat_template", None))

    def predict(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """(n, labels) shares that add up to 1."""
        names = [spoken(label) for label in self.labels]
        names = names if self.chatted else [f" {name}" for name in names]
        asked = [(self._prompt(row), names) for row in rows]
        scores = np.stack(per_token(self.lm, asked, self, "Likelihood of each class"))
        _say_unfit(self, int(np.isnan(scores[:, 0]).sum()), "texts", "no class is likelier than another")
        shares = np.exp(np.nan_to_num(scores) - np.nan_to_num(scores).max(1, keepdims=True))
        found: NDArray[np.float64] = shares / shares.sum(1, keepdims=True)
        return found

    def _prompt(self, row: Row) -> str:
        asked = "\n\nTo which category does the text belong? Answer with its name." if self.chatted else "\nCategory:"
        return f"Text: {row.columns['text']}{asked}"

    def describe(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The first prompt and its hash."""
        return _asked(self.lm, self._prompt(rows[0])) if rows else {}


class PairPrompt(Unable):
    """Which of two answers is better, asked of a language model in both orders: log p("A") - log p("B").

    The mean over the orders, so that a liking for one place is taken out; half of it, with either sign, is what each
    answer gets. A pair that does not fit the context is a tie.
    """

    def __init__(self, lm: HFLM, context: Context) -> None:
        super().__init__("ab_prompt")
        self.lm, self.context = lm, context
        self.chatted = bool(getattr(lm.tokenizer, "chat_template", None))
        self._margins: dict[str, float] = {}

    def reward(self, rows: Sequence[Row], column: str) -> NDArray[np.float64]:
        """(n,) nats by which an answer is preferred to the middle of both."""
        missing = {row_key(row): row for row in rows if row_key(row) not in self._margins}
        if missing:
            self._margins.update(zip(missing, self._compared(missing.values()), strict=True))
            unfit = sum(np.isnan(self._margins[key]) for key in missing)
            _say_unfit(self, int(unfit), "pairs", "they count as ties")
        margins = np.nan_to_num([self._margins[row_key(row)] for row in rows])
        return margins / 2 if column == "chosen" else -margins / 2

    def _compared(self, rows: Iterable[Row]) -> list[float]:
        """Nats for each row's chosen answer, the mean over both orders."""
        letters = ["A", "B"] if self.chatted else [" A", " B"]
        orders = ("chosen", "rejected"), ("rejected", "chosen")
        asked = [(self._prompt(row, *order), letters) for row in rows for order in orders]
        found = per_token(self.lm, asked, self, "Which answer is better")
        pairs = zip(found[::2], found[1::2], strict=True)
        return [float((first[0] - first[1] + second[1] - second[0]) / 2) for first, second in pairs]

    def _prompt(self, row: Row, a: str, b: str) -> str:
        turns = as_messages(row.columns["prompt"], "user")
        said = [str(turn.get("content") or "") for turn in turns]
        talk = said[0] if len(said) == 1 else "\n".join(f"{t['role']}: {s}" for t, s in zip(turns, said, strict=True))
        answers = f"Answer A:\n{answer_text(row.columns, a)}\n\nAnswer B:\n{answer_text(row.columns, b)}"
        asked = "Which answer is better? Say A or B." if self.chatted else "The better answer is"
        return f"{talk}\n\n{answers}\n\n{asked}"

    def describe(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What it counts, the first prompt and its hash."""
        return {"unit": "nats"} | (_asked(self.lm, self._prompt(rows[0], "chosen", "rejected")) if rows else {})


def _asked(lm: HFLM, prompt: str) -> dict[str, Any]:
    """What belongs to the variant: the first prompt as text and token ids, and the hash of both."""
    asked = lm.asked(lm.variant, PLAIN).describe([Row(columns={"prompt": prompt, "completion": ""})])
    return {key: asked[key] for key in ("template", "prompt", "first_prompt_ids", "first_prompt")}


def spoken(label: str) -> str:
    """`card_arrival` as people write it."""
    return " ".join(re.split(r"[_\s]+", label)).strip()


def wordless(labels: Sequence[str]) -> list[str]:
    """The labels that are no words, whose likelihood says nothing."""
    return [label for label in labels if not WORD.search(label)]


class Read(NamedTuple):
    """Ids of a prompt, and of each option after it."""

    prompt: list[int]
    options: list[list[int]]


def per_token(
    lm: HFLM, asked: Sequence[tuple[str, Sequence[str]]], asking: LabelLikelihood | PairPrompt, text: str
) -> list[NDArray[np.float64]]:
    """(options,) nats per token of each option after each prompt; all NaN where they do not fit the context.

    A prompt is read once: the options are read after copies of its key-value cache. The token that ends an answer
    is not counted. What all options share with the prompt, as their tokens go, counts for none. Kept prompt by prompt.
    """
    import torch

    from tuneforge.training.mode import evaluating

    read = [_read_as(lm, prompt, options) for prompt, options in asked]
    fit = [one for one in read if one is not None]
    memory = lm.causal.memory
    names, unknown = memory.unknown("likelihoods of options", fit, asking.trouble)
    with evaluating(lm.model), torch.no_grad():
        for name in asking.context.progress(list(unknown), text):
            memory.keep({name: _after(lm.model, *fit[unknown[name]])}, asking.trouble)
    known = iter(names)
    return [
        np.full(len(options), np.nan) if one is None else memory[next(known)] / _sizes(one)
        for one, (_, options) in zip(read, asked, strict=True)
    ]


def _read_as(lm: HFLM, prompt: str, options: Sequence[str]) -> Read | None:
    """As the model reads them; None where they do not fit the context, or cannot be rendered."""
    from tuneforge.training.text.render import RenderError, answers

    found = answers([{"prompt": prompt, "completion": option} for option in options], lm.tokenizer, "completion")
    whole = [one for one in found if not isinstance(one, RenderError)]
    if len(whole) < len(found):
        return None
    shared = max(min(one.cut for one in whole), 1)
    ids = [list(_unended(one.ids, shared, lm.stop)) for one in whole]
    if lm.context and max(map(len, ids)) > lm.context:
        return None
    return Read(ids[0][:shared], [one[shared:] for one in ids])


def _sizes(one: Read) -> NDArray[np.float64]:
    """(options,) tokens of each option, one at least."""
    return np.array([max(len(option), 1) for option in one.options], dtype=np.float64)


def _unended(ids: Sequence[int], start: int, stop: set[int]) -> Sequence[int]:
    ends = [i for i in range(start, len(ids)) if ids[i] in stop]
    return ids[: ends[-1]] if ends else ids


def _after(model: Any, prompt: Sequence[int], options: Sequence[Sequence[int]]) -> list[float]:
    """Summed log-probability (nats) of each option after the prompt."""
    import torch

    out = model(input_ids=torch.tensor([prompt], device=model.device), use_cache=True)
    first = out.logits[0, -1].float().log_softmax(-1)
    found: list[float] = []
    size = max(CACHED // len(prompt), 1)
    for start in range(0, len(options), size):
        some = options[start : start + size]
        last = start + size >= len(options)
        cache = out.past_key_values if last else copy.deepcopy(out.past_key_values)
        cache.batch_repeat_interleave(len(some))
        found += _read(model, len(prompt), some, cache, first)
    return found


def _read(model: Any, before: int, options: Sequence[Sequence[int]], cache: Any, first: Any) -> list[float]:
    """As `_after`, with a cache as wide as the options; `first` (vocabulary,) is what may come after the prompt."""
    import torch

    width, device = max(max(map(len, options)), 1), model.device
    ids = torch.tensor([[*one, *[0] * (width - len(one))] for one in options], device=device)
    lengths = torch.tensor([len(one) for one in options], device=device)
    mask = torch.arange(width, device=device) < lengths[:, None]
    whole = torch.cat([mask.new_ones(len(options), before), mask], 1).long()
    places = torch.arange(before, before + width, device=device).expand(len(options), -1)
    known = forward_options(model, position_ids=places)
    logits = model(input_ids=ids, attention_mask=whole, past_key_values=cache, use_cache=True, **known).logits.float()
    rest = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    named = torch.cat([first[ids[:, :1]], rest], 1).double().masked_fill(~mask, 0.0)
    values: list[float] = named.sum(1).tolist()
    return values


def _say_unfit(lm: LabelLikelihood | PairPrompt, count: int, what: str, so: str) -> None:
    if count:
        lm.context.note(f"{lm.variant}: {count:,} {what} do not fit the context, or cannot be rendered; {so}")
