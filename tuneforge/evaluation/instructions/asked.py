"""What a row's answer is asked to follow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, NamedTuple, get_origin, get_type_hints

from tuneforge.errors import ConfigError, nearest
from tuneforge.evaluation.instructions.checks import CHECKS, Relation, identifier, loosened
from tuneforge.rows import Row

ALLOWED = {Relation: " or ".join(Relation), int: "a whole number", str: "a text"}


class Instruction(NamedTuple):
    """One instruction of a row."""

    id: str
    kwargs: Mapping[str, Any]

    def strict(self, answer: str) -> bool:
        """Whether the answer, as it is, follows it. An empty one does not."""
        return bool(answer.strip()) and CHECKS[self.id](answer, **self.kwargs)

    def loose(self, answer: str) -> bool:
        """Whether the answer follows it with or without first and last line and asterisks."""
        return any(map(partial(Instruction.strict, self), dict.fromkeys(loosened(answer))))


def instructions(row: Row, ids: Any, kwargs: Any) -> list[Instruction]:
    """The row's instructions; a key that is null counts as absent. ConfigError names the row and what is wrong."""
    if not isinstance(ids, list) or not isinstance(kwargs, list) or not ids or len(ids) != len(kwargs):
        sizes = " and ".join(f"{len(v)}" if isinstance(v, list) else f"a {type(v).__name__}" for v in (ids, kwargs))
        raise ConfigError(f"{row.place}: instruction_id_list and kwargs must be equally long lists: {sizes} here")
    return [_instruction(row, one, given or {}) for one, given in zip(ids, kwargs, strict=True)]


def _instruction(row: Row, name: Any, given: Any) -> Instruction:
    if name not in CHECKS:
        raise ConfigError(f"{row.place}: no instruction '{name}'.{nearest(str(name), CHECKS) or _known()}")
    if not isinstance(given, Mapping):
        raise ConfigError(f"{row.place}: kwargs of {name} must be an object, not {given!r}")
    given, wanted = {key: value for key, value in given.items() if value is not None}, _wanted(name)
    if given.keys() != wanted.keys():
        raise ConfigError(f"{row.place}: kwargs of {name} are {_list(wanted)}, not {_list(given)}")
    return Instruction(name, {key: _value(row, f"{name}.{key}", given[key], wanted[key]) for key in wanted})


def _value(row: Row, key: str, value: Any, kind: Any) -> Any:
    if kind is Relation and value in list(Relation):
        return Relation(value)
    right = _texts(value) if get_origin(kind) is list else type(value) is kind
    if not right:
        raise ConfigError(f"{row.place}: {key}={value!r} must be {ALLOWED.get(kind, 'a list of texts')}")
    if key.endswith(".language") and value not in identifier().labels:
        raise ConfigError(f"{row.place}: {key}={value!r} is no code of a known language")
    return value


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


@cache
def _wanted(name: str) -> dict[str, Any]:
    """Key → type of what the check is given beside the answer."""
    return {key: kind for key, kind in get_type_hints(CHECKS[name]).items() if key not in ("answer", "return")}


def _known() -> str:
    return f" Known are {', '.join(sorted(CHECKS))}"


def _list(keys: Mapping[str, Any]) -> str:
    return ", ".join(sorted(keys)) or "none"
