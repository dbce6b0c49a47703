"""Whether answers follow instructions that a program can verify."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import UNIT, Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.evaluation.instructions.asked import Instruction


@dataclass(kw_only=True)
class InstructionFollowing(Evaluator):
    """Shares of prompts and of instructions that are followed, as IFEval counts them (arXiv:2311.07911).

    Rows keep the columns `instruction_id_list` (names of the 25 kinds, `punctuation:no_comma`) and `kwargs` (a list of
    objects, one for each name). A prompt counts where all of its instructions are followed. The loose metrics also look
    at the answer without its first line, its last line, both, and its asterisks. Words, sentences and languages are
    told apart by rules and by py3langid (`tuneforge[language]`, needed where rows ask for a language), not by the
    libraries of the paper: figures differ from published ones by what these tell apart otherwise. An answer with an
    error follows nothing.
    """

    name: ClassVar[str] = "instruction_following"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("prompt_strict"),
        Metric("instruction_strict", bounds=UNIT),
        Metric("prompt_loose"),
        Metric("instruction_loose", bounds=UNIT),
    )
    record: ClassVar[str] = "prompt"
    max_tokens: ClassVar[int] = 1280

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """As `judge`; what rows ask is understood before anything is generated."""
        self._asked(rows)
        return self.judge(rows, lm.generate(rows, self.max_tokens), context)

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """Per row whether it is followed, and how many of its `instructions`. ConfigError for one that is unknown."""
        return [_stats(one, answer) for one, answer in zip(self._asked(rows), answers, strict=True)]

    def score(self, row: Row, answer: Answer) -> Stats:
        """As `judge`, of one row."""
        return _stats(self._asked([row])[0], answer)

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Prompts are averaged over rows, instructions over instructions."""
        shares = {f"prompt_{how}": float(stats[f"prompt_{how}"].mean()) for how in ("strict", "loose")}
        total = stats["instructions"].sum()
        return shares | {
            f"instruction_{how}": float(stats[f"followed_{how}"].sum() / total) for how in ("strict", "loose")
        }

    def _asked(self, rows: Sequence[Row]) -> list[list[Instruction]]:
        from tuneforge.evaluation.instructions.asked import instructions
        from tuneforge.evaluation.instructions.checks import SPOKEN
        from tuneforge.evaluation.kept import kept
        from tuneforge.extras import require

        ids, kwargs = (kept(rows, field, self.name) for field in ("instruction_id_list", "kwargs"))
        spoken = sum(not SPOKEN.isdisjoint(map(str, one)) for one in ids)
        if spoken:
            require("py3langid", "language", f"evaluator={self.name}: to tell the language of {spoken:,} rows' answers")
        return [instructions(row, one, given) for row, one, given in zip(rows, ids, kwargs, strict=True)]


def _stats(asked: Sequence[Instruction], answer: Answer) -> Stats:
    text = "" if answer.error else answer.text
    found = {"instructions": float(len(asked))}
    for how, followed in (
        ("strict", [one.strict(text) for one in asked]),
        ("loose", [one.loose(text) for one in asked]),
    ):
        found |= {f"prompt_{how}": float(all(followed)), f"followed_{how}": float(sum(followed))}
    return found
