"""Give the model tokens for the words of the domain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.conversation import passages
from tuneforge.rows import HeldOut, Kept, Loaded, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class ExtendVocabulary(Transform):
    """Tokens for frequent words that the tokenizer cuts into many pieces; no row changes, the model does.

    The tokenizer's byte-pair encoding is continued (Sennrich, Haddow and Birch 2016, arXiv:1508.07909) on those words
    of the training rows that occur often and take many tokens. New tokens stand at the end of the vocabulary; the
    embedding of one, and its row of an output that is not tied, is the mean of those of its pieces. Texts without a new
    token keep their tokens. It serves adapters that save whole models: full, freeze, gradual_unfreezing. The base that
    the tuned model is compared with is the model as found, with its own tokenizer.
    """

    name: ClassVar[str] = "extend_vocabulary"

    budget: int = 500
    """Most tokens to add, parts of words included."""
    min_count: int = 10
    """Least occurrences in the training rows of a word, and of a pair of pieces that is merged."""
    min_pieces: int = 3
    """Least tokens that the tokenizer makes of a word (its fertility on that word)."""

    def check(self, run: Run) -> Iterable[str]:
        """Numbers that mean something, an adapter that saves embeddings, an objective without a reference."""
        for field, least in (("budget", 1), ("min_count", 1), ("min_pieces", 2)):
            if getattr(self, field) < least:
                yield f"{field}={getattr(self, field)} must be at least {least}"
        if run.adapter.kind or run.adapter.quantization() is not None:
            yield (
                f"adapter={run.adapter.name} neither trains nor saves embeddings; new tokens need adapter=full, freeze"
                " or gradual_unfreezing"
            )
        strategy = run.strategy
        if strategy.head != "causal_lm" or strategy.reference or hasattr(strategy, "teacher"):
            yield (
                f"strategy={strategy.name} holds the model against another, which knows no new tokens, or needs another"
                " head; it serves clm, sft and instruction"
            )
        elif not {"text", "messages", "completion"} & {*strategy.record.split(" or ")}:
            yield f"strategy={strategy.name} trains on {strategy.record}; it serves clm, sft and instruction"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """The rows as they are."""
        yield from rows

    def adapt(self, loaded: Loaded, rows: Sequence[Row], held_out: Sequence[HeldOut], context: Context) -> Loaded:
        """A copy of the model with more tokens; says the fertility before and after, on training and held-out rows."""
        from tuneforge.training import vocabulary

        old = loaded.tokenizer
        texts = list(_texts(rows))
        often = vocabulary.words(texts, old)
        terms = {pieces: n for pieces, n in often.items() if n >= self.min_count and len(pieces) >= self.min_pieces}
        added = vocabulary.merges(terms, self.budget, self.min_count, frozenset(old.get_vocab()))
        if not added:
            context.note(
                f"extend_vocabulary: no word occurs {self.min_count} times and takes {self.min_pieces} tokens; the"
                " model stays as it is"
            )
            return loaded
        new = vocabulary.with_merges(old, added)
        whole = [pieces for pieces in terms if "".join(pieces) in new.get_vocab()]
        sets = {"train": texts} | {f"{h.split}.{h.name}": list(_texts(h.rows)) for h in held_out}
        changes = {name: [vocabulary.fertility(t, one) for one in (old, new)] for name, t in sets.items()}
        said = ", ".join(f"{name} {before:.2f} -> {after:.2f}" for name, (before, after) in changes.items())
        numbers = {f"{name} {when}": x for name, both in changes.items() for when, x in zip(WHEN, both, strict=True)}
        context.note(
            f"extend_vocabulary: {len(added):,} new tokens, {len(whole):,} of {len(terms):,} frequent long words are"
            f" one token now; tokens per word {said}",
            tokens=len(added), words=len(whole), **numbers,
        )  # fmt: skip
        return vocabulary.extended(loaded, new)


WHEN = ("before", "after")


def _texts(rows: Iterable[Row]) -> Iterator[str]:
    return (passage.text for row in rows for passage in passages(row.columns))
