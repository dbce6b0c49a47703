"""What the gate asks of single numbers: `exact_match>=0.05`, `rouge.rougeL@news/length:*>=-0.02`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from tuneforge.errors import ConfigError, nearest
from tuneforge.evaluation.figures import with_interval

if TYPE_CHECKING:
    from tuneforge.components import Evaluator
    from tuneforge.rows import HeldOut
    from tuneforge.settings import Run

GRAMMAR = "METRIC, EVALUATOR.METRIC, with @SET and /BY:SLICE where wanted, then >= and a number"
RULE = re.compile(
    r"\s*(?P<metric>[\w.]+)(?:@(?P<set>[\w.*-]+)(?:/(?P<slice>[^>]+?))?)?\s*>=\s*(?P<value>[+-]?(?:\d+\.?\d*|\.\d+))\s*"
)
MetricRow = Mapping[str, Any]
MOST_PLACES = 3
"""Places of one rule that a sentence names; how many more there are is said."""


class Rule(NamedTuple):
    """The gain (what is better counts as more) in a metric, and how large it has to be."""

    text: str
    metric: str
    set: str
    """A set, or `*` for any; empty: the target sets, together where they are several."""
    slice: str
    """`by:name`, with `*` for any; empty: whole sets."""
    value: float


@dataclass(frozen=True)
class Ruled:
    """What became of one rule at one place."""

    rule: str
    key: str
    """require or allow."""
    where: str
    state: str
    """require: met or not met. allow: kept, not settled or broken. Either: not measured."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    why: str = ""
    """Of a rule that nothing was measured for: which slices there are."""

    @property
    def fails(self) -> bool:
        """Whether the gate fails by it."""
        return self.state == "broken" or (self.key == "require" and self.state != "met")


def measured(rule: Mapping[str, Any]) -> str:
    """`+.28 [+.23,+.34] on helpdesk_test`, or why there is nothing, of what became of a rule (Ruled's fields)."""
    shown = with_interval(rule.get("value"), rule.get("low"), rule.get("high"), sign=True)
    return f"{shown} on {rule['where']}" if rule.get("where") else str(rule.get("why") or "")


def parsed(text: str, key: str = "gate.require") -> Rule:
    """ConfigError for what is no rule."""
    found = RULE.fullmatch(text)
    if found is None:
        raise ConfigError(f"{key}: '{text}' is no rule: {GRAMMAR}, as in exact_match@test/length:*>=-0.02")
    part = found["slice"] or ""
    if part and ":" not in part:
        raise ConfigError(f"{key}: '{text}' names the slice '{part}'; write BY:NAME, as in length:* or label:refund")
    return Rule(text.strip(), found["metric"], found["set"] or "", part, float(found["value"]))


def rules_of(run: Run) -> dict[str, list[str]]:
    """gate.require and gate.allow."""
    return {"require": run.gate.require, "allow": run.gate.allow}


def check(run: Run, evaluators: Mapping[str, Evaluator], sets: Sequence[HeldOut]) -> None:
    """ConfigError, before anything is trained, for a metric, a set or slices that are not measured.

    Sets that an evaluator brings, called `<its key>.<name>`, are known once they are measured.
    """
    metrics = [f"{key}.{metric.name}" for key, e in evaluators.items() for metric in e.metrics]
    known = {*metrics, *(name.split(".")[-1] for name in metrics)}
    names = {held.name for held in sets}
    told = _ways(run, sets)
    if evaluators and run.gate.metric and run.gate.metric not in known:
        near = nearest(run.gate.metric, known)
        raise ConfigError(f"gate.metric={run.gate.metric}: no such metric ({', '.join(metrics)}).{near}")
    for key, texts in rules_of(run).items():
        for text in texts:
            rule = parsed(text, f"gate.{key}")
            if rule.metric not in known:
                near = nearest(rule.metric, known)
                raise ConfigError(f"gate.{key}: '{text}': no metric '{rule.metric}' ({', '.join(metrics)}).{near}")
            brought = rule.set.partition(".")[0] in evaluators and "." in rule.set
            if rule.set not in ("", "*") and rule.set not in names and not brought:
                near = nearest(rule.set, names)
                raise ConfigError(f"gate.{key}: '{text}': no test set '{rule.set}' ({', '.join(sorted(names))}).{near}")
            part = rule.slice.partition(":")[0]
            if part and not any(fnmatchcase(name, part) for name in told):
                raise ConfigError(
                    f"gate.{key}: '{text}': test rows are not told apart by '{part}' ({', '.join(told)}; kept columns"
                    f" stand in test.NAME.keep, and slices.by may name fewer).{nearest(part, told)}"
                )


def _ways(run: Run, sets: Sequence[HeldOut]) -> Sequence[str]:
    """What test rows are told apart by; ConfigError for a name in slices.by that is none."""
    from tuneforge.evaluation.slices import offered

    if not run.slices.by and not any("/" in text for texts in rules_of(run).values() for text in texts):
        return ()  # nobody asks, and the sets may be large
    ways = offered(row for held in sets for row in held.rows)
    odd = [name for name in run.slices.by if name not in ways]
    if sets and odd:
        raise ConfigError(
            f"slices.by: test rows are not told apart by '{odd[0]}' ({', '.join(ways)}; kept columns stand in"
            f" test.NAME.keep).{nearest(odd[0], ways)}"
        )
    return run.slices.by or ways


def judge(
    rules: Mapping[str, Sequence[str]], rows: Sequence[MetricRow], slices: Sequence[MetricRow], versus: str
) -> list[Ruled]:
    """Every rule at every place that it speaks of.

    `rows` are metric rows of the test sets, `slices` those of metrics.json. Where nothing was compared with `versus`,
    as on general sets with a prompt, the difference to the base counts.
    """
    found = []
    for key, texts in rules.items():
        for text in texts:
            rule = parsed(text, f"gate.{key}")
            here = list(_places(rule, slices if rule.slice else rows, versus))
            why = _slices_there(slices, rule) if rule.slice and not here else ""
            found += [_ruled(rule, key, row) for row in here] or [Ruled(rule.text, key, "", "not measured", why=why)]
    return found


def _slices_there(slices: Sequence[MetricRow], rule: Rule) -> str:
    """Which slices the rule could have named instead of those that there are not."""
    there = [row for row in slices if _speaks(rule._replace(slice=""), row)]
    by = rule.slice.partition(":")[0]
    names = list(dict.fromkeys(row["name"] for row in there if row["by"] == by))
    if names:
        return f"the slices by {by} are {_few(names)}"
    ways = ", ".join(dict.fromkeys(row["by"] for row in there))
    return f"the rows make no two slices by {by}, only by {ways}" if ways else "the rows make no slices"


def _places(rule: Rule, rows: Sequence[MetricRow], versus: str) -> Iterator[MetricRow]:
    """The differences that the rule speaks of."""
    asked = [row for row in rows if row["model"] == "tuned" and row["versus"] and _speaks(rule, row)]
    if not rule.set and not rule.slice and any(row["set"] == "*" for row in asked):
        asked = [row for row in asked if row["set"] == "*"]
    places: dict[tuple[str, str, str], list[MetricRow]] = {}
    for row in asked:
        places.setdefault((row["evaluator"], row["set"], _part(row)), []).append(row)
    for here in places.values():
        order = {versus: 0, "base": 1}
        yield min(here, key=lambda row: order.get(row["versus"], 2))


def _speaks(rule: Rule, row: MetricRow) -> bool:
    if rule.metric not in (row["metric"], f"{row['evaluator']}.{row['metric']}"):
        return False
    if rule.set not in ("*", row["set"]) and not (rule.set == "" and row["role"] == "target"):
        return False
    return not rule.slice or fnmatchcase(_part(row), rule.slice)


def _part(row: MetricRow) -> str:
    return f"{row['by']}:{row['name']}" if "by" in row else ""


def _ruled(rule: Rule, key: str, row: MetricRow) -> Ruled:
    sign = 1 if row["higher_is_better"] else -1
    low, high = (None if row[k] is None else sign * row[k] for k in (("low", "high") if sign > 0 else ("high", "low")))
    if key == "require":
        state = "met" if low is not None and low >= rule.value else "not met"
    elif high is not None and high < rule.value:
        state = "broken"
    else:
        state = "kept" if low is not None and low >= rule.value else "not settled"
    part = _part(row)
    where = f"{row['set']}/{part}" if part else "all target sets" if row["set"] == "*" else str(row["set"])
    return Ruled(rule.text, key, where, state, row["value"], row["low"], row["high"], row["n"])


def sliced(rules: Mapping[str, Sequence[str]], rows: Sequence[MetricRow], versus: str) -> list[MetricRow]:
    """The differences of whole sets whose slices a rule names."""
    named = [parsed(text, f"gate.{key}") for key, texts in rules.items() for text in texts]
    return [row for rule in named if rule.slice for row in _places(rule._replace(slice=""), rows, versus)]


def words(found: Sequence[Ruled]) -> list[str]:
    """Broken losses and those that nothing was measured for; how many gains are not met, and losses not settled.

    Gains that are not met are named where the gate fails by them.
    """
    named = [one for one in found if one.state == "broken" or (one.key == "allow" and one.state == "not measured")]
    unmet = sum(one.key == "require" and one.fails for one in found)
    open_ = sum(one.state == "not settled" for one in found)
    said = [f"{unmet} required gain{'s' * (unmet > 1)} not met"] if unmet else []
    said += [f"{open_} allowed loss{'es' * (open_ > 1)} not settled"] if open_ else []
    return [*sentences(named), *said]


def sentences(found: Sequence[Ruled]) -> list[str]:
    """`gate.require exact_match>=0.5 not met: +.28 [+.23,+.34] on helpdesk_test`: one for a rule and state."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        alike.setdefault((one.key, one.rule, one.state), []).append(measured(vars(one)))
    return [
        f"gate.{key} {rule} {state}{': ' * any(places)}{_few(places)}" for (key, rule, state), places in alike.items()
    ]


def _few(words: Sequence[str]) -> str:
    more = len(words) - MOST_PLACES
    return ", ".join(words[:MOST_PLACES]) + (f" and {more} more" if more > 0 else "")
