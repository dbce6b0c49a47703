"""What share of an epoch each source makes up: what is asked for, and what comes of it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tuneforge.components import Context, DataSource
from tuneforge.preparation import store
from tuneforge.preparation.view import View
from tuneforge.rules import TINY, asked

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(frozen=True)
class Part:
    """What one source brings into an epoch."""

    source: str
    """`data.<key>` or `synthetic.<key>`."""
    asked: str
    """What the config asks for: `weight=0.1`; empty: every row once."""
    rows: int
    """Rows that it has after the transforms."""
    used: int
    """Those of them that an epoch sees at all."""
    seen: int
    """Rows per epoch, repeats counted."""
    repeats: float
    """How often each of its rows is seen per epoch, on average: seen / rows."""
    share: float
    """Its share of the rows of an epoch, 0 to 1."""
    tokens: int | None = None
    """Its tokens per epoch, once they are encoded."""
    loss_tokens: int | None = None
    """Its loss items per epoch, in the unit of the strategy."""
    loss_share: float | None = None
    """Its share of all loss items."""
    passes: float | None = None
    """Planned passes over its rows in the whole run, unless it stops early."""


def wanted(run: Run, sizes: Mapping[str, int], context: Context) -> dict[str, int]:
    """Rows per epoch of each source, from how many it has. What `mixture.max_repeats` cuts is said.

    A source with a weight or epochs takes what it says; one with a proportion that share of all rows. The others share
    by size, at temperature T by size^(1/T) (XLM-R, arXiv:1911.02116; T5, arXiv:1910.10683, 3.5.2), the largest once.
    """
    sources = {f"data.{key}": source for key, source in run.data.items()}
    plain = [n for name, n in sizes.items() if not (name in sources and asked(sources[name]))]
    times = {
        name: _times(run, sources.get(name), n, max(plain, default=0))
        for name, n in sizes.items()
        if name not in sources or sources[name].proportion is None
    }
    found = {name: _capped(run, name, n, sizes[name] * n, context) for name, n in times.items()}
    shares = {name: sources[name].proportion or 0.0 for name in sizes if name not in found}
    others, left = sum(found.values()), 1 - sum(shares.values())
    whole = others / left if others and left > TINY else sum(sizes[name] for name in shares)
    for name, share in shares.items():
        found[name] = _capped(run, name, share * whole / sizes[name], share * whole, context)
    return {name: found[name] for name in sizes}


def _times(run: Run, source: DataSource | None, size: int, largest: int) -> float:
    """How often a row is seen per epoch."""
    if source is None or not asked(source):
        return float((largest / size) ** (1 - 1 / run.mixture.temperature))
    return source.weight if source.epochs is None else source.epochs / (run.trainer.max_epochs or 1)


def _capped(run: Run, name: str, times: float, rows: float, context: Context) -> int:
    most = run.mixture.max_repeats
    if most is None or times <= most:
        return max(1, round(rows))
    less = round(rows * most / times)
    context.note(
        f"mixture.max_repeats={most}: {name} gives {less:,} rows per epoch, not the {round(rows):,} that show each of"
        f" its rows {times:.1f} times",
        rows=less,
    )
    return less


def parts(run: Run, epoch: View) -> list[Part]:
    """What each source of the config really brings; one that brings nothing stands here with 0 rows."""
    numbers: dict[str, int] = {}
    owner = array("i", (numbers.setdefault(source, len(numbers)) for source in store.sources(epoch.rows)))
    rows, seen, used = (
        Counter({source: counts[number] for source, number in numbers.items()})
        for counts in (Counter(owner), Counter(map(owner.__getitem__, epoch.places)),
                       Counter(map(owner.__getitem__, epoch.distinct.places)))
    )  # fmt: skip
    said = {f"data.{key}": ", ".join(asked(source)) for key, source in run.data.items()}
    said |= {f"synthetic.{key}": "" for key in run.synthetic}
    general = [] if run.mixture.temperature == 1 else [f"mixture.temperature={run.mixture.temperature:g}"]
    return [
        Part(
            source=name,
            asked=words or ", ".join(general),
            rows=rows[name],
            used=used[name],
            seen=seen[name],
            repeats=seen[name] / rows[name] if rows[name] else 0.0,
            share=seen[name] / max(1, len(epoch)),
        )
        for name, words in said.items()
    ]


def encoded(found: Sequence[Part], by_source: Mapping[str, Sequence[int]], epochs: float) -> list[Part]:
    """The same with what was counted of each source's tokens: (tokens, loss items), and passes in that many epochs."""
    whole = sum(loss for _, loss in by_source.values()) or 1
    made = []
    for part in found:
        tokens, loss = by_source.get(part.source, (0, 0))
        made.append(
            replace(part, tokens=tokens, loss_tokens=loss, loss_share=loss / whole, passes=part.repeats * epochs)
        )
    return made


def said(found: Sequence[Part]) -> str:
    """`data.mine 4,000 rows (80.0 %, 1 x), data.replay 1,000 (20.0 %, 0.17 x)`; empty where nothing is mixed."""
    if len(found) < 2 and all(part.repeats == 1 for part in found):
        return ""
    return ", ".join(f"{p.source} {p.seen:,} rows ({p.share:.1%}, each {p.repeats:.3g} x)" for p in found)
