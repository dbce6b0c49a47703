"""Did it pay: better, not proven or worse; and metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.errors import ConfigError, nearest
from tuneforge.evaluation import gate_rules
from tuneforge.evaluation.figures import EARLIER, beaten
from tuneforge.evaluation.gate_rules import Ruled
from tuneforge.evaluation.proved import Decision, MetricRow, proved, turned
from tuneforge.evaluation.rows_needed import rows_needed
from tuneforge.evaluation.tidy import POOLED, rows
from tuneforge.evaluation.wording import budget_hints, each_budget, hints, of_base, of_budgets, sentence
from tuneforge.files import write_json

if TYPE_CHECKING:
    from tuneforge.evaluation.measure import Measured
    from tuneforge.settings import Run

__all__ = ["Decision", "Verdict", "decide", "rows", "write_metrics"]


@dataclass(frozen=True)
class Judged:
    """One budget: the tuned model against the base on one general or safety set."""

    role: str
    set: str
    evaluator: str
    metric: str
    budget: float
    state: str
    """kept, not settled, or broken."""
    value: float | None
    low: float | None
    high: float | None
    n: int
    rows_needed: float | None = None
    """How many rows would settle it, were the difference to stay as it is."""


@dataclass(frozen=True)
class Verdict:
    """The decision with its reason, the difference it rests on, the budgets, and what would settle more."""

    decision: Decision
    reason: str
    primary: dict[str, Any] | None = None
    budgets: list[Judged] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    rules: list[Ruled] = field(default_factory=list)
    """What became of gate.require and gate.allow."""

    def passes(self, level: str) -> bool:
        """Whether a gate of that level (off, default, strict, custom) lets it through."""
        return level == "off" or not self.objections(level)

    def objections(self, level: str) -> list[str]:
        """Why a gate of that level does not let it through, in a line each."""
        failing = [rule for rule in self.rules if rule.fails]
        if level == "custom":
            budgets = (w for b, w in zip(self.budgets, each_budget(self.budgets), strict=True) if b.state == "broken")
            return [*gate_rules.sentences(failing), *budgets]
        passed = self.decision is Decision.better if level == "strict" else self.decision is not Decision.worse
        if passed:
            return gate_rules.sentences(failing)
        unnamed = [rule for rule in failing if rule.state != "broken"]  # the reason names those that are
        return [f"the verdict is {self.decision}: {self.reason}", *gate_rules.sentences(unnamed)]


def check_opponent(run: Run, measured: Measured) -> None:
    """ConfigError where the gain is to be counted from a variant that there is not."""
    if run.gate.against in ("base", "prompted") and "base" not in measured.variants:
        there = ", ".join(measured.variants)
        raise ConfigError(f"gate.against={run.gate.against}: a new head has no base; there is {there}")


def deciding(run: Run, rows: Sequence[MetricRow]) -> list[MetricRow]:
    """The differences that decide: the primary one, that of each budget, and those whose slices the gate names."""
    tested = [row for row in rows if row["split"] == "test"]
    primary, _ = _primary(run, tested)
    named = gate_rules.sliced(gate_rules.rules_of(run), tested, primary["versus"] if primary else "base")
    return [*([primary] if primary else []), *_budgeted(run, tested), *named]


def decide(run: Run, rows: Sequence[MetricRow], prompt: str = "", slices: Sequence[MetricRow] = ()) -> Verdict:
    """The verdict over the test sets. `prompt` says what prompt the gain is counted from: `the best prompt (4-shot)`.

    Better: the paired lower bound of the gain in the primary metric is above gate.min_gain, over the base as well where
    gate.against names nobody, and no budget or allowed loss is proven broken. Worse: an upper bound is below 0, or one
    of them is proven broken. Else not proven. `slices` are those of metrics.json, for rules that name one.
    """
    tested = [row for row in rows if row["split"] == "test"]
    budgets = _budgets(run, tested)
    primary, missing = _primary(run, tested)
    ruled = gate_rules.judge(gate_rules.rules_of(run), tested, slices, primary["versus"] if primary else "base")
    broken = "broken" in [*(b.state for b in budgets), *(r.state for r in ruled)]
    if primary is None:
        decision = Decision.worse if broken else Decision.not_proven
        reason = "; ".join([missing, *of_budgets(budgets), *gate_rules.words(ruled)])
        return Verdict(decision, reason, None, budgets, budget_hints(budgets, tested), ruled)
    plain = _over_base(run, tested, primary)
    found = {proved(row, run.gate.min_gain) for row in (primary, *plain)}
    collapsed = primary["value"] is None and _base_is_finite(tested, primary)
    if broken or collapsed or Decision.worse in found:
        decision = Decision.worse
    else:
        decision = Decision.better if found == {Decision.better} else Decision.not_proven
    words = [sentence(run, primary, prompt, collapsed), *of_base(run, primary, plain)]
    reason = "; ".join([*words, *of_budgets(budgets), *gate_rules.words(ruled)])
    more = [*hints(run, primary, plain), *budget_hints(budgets, tested)]
    return Verdict(decision, reason, dict(primary), budgets, more, ruled)


def _primary(run: Run, rows: Sequence[MetricRow]) -> tuple[MetricRow | None, str]:
    """The difference that decides, or why there is none."""
    targets = [row for row in rows if row["role"] == "target"]
    if not targets:
        return None, "no target test set was measured"
    differences = [row for row in targets if row["model"] == "tuned" and row["versus"]]
    if not differences:
        return None, "the tuned model was not compared with the base"
    if run.gate.metric:
        named = [
            row for row in differences if run.gate.metric in (row["metric"], f"{row['evaluator']}.{row['metric']}")
        ]
        if not named:
            known = sorted({f"{row['evaluator']}.{row['metric']}" for row in differences})
            near = nearest(run.gate.metric, known)
            raise ConfigError(
                f"gate.metric={run.gate.metric}: not measured on a target set ({', '.join(known)}).{near}"
            )
        differences = named
    first = differences[0]
    same = [row for row in differences if (row["evaluator"], row["metric"]) == (first["evaluator"], first["metric"])]
    hardest = _opponent(run, same)
    against = [row for row in same if row["versus"] == hardest]
    return next((row for row in against if row["set"] == POOLED), against[0]), ""


def _opponent(run: Run, rows: Sequence[MetricRow]) -> str:
    """What the gain is counted from: as `gate.against` says, else the best prompt, a rule, or the base."""
    there = {row["versus"] for row in rows}
    wanted = EARLIER if run.gate.earlier_run else run.gate.against
    if wanted == "prompted" and wanted not in there:
        wanted = "base"  # the plain prompt was the best
    if wanted is not None and wanted not in there:
        measured = ", ".join(sorted(there))
        raise ConfigError(f"gate.against={run.gate.against}: not measured on the target sets (there is {measured})")
    return wanted or beaten(there - {EARLIER})


def _over_base(run: Run, rows: Sequence[MetricRow], primary: MetricRow) -> list[MetricRow]:
    """The same difference from the base, where the gain is counted from another and gate.against names nobody.

    What was chosen on validation rows may do worse on the test rows than the model as found, which then has to be
    beaten: who beats both is called better by chance no more often than who beats one.
    """
    if run.gate.against is not None or primary["versus"] == "base":
        return []
    keys = ("model", "evaluator", "metric", "set")
    return [row for row in rows if row["versus"] == "base" and all(row[key] == primary[key] for key in keys)]


def _names(row: MetricRow) -> tuple[str, str]:
    """How the gate may name the row's metric."""
    return row["metric"], f"{row['evaluator']}.{row['metric']}"


def _base_is_finite(rows: Sequence[MetricRow], primary: MetricRow) -> bool:
    """Whether what the tuned model was compared with has a number; then it is the tuned model that has none."""
    keys = ("evaluator", "metric", "set", "split")
    alone = [row for row in rows if not row["versus"] and all(row[k] == primary[k] for k in keys)]
    return any(row["model"] == primary["versus"] and row["value"] is not None for row in alone)


def _budgets(run: Run, rows: Sequence[MetricRow]) -> list[Judged]:
    """Each of the differences that have a budget, against it."""
    return [_judge(row, getattr(run.gate.budget, row["role"])) for row in _budgeted(run, rows)]


def _budgeted(run: Run, rows: Sequence[MetricRow]) -> list[MetricRow]:
    """The first metric measured on each general and safety set (the gate's, where it was)."""
    chosen: dict[tuple[str, str], MetricRow] = {}
    for row in rows:
        if row["role"] not in ("general", "safety") or row["model"] != "tuned" or row["versus"] != "base":
            continue
        if run.gate.metric in _names(row) or (row["role"], row["set"]) not in chosen:
            chosen[row["role"], row["set"]] = row
    return list(chosen.values())


def _judge(row: MetricRow, budget: float) -> Judged:
    gain, low, high = turned(row)
    state, needed = "not settled", None
    if high is not None and high < -budget:
        state = "broken"
    elif low is not None and low >= -budget:
        state = "kept"
    elif gain is not None and low is not None and high is not None:
        needed = rows_needed(gain, low, high, -budget, row["n"])
    taken = ("role", "set", "evaluator", "metric", "value", "low", "high", "n")
    return Judged(budget=budget, state=state, rows_needed=needed, **{key: row[key] for key in taken})


def write_metrics(
    folder: Path,
    rows: Sequence[MetricRow],
    verdict: Verdict,
    variants: Mapping[str, Any] | None = None,
    **further: Sequence[Mapping[str, Any]],
) -> Path:
    """metrics.json, replaced in one piece; `further` lists stand beside the rows under their names."""
    path = folder / "metrics.json"
    content = {"schema": 1, "verdict": asdict(verdict), "rows": list(rows), "variants": dict(variants or {}), **further}
    write_json(path, content)
    return path
