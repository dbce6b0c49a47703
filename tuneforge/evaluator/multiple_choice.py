"""Whether the right one of several choices is the likeliest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.conversation import offers, references, right_choice, split
from tuneforge.errors import ConfigError
from tuneforge.rows import UNIT, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run

SECONDS = 0.5
"""How long a pattern may search one prompt."""


@dataclass(kw_only=True)
class MultipleChoice(Evaluator):
    """Share of rows whose right choice is the likeliest answer to the prompt; nothing is generated.

    `accuracy` compares the log-probabilities of the choices, `accuracy_normalised` those per UTF-8 byte, so that short
    choices have no advantage (acc and acc_norm of lm-evaluation-harness, which divides by characters). Of equally
    likely choices the first is taken, as there. `probability` is the right choice's share among the choices, `margin`
    how many nats it is likelier than the best of the others. The prompt is what the row says: choices that the model is
    to read must stand in it.
    """

    name: ClassVar[str] = "multiple_choice"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy"),
        Metric("accuracy_normalised"),
        Metric("probability", bounds=UNIT),
        Metric("margin", share=False),
    )
    record: ClassVar[str] = "completion"

    pattern: str | None = None
    """A regular expression that finds each choice in the prompt, its first group if it has one; null: `choices`."""

    def check(self, run: Run) -> Iterable[str]:
        """A pattern that is one."""
        import regex

        try:
            regex.compile(self.pattern or "")
        except regex.error as error:
            yield f"pattern={self.pattern}: no regular expression: {error}"

    def serves(self, columns: Mapping[str, Any]) -> bool:
        """Rows with an answer, and with choices or a prompt to find them in."""
        return offers(columns, self.record) and (self.pattern is not None or bool(columns.get("choices")))

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`accuracy`, `accuracy_normalised`, `probability`, `margin`, and the `confidence` in the choice taken.

        ConfigError for rows whose right choice cannot be told, with the first of them.
        """
        choices = [self._choices(row) for row in rows]
        right = [_right(row, texts) for row, texts in zip(rows, choices, strict=True)]
        refused = [(row, one) for row, one in zip(rows, right, strict=True) if isinstance(one, str)]
        if refused:
            raise ConfigError(
                f"evaluator.multiple_choice: of {len(refused):,} of {len(rows):,} rows the right choice cannot be told,"
                f" as {refused[0][0].place}: {refused[0][1]}"
            )
        from tuneforge.evaluation.choices import answered, likely
        from tuneforge.evaluation.recorder import remember

        asked = [answered(row, text) for row, texts in zip(rows, choices, strict=True) for text in texts]
        scores, found, taken, begin = lm.log_probs(asked, "completion"), [], [], 0
        for texts, place in zip(choices, right, strict=True):
            found.append(_scored(scores[begin : begin + len(texts)], int(place)))
            taken.append(texts[int(likely(scores[begin : begin + len(texts)]).argmax())])
            begin += len(texts)
        remember(lm, rows, taken)
        return found

    def _choices(self, row: Row) -> list[str]:
        if self.pattern is None:
            return [str(choice) for choice in row.columns["choices"]]
        import regex

        prompt, _ = split(row.columns) or ([], [])
        text = "\n".join(str(message.get("content") or "") for message in prompt if message["role"] == "user")
        found = regex.finditer(self.pattern, text, flags=regex.MULTILINE, timeout=SECONDS)
        try:
            return list(dict.fromkeys(one[1] if one.re.groups else one[0] for one in found))
        except TimeoutError as error:
            raise ConfigError(
                f"evaluator.multiple_choice.pattern={self.pattern}: searched {row.place} for {SECONDS} s in vain;"
                " simplify it"
            ) from error


def _right(row: Row, choices: Sequence[str]) -> int | str:
    """The place of the right choice, or why it cannot be told."""
    if len(choices) < 2:
        return f"it has {len(choices)} of at least 2 choices"
    if not all(choice.strip() for choice in choices):
        return f"choice {[bool(choice.strip()) for choice in choices].index(False)} is empty"
    place = right_choice({**row.columns, "choices": choices})
    if place is None:
        shown = ", ".join(choice[:30] for choice in choices[:5])
        return f"the answer {references(row.columns)[0][:60]!r} is none of {shown}{', …' * (len(choices) > 5)}"
    return place


def _scored(scores: ndarray, right: int) -> Stats:
    """From (choices, 3): nats, tokens and bytes. A choice that could not be scored is the least likely one."""
    import numpy as np

    from tuneforge.evaluation.choices import likely

    nats = likely(scores)
    if not np.isfinite(nats[right]):
        return {"accuracy": 0.0, "accuracy_normalised": 0.0, "probability": 0.0, "margin": np.nan, "confidence": np.nan}
    shares = np.exp(nats - nats.max())
    shares /= shares.sum()
    return {
        "accuracy": float(nats.argmax() == right),
        "accuracy_normalised": float((nats / scores[:, 2]).argmax() == right),
        "probability": float(shares[right]),
        "margin": float(nats[right] - np.delete(nats, right).max()),
        "confidence": float(shares.max()),
    }
