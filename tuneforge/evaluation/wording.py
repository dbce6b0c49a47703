"""The verdict in words: what the decision rests on, and what would settle more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuneforge.evaluation.figures import EARLIER, digits_for, figure, p_value, rows_rounded, with_interval
from tuneforge.evaluation.proved import Decision, MetricRow, proved, turned
from tuneforge.evaluation.rows_needed import rows_needed

if TYPE_CHECKING:
    from tuneforge.evaluation.verdict import Judged
    from tuneforge.settings import Run


def sentence(run: Run, row: MetricRow, prompt: str, collapsed: bool) -> str:
    """`exact_match +.41 [+.36,+.46] over the best prompt (4-shot)`."""
    against = f"the {'' if row['versus'] == 'base' else 'baseline '}{row['versus']}"
    if row["versus"] == EARLIER:
        against = f"the earlier run {run.gate.against}"
    if row["versus"] == "prompted":
        against = prompt or "the best prompt"
    if collapsed:
        return f"{row['metric']} of the tuned model is not a finite number"
    over = "over" if row["higher_is_better"] else "against"
    text = f"{row['metric']} {with_interval(row['value'], row['low'], row['high'], sign=True)} {over} {against}"
    if not row["higher_is_better"]:
        text += " (lower is better)"
    if row["low"] is None:
        text += f"; {row['n']} row gives no interval" if row["n"] == 1 else "; there is no interval"
    if run.gate.min_gain:
        text += f", where more than {figure(run.gate.min_gain, sign=True)} is asked"
    return text


def of_base(run: Run, row: MetricRow, plain: Sequence[MetricRow]) -> list[str]:
    """`-.08 [-.15,-.01] over the base`, where it proves less than the gain over the prompt or rule, or is lower."""
    rank, least, words = list(Decision).index, run.gate.min_gain, []
    for one in plain:
        gain, over = turned(one)[0], turned(row)[0]
        if gain is None:
            words += ["no difference from the base is known"] if over is not None else []
            continue
        less = over is None or gain < over
        if rank(proved(one, least)) > rank(proved(row, least)) or (proved(one, least) is not Decision.better and less):
            side = "over" if one["higher_is_better"] else "against"
            words.append(f"{with_interval(one['value'], one['low'], one['high'], sign=True)} {side} the base")
    return words


def of_budgets(budgets: Sequence[Judged]) -> list[str]:
    """`1 budget not settled`, `general budget -.05 broken on test: -.30 [-.35,-.25]`."""
    words = [text for b, text in zip(budgets, each_budget(budgets), strict=True) if b.state == "broken"]
    unsettled = sum(b.state == "not settled" for b in budgets)
    return [*words, *([f"{unsettled} budget{'s' * (unsettled > 1)} not settled"] if unsettled else [])]


def each_budget(budgets: Sequence[Judged]) -> list[str]:
    """`general budget -.05 broken on test: exact_match -.30 [-.35,-.25]`, for each."""
    return [
        f"{b.role} budget -{figure(b.budget)} {b.state} on {b.set}: "
        f"{b.metric} {with_interval(b.value, b.low, b.high, sign=True)}"
        for b in budgets
    ]


def budget_hints(budgets: Sequence[Judged], rows: Sequence[MetricRow]) -> list[str]:
    """Budgets that cannot be broken; how many rows would settle each open one, were the difference to stay."""
    plain = {(r["set"], r["evaluator"], r["metric"]): r for r in rows if r["model"] == "base" and not r["versus"]}
    least = [(b, plain.get((b.set, b.evaluator, b.metric))) for b in budgets]
    return [
        f"the {b.role} budget says nothing of {b.set}: the base's {b.metric} there is"
        f" {figure(base['value'], digits_for(base['low'], base['high']))}, so that no more than"
        f" {figure(b.budget)} can be lost"
        for b, base in least
        if base is not None and _nothing_to_lose(base, b.budget)
    ] + [
        f"{rows_rounded(b.rows_needed)} {b.role} rows would settle {_small(b.value)} on {b.set}"
        for b in budgets
        if b.rows_needed
    ]


def _nothing_to_lose(base: MetricRow, budget: float) -> bool:
    """Whether the base has no more than the budget, of a metric that does not fall below 0."""
    if not base["higher_is_better"] or base["value"] is None or base["low"] is None:
        return False
    return bool(base["low"] >= 0 and base["value"] <= budget)


def hints(run: Run, row: MetricRow, plain: Sequence[MetricRow]) -> list[str]:
    """How likely the deciding difference is by chance; where it, or that from the base, is not settled, what would."""
    rows = (row, *plain)
    if any(proved(one, run.gate.min_gain) is Decision.worse for one in rows):
        return _chance(row)
    return [*_chance(row), *next((words for one in rows if (words := _unsettled(run, one))), [])]


def _chance(row: MetricRow) -> list[str]:
    """`exact_match against base: p .0004 by permutation, p .002 with all target differences together (Holm)`."""
    if row.get("p") is None:
        return []
    together = f", {p_value(row['p_adjusted'])} with all target differences together (Holm)"
    return [f"{row['metric']} against {row['versus']}: {p_value(row['p'])} by permutation{together}"]


def _unsettled(run: Run, row: MetricRow) -> list[str]:
    gain, low, high = turned(row)
    if gain is None or low is None or high is None or low > run.gate.min_gain or high < 0:
        return []
    words = []
    if row.get("detectable"):
        able = figure(row["detectable"], digits_for(0, row["detectable"]))
        words.append(f"{row['n']:,} target rows can show differences of {able} (80 % power)")
    # What lies between 0 and the gain that is asked stays open however many rows there are.
    bound = run.gate.min_gain if gain > run.gate.min_gain else 0.0 if gain < 0 else None
    needed = None if bound is None else rows_needed(gain, low, high, bound, row["n"])
    if needed:
        words.append(f"{rows_rounded(needed)} target rows would settle {_small(row['value'])}")
    return words


def _small(value: float | None) -> str:
    """A difference with as many decimals as it takes to tell it from 0."""
    return figure(value, digits_for(0, abs(value or 0)), sign=True)
