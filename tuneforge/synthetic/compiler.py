"""From a grammar's YAML to closures: slots, expressions and templates, with every name checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any

from tuneforge.errors import nearest
from tuneforge.synthetic import functions
from tuneforge.synthetic.values import Expression, GrammarError, Value, chosen, field_of, pieces, text_of


class Compiler:
    """Compiles expressions. Slots are compiled on first use, so a slot that leads to itself is found."""

    def __init__(self, slots: Mapping[str, Any]) -> None:
        self.slots = slots
        self.compiled: dict[str, Expression] = {}
        self.path: list[str] = []
        """Slots being compiled, outermost first."""
        self.used: set[str] = set()
        """Names that something refers to."""
        self.where: list[str] = []
        """Place in the grammar being compiled, outermost first."""

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Names the place for errors; left in `where` when one is raised."""
        self.where.append(place)
        yield
        self.where.pop()

    def slot(self, name: str) -> Expression:
        """The slot's expression. Raises GrammarError for a slot that leads to itself."""
        if name in self.path:
            loop = " -> ".join([*self.path[self.path.index(name) :], name])
            raise GrammarError(f"the slot leads to itself: {loop}")
        if name not in self.compiled:
            self.path.append(name)
            with self.at(f"slot '{name}'"):
                self.compiled[name] = self.choices(self.slots[name], set())
            self.path.pop()
        return self.compiled[name]

    def choices(self, spec: Any, bound: set[str]) -> Expression:
        """A list of choices, or a mapping of choice to weight. In a list, a mapping is a record, and
        its field `weight` is its weight."""
        if not isinstance(spec, (list, dict)):
            raise GrammarError(f"a list of choices or a mapping of choice to weight is needed, not {spec!r}")
        if not spec:
            raise GrammarError("no choices")
        if isinstance(spec, dict):
            pairs = list(spec.items())
        else:
            pairs = [(_without_weight(c), c.get("weight", 1) if isinstance(c, dict) else 1) for c in spec]
        weights = [_weight(choice, weight) for choice, weight in pairs]
        if not sum(weights):
            raise GrammarError("all weights are 0")
        return chosen([self.choice(choice, bound) for choice, _ in pairs], weights)

    def choice(self, spec: Any, bound: set[str]) -> Expression:
        """A template, a number, a record of templates, or (in `choose`) a function."""
        if isinstance(spec, dict):
            if len(spec) and next(iter(spec)) in functions.OPTIONS:
                return self.expression(spec, bound)
            fields = [(str(name), self.expression(value, bound)) for name, value in spec.items()]
            return lambda draw: {name: value(draw) for name, value in fields}
        return self.expression(spec, bound)

    def expression(self, spec: Any, bound: set[str]) -> Expression:
        """A template, a number, a list of expressions, or a function with its options."""
        if isinstance(spec, bool) or spec is None or isinstance(spec, float):
            raise GrammarError(f"{spec!r} is neither text nor a whole number; put it in quotes")
        if isinstance(spec, int):
            return lambda draw: spec
        if isinstance(spec, str):
            return self.template(spec, bound)
        if isinstance(spec, list):
            parts = [self.expression(part, bound) for part in spec]
            return lambda draw: [part(draw) for part in parts]
        if isinstance(spec, dict):
            return self.function(spec, bound)
        raise GrammarError(f"{spec!r} ({type(spec).__name__}) is no expression; put it in quotes")

    def template(self, text: str, bound: set[str]) -> Expression:
        """Text with {names}; `"{name}"` alone is the value itself."""
        found = pieces(text)
        if len(found) == 1 and not found[0][0] and found[0][1]:
            return self.reference(found[0][1], bound)
        if not any(name for _, name in found):
            literal_only = "".join(literal for literal, _ in found)
            return lambda draw: literal_only
        parts: list[str | Expression] = []
        for literal, name in found:
            parts += [literal] if literal else []
            parts += [self.reference(name, bound)] if name else []
        return lambda draw: "".join([p if isinstance(p, str) else text_of(p(draw)) for p in parts])

    def reference(self, name: str, bound: set[str]) -> Expression:
        """What `{name}` or `{name.field}` stands for: bound by `let`, else a slot, drawn anew."""
        base, *fields = name.split(".")
        value = self.named(base, bound)
        for field in fields:
            value = _field(value, field)
        return value

    def named(self, name: str, bound: set[str]) -> Expression:
        """What is bound under the name, else the slot. Raises GrammarError where there is neither."""
        self.used.add(f"let {name}" if name in bound else name)
        if name in bound:
            return lambda draw: draw.bound[name]
        if name in self.slots:
            return self.slot(name)
        known = [*bound, *self.slots]
        raise GrammarError(f"unknown slot '{name}'.{nearest(name, known)}")

    def function(self, spec: Mapping[str, Any], bound: set[str]) -> Expression:
        """`{function: operand, option: …}`."""
        if not spec:
            raise GrammarError("an empty mapping is no expression")
        name, operand = next(iter(spec.items()))
        if name not in functions.OPTIONS:
            known = ", ".join(functions.OPTIONS)
            raise GrammarError(f"unknown function '{name}' ({known}).{nearest(str(name), functions.OPTIONS)}")
        for option in list(spec)[1:]:
            if option not in functions.OPTIONS[name]:
                allowed = ", ".join(functions.OPTIONS[name]) or "none"
                raise GrammarError(f"{name}: unknown option '{option}' (options: {allowed})")
        if name in functions.SIMPLE:
            simple, value = functions.SIMPLE[name], self.expression(operand, bound)
            return lambda draw: simple(value(draw))
        build = getattr(self, f"_{name}")
        return build(operand, spec, bound)  # type: ignore[no-any-return]

    def _choose(self, operand: Any, spec: Mapping[str, Any], bound: set[str]) -> Expression:
        return self.choices(operand, bound)

    def _number(self, operand: Any, spec: Mapping[str, Any], bound: set[str]) -> Expression:
        low, high = _range("number", operand)
        return lambda draw: functions.number(draw, low, high)

    def _pick(self, operand: Any, spec: Mapping[str, Any], bound: set[str]) -> Expression:
        source = self.named(str(operand), bound)
        low, high = _range("pick: n", spec.get("n", 1))
        if operand in bound:
            return lambda draw: functions.pick(draw, source(draw), functions.number(draw, low, high))
        return lambda draw: functions.pick(draw, source, functions.number(draw, low, high))

    def _other(self, operand: Any, spec: Mapping[str, Any], bound: set[str]) -> Expression:
        source, than = self.named(str(operand), set()), self.expression(_needed(spec, "than"), bound)
        return lambda draw: functions.other(draw, source, than(draw))

    def _join(self, operand: Any, spec: Mapping[str, Any], bound: set[str]) -> Expression:
        value, separator = self.expression(operand, bound), self.expression(spec.get("with", " "), bound)
        return lambda draw: functions.joined(value(draw), text_of(separator(draw)))

    def _item(self, operand: Any, spec: Mapping[str, Any], bound: set[str]) -> Expression:
        value, at = self.expression(operand, bound), self.expression(_needed(spec, "at"), bound)
        return lambda draw: functions.item(value(draw), at(draw))

    def _compare(self, operand: Any, spec: Mapping[str, Any], bound: set[str]) -> Expression:
        value = self.expression(operand, bound)
        more, less, equal = (self.expression(_needed(spec, o), bound) for o in ("more", "less", "equal"))
        return lambda draw: functions.compared(value(draw), more, less, equal)(draw)


def _field(value: Expression, field: str) -> Expression:
    return lambda draw: field_of(value(draw), field)


def _without_weight(choice: Any) -> Any:
    return {k: v for k, v in choice.items() if k != "weight"} if isinstance(choice, dict) else choice


def _weight(choice: Value, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not isfinite(weight) or weight < 0:
        raise GrammarError(f"choice {choice!r}: its weight is {weight!r}; a number of at least 0 is needed")
    return float(weight)


def _needed(spec: Mapping[str, Any], option: str) -> Any:
    if option not in spec:
        raise GrammarError(f"{next(iter(spec))}: option '{option}' is missing")
    return spec[option]


def _range(what: str, value: Any) -> tuple[int, int]:
    low, high = value if isinstance(value, list) and len(value) == 2 else (value, value)
    if any(isinstance(v, bool) or not isinstance(v, int) for v in (low, high)) or low > high:
        raise GrammarError(f"{what}: a whole number or [low, high] is needed, not {value!r}")
    return low, high
