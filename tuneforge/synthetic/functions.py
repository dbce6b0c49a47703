"""Slot functions: what a grammar can compute from values. `{upper: "{word}"}` in YAML calls `upper`.

Operands are expressions (a string is a template, and `"{name}"` alone is the value itself), except for
`pick` and `other`, which take the name of a slot or of something bound by `let`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tuneforge.synthetic.values import Draw, Expression, GrammarError, Value, text_of


def number(draw: Draw, low: int, high: int) -> int:
    """`{number: [LOW, HIGH]}`: a whole number from LOW to HIGH, both included."""
    return low + draw.below(high - low + 1)


def pick(draw: Draw, source: Expression | list[Value], n: int) -> list[Value]:
    """`{pick: NAME, n: 3}` or `n: [2, 4]`: that many different values from a slot or a list, in drawn order."""
    if isinstance(source, list):
        pool = list(source)
        if n > len(pool):
            raise GrammarError(f"cannot pick {n} different values from {len(pool)}")
        return [pool.pop(draw.below(len(pool))) for _ in range(n)]
    found: list[Value] = []
    for _ in range(100 * n):
        value = source(draw)
        if value not in found:
            found.append(value)
            if len(found) == n:
                return found
    raise GrammarError(f"found no {n} different values in {100 * n} draws")


def other(draw: Draw, source: Expression, than: Value) -> Value:
    """`{other: NAME, than: "{x}"}`: a value of the slot that is not x."""
    for _ in range(200):
        value = source(draw)
        if value != than:
            return value
    raise GrammarError(f"found no value other than {text_of(than)!r} in 200 draws")


def ordered(value: Value) -> list[Value]:
    """`{sort: "{words}"}`: a list in ascending order; numbers by size, text by code point."""
    return sorted(_list("sort", value))


def backwards(value: Value) -> Value:
    """`{reverse: "{words}"}`: a list or a text from its end."""
    return value[::-1] if isinstance(value, (list, str)) else str(value)[::-1]


def total(value: Value) -> int:
    """`{sum: ["{a}", "{b}"]}`: the sum of numbers."""
    return sum(_numbers("sum", value))


def difference(value: Value) -> int:
    """`{minus: ["{a}", "{b}"]}`: the first number less all others."""
    first, *rest = _numbers("minus", value)
    return first - sum(rest)


def joined(value: Value, separator: str) -> str:
    """`{join: "{words}", with: ", "}`: a list as text with that separator (default a space)."""
    return separator.join(map(text_of, _list("join", value)))


def item(value: Value, at: Value) -> Value:
    """`{item: "{words}", at: 0}`: one element of a list or text; -1 is the last."""
    (index,) = _numbers("at", [at])
    sequence = value if isinstance(value, list) else text_of(value)
    if not -len(sequence) <= index < len(sequence):
        raise GrammarError(f"item {index} of {len(sequence)}")
    return sequence[index]


def compared(value: Value, more: Expression, less: Expression, equal: Expression) -> Callable[[Draw], Value]:
    """`{compare: ["{a}", "{b}"], more: …, less: …, equal: …}`: by whether a is more than b."""
    a, b = _list("compare", value)
    if type(a) is not type(b):
        raise GrammarError(f"compare: {a!r} and {b!r} are of different types")
    return more if a > b else less if a < b else equal


SIMPLE: dict[str, Callable[[Value], Value]] = {
    "upper": lambda v: text_of(v).upper(),
    "lower": lambda v: text_of(v).lower(),
    "capitalise": lambda v: text_of(v)[:1].upper() + text_of(v)[1:],
    "letters": lambda v: list(text_of(v)),
    "count": lambda v: len(_list("count", v)),
    "sort": ordered,
    "reverse": backwards,
    "sum": total,
    "minus": difference,
}
"""Functions of one value: text in capitals, in small letters, with a capital first; its letters as a list;
how many elements a list has; and those above."""

OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(SIMPLE, ()),
    "number": (),
    "pick": ("n",),
    "other": ("than",),
    "join": ("with",),
    "item": ("at",),
    "choose": (),
    "compare": ("more", "less", "equal"),
}
"""Function → its options. `choose` is a list or mapping of choices written in place."""


def _list(function: str, value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise GrammarError(f"{function} needs a list and got {value!r}")
    return value


def _numbers(function: str, value: Value) -> Sequence[int]:
    try:
        return [int(v) for v in _list(function, value)]
    except (TypeError, ValueError):
        raise GrammarError(f"{function} needs numbers and got {value!r}") from None
