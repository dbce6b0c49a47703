"""Rows in which a masked language model has put other words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context
from tuneforge.preparation import meaning
from tuneforge.preparation.augmenting import Augmentation, Text, like

if TYPE_CHECKING:
    from tuneforge.settings import Run

BATCH = 32
LONGEST = 150
"""Characters of a text before and after a hidden word that the model reads."""
MARKS = ("\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}", "\N{LOWER ONE EIGHTH BLOCK}")
"""What stands for the space before a word in vocabularies of byte-level BPE and SentencePiece."""


@dataclass(kw_only=True)
class Contextual(Augmentation):
    """Adds rows in which a masked language model, such as BERT, has put words that fit where others stood.

    One word after the other is hidden; the new one is drawn from the model's likeliest whole words, by their
    probability. Function words, words with a capital or beside a hyphen, numbers, and words of the row's label or
    answer stay. What fits is not what means the same: a model may put `dog` for `cat`. Set `semantic_model` too.
    """

    name: ClassVar[str] = "contextual"

    model: str = ""
    """The masked language model: a folder or a hub name."""
    words: float = 0.1
    """Words replaced, as a share of all words of a text; one at least."""
    top_k: int = 10
    """The likeliest tokens among which the new word is drawn."""

    def check(self, run: Run) -> Iterable[str]:
        """As every augmentation; a model, and fields in range."""
        yield from super().check(run)
        if not self.model:
            yield f"transform.{self.name}.model is empty: name a masked language model (a folder or a hub name)"
        if not 0 < self.words <= 1:
            yield f"transform.{self.name}.words={self.words} must be above 0 and at most 1"
        if self.top_k < 1:
            yield f"transform.{self.name}.top_k={self.top_k} must be 1 or more"

    def change(self, texts: Sequence[Text], context: Context) -> Iterator[str]:
        """Each text with some of its words replaced, from its end to its beginning."""
        made = [text.text for text in texts]
        mask = self._loaded(context)[1].mask_token
        open_words = [[] if mask in text.text else self._chosen(text) for text in texts]
        while any(open_words):
            places = [i for i, left in enumerate(open_words) if left]
            hidden = [open_words[i].pop() for i in places]
            for at in range(0, len(places), BATCH):
                some = list(zip(places[at : at + BATCH], hidden[at : at + BATCH], strict=True))
                found = self._likely([_around(made[i], span) for i, span in some], context)
                for (i, (start, end)), words in zip(some, found, strict=True):
                    new = self._drawn(words, made[i][start:end], texts[i])
                    made[i] = made[i][:start] + new + made[i][end:]
        yield from made

    def _chosen(self, text: Text) -> list[tuple[int, int]]:
        """Where the words stand that are replaced, in order."""
        every = list(meaning.WORD.finditer(text.text))
        spans = list(meaning.free(text.text))
        fit = [m for m in every if _replaceable(m, text) and any(a <= m.start() < b for a, b in spans)]
        count = min(len(fit), max(1, round(self.words * len(every))))
        return sorted(m.span() for m in text.draw.sample(fit, count))

    def _likely(self, around: Sequence[tuple[str, str]], context: Context) -> list[list[tuple[str, float]]]:
        """(word, probability) of the likeliest whole words between each two parts of a text."""
        import torch

        model, tokenizer = self._loaded(context)
        asked = [f"{before}{tokenizer.mask_token}{after}" for before, after in around]
        batch = tokenizer(asked, return_tensors="pt", padding=True).to(model.device)
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
        masked = (batch["input_ids"] == tokenizer.mask_token_id).int().argmax(1)
        best = logits[torch.arange(len(asked)), masked].softmax(1).topk(min(self.top_k, logits.shape[-1]))
        mark = next((m for m in MARKS if any(t.startswith(m) for t in tokenizer.tokenize("one word"))), "")
        return [
            [
                (word, p)
                for i, p in zip(ids, shares, strict=True)
                if (word := _whole(tokenizer.convert_ids_to_tokens(i), mark))
            ]
            for ids, shares in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _loaded(self, context: Context) -> Any:
        from tuneforge.errors import ConfigError

        loaded = context.frozen(self.model, "masked_lm")
        if loaded.tokenizer.mask_token_id is None:
            raise ConfigError(f"transform.{self.name}.model={self.model}: its tokenizer has no mask token")
        return loaded

    def _drawn(self, words: Sequence[tuple[str, float]], old: str, text: Text) -> str:
        """One of the words by its probability; the old one where none is another open-class word."""
        fit = [(w, p) for w, p in words if w != old.lower() and w not in meaning.FUNCTION | text.kept]
        return like(old, text.draw.choices(*zip(*fit, strict=True))[0]) if fit else old


def _replaceable(match: re.Match[str], text: Text) -> bool:
    word, beside = match[0], text.text[match.start() - 1 : match.start()] + text.text[match.end() :][:1]
    common = word.islower() and len(word) > 2 and word not in meaning.FUNCTION | meaning.AMOUNTS | text.kept
    return common and "'" not in word and not re.search(r"[-_/@#&\d]", beside)


def _around(text: str, span: tuple[int, int]) -> tuple[str, str]:
    """What the model reads before and after a word."""
    return text[max(0, span[0] - LONGEST) : span[0]], text[span[1] : span[1] + LONGEST]


def _whole(piece: str, mark: str) -> str:
    """The word in lower case that a token is; empty for a part of a word, a number or a sign.

    `mark` begins a token that follows a space, in vocabularies that have one; in others `##` begins one that does not.
    """
    if piece.startswith("##") or not piece.startswith(mark):
        return ""
    word = piece.removeprefix(mark)
    return word if word.isalpha() and word.islower() and len(word) > 1 else ""
