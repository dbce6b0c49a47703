"""A safe expression over a row: parsed, checked for names and types, and compiled to functions; nothing is evaluated
by Python itself.

    words(answer) > 5 and task in ["math", "code"] and not regex("as an ai", lower(answer))
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from tuneforge.conversation import answer_text, classes, passages, split
from tuneforge.errors import nearest
from tuneforge.rows import Row

SECONDS = 1.0
"""Most that a regular expression may take on one text."""

LENGTH = 2000
"""Characters that an expression may have."""

Value = Callable[[Row], Any]


class Invalid(Exception):
    """An expression that says nothing of a row; its text is the reason."""


class TooSlow(Exception):
    """A regular expression took too long on a row; its text is the pattern."""


class Typed(NamedTuple):
    """A part of an expression: what it yields (text, number, truth or list), and how."""

    kind: str
    value: Value


def _prompt(row: Row) -> str:
    parts = split(row.columns) or split(row.columns, "chosen")
    if parts is not None:
        return "\n".join(str(m.get("content") or "") for m in parts[0])
    return "\n".join(p.text for p in passages(row.columns) if p.place.split("[")[0] in ("prompt", "anchor"))


def _answer(row: Row) -> str:
    return answer_text(row.columns) or answer_text(row.columns, "chosen") or str(row.columns.get("positive") or "")


def _text(row: Row) -> str:
    return str(row.columns.get("text") or " ".join(row.columns.get("tokens") or ()))


NAMES: dict[str, Typed] = {
    "prompt": Typed("text", _prompt),
    "answer": Typed("text", _answer),
    "text": Typed("text", _text),
    "label": Typed("text", lambda row: ", ".join(classes(row.columns) or ())),
    "task": Typed("text", lambda row: row.task),
    "source": Typed("text", lambda row: row.source),
    "file": Typed("text", lambda row: row.file),
    "group": Typed("text", lambda row: row.group),
    "turns": Typed("number", lambda row: sum(p.role == "user" for p in passages(row.columns))),
}
"""What an expression may name. A row without it has an empty text."""

FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "words": (("text",), "number"),
    "characters": (("text",), "number"),
    "lower": (("text",), "text"),
    "regex": (("text", "text"), "truth"),
}
"""Function: what it takes, and what it yields. The first argument of regex is a pattern in quotes."""

COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
COMPUTED: dict[type[ast.operator], Callable[[Any, Any], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b if b else math.inf,
}


def compiled(text: str) -> Value:
    """A function from a row to whether the expression holds. Invalid with the reason otherwise."""
    if len(text) > LENGTH:
        raise Invalid(f"has {len(text):,} characters, the limit is {LENGTH:,}")
    try:
        return _wanted(ast.parse(text.strip(), mode="eval").body, "truth").value
    except SyntaxError as error:
        raise Invalid(f"is no expression: {error.msg} at character {error.offset or 1}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Invalid(f"is no expression: {error}") from None


def _compile(node: ast.expr) -> Typed:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as constant):
            kind = "truth" if isinstance(constant, bool) else "text" if isinstance(constant, str) else "number"
            return Typed(kind, lambda row: constant)
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            values = [_constant(part) for part in parts]
            return Typed("list", lambda row: values)
        case ast.Name(id=name):
            return NAMES[name] if name in NAMES else _unknown("name", name, NAMES)
        case ast.BoolOp(op=op, values=parts):
            sides = [_wanted(part, "truth").value for part in parts]
            combine = all if isinstance(op, ast.And) else any
            return Typed("truth", lambda row: combine(side(row) for side in sides))
        case ast.UnaryOp(op=ast.Not(), operand=part):
            inner = _wanted(part, "truth").value
            return Typed("truth", lambda row: not inner(row))
        case ast.UnaryOp(op=ast.USub(), operand=part):
            number = _wanted(part, "number").value
            return Typed("number", lambda row: -number(row))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in COMPUTED:
            compute, a, b = COMPUTED[type(op)], _wanted(left, "number").value, _wanted(right, "number").value
            return Typed("number", lambda row: compute(a(row), b(row)))
        case ast.Compare(left=left, ops=ops, comparators=rights):
            return _comparison([left, *rights], ops)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name, arguments)
    raise Invalid(f"'{ast.unparse(node)}' has no place here; names, numbers, texts, {', '.join(FUNCTIONS)}, "
                  "and, or, not, in and comparisons have")  # fmt: skip


def _unknown(what: str, name: str, known: Sequence[str] | dict[str, Any]) -> NoReturn:
    raise Invalid(f"no {what} '{name}' ({', '.join(known)}).{nearest(name, known)}")


def _wanted(node: ast.expr, kind: str) -> Typed:
    found = _compile(node)
    if found.kind != kind:
        wanted = {"truth": "a condition", "number": "a number", "text": "a text"}[kind]
        raise Invalid(f"'{ast.unparse(node)}' is a {found.kind}, where {wanted} belongs")
    return found


def _constant(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float)):
        return node.value
    raise Invalid(f"'{ast.unparse(node)}' in a list; only texts in quotes and numbers have a place there")


def _comparison(parts: Sequence[ast.expr], ops: Sequence[ast.cmpop]) -> Typed:
    sides = [_compile(part) for part in parts]
    for left, op, right, at in zip(sides, ops, sides[1:], range(len(ops)), strict=False):
        if type(op) not in COMPARED or not _comparable(left.kind, op, right.kind):
            shown = f"{ast.unparse(parts[at])}' with '{ast.unparse(parts[at + 1])}"
            raise Invalid(f"cannot compare '{shown}': a {left.kind} with a {right.kind}")
    steps = [(a.value, COMPARED[type(op)], b.value) for a, op, b in zip(sides, ops, sides[1:], strict=False)]
    return Typed("truth", lambda row: all(compare(a(row), b(row)) for a, compare, b in steps))


def _comparable(left: str, op: ast.cmpop, right: str) -> bool:
    if isinstance(op, ast.In | ast.NotIn):
        return (right == "list" and left in ("text", "number")) or left == right == "text"
    return left == right and (left == "number" or (isinstance(op, ast.Eq | ast.NotEq) and left != "list"))


def _call(name: str, arguments: Sequence[ast.expr]) -> Typed:
    if name not in FUNCTIONS:
        _unknown("function", name, FUNCTIONS)
    takes, kind = FUNCTIONS[name]
    if len(arguments) != len(takes):
        raise Invalid(f"{name}() takes {len(takes)} value{'s' * (len(takes) > 1)}, not {len(arguments)}")
    if name == "regex":
        return Typed(kind, _regex(arguments[0], _wanted(arguments[1], "text").value))
    of = _wanted(arguments[0], "text").value
    work: dict[str, Callable[[str], Any]] = {"words": lambda t: len(t.split()), "characters": len, "lower": str.lower}
    return Typed(kind, lambda row, work=work[name]: work(of(row)))  # type: ignore[misc]


def _regex(pattern: ast.expr, of: Value) -> Value:
    import regex

    if not isinstance(pattern, ast.Constant) or not isinstance(pattern.value, str):
        raise Invalid(f"the pattern of regex() stands first, in quotes, not {ast.unparse(pattern)}")
    try:
        found = regex.compile(pattern.value)
    except regex.error as error:
        raise Invalid(f"regex({pattern.value!r}): {error}") from None

    def search(row: Row) -> bool:
        try:
            return found.search(of(row), timeout=SECONDS) is not None
        except TimeoutError:
            raise TooSlow(f"{pattern.value!r} took more than {SECONDS:g} s") from None

    return search
