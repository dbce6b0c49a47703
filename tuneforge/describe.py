"""Components and presets as commented YAML, and lists of what is installed. No Hydra, no torch."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

from tuneforge.errors import ConfigError, nearest
from tuneforge.plugins import GROUPS, Catalogue

YAML_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
"""Words that YAML does not read as text unless they are quoted."""


def field_texts(cls: type) -> dict[str, str]:
    """Field name → the docstring under it, base classes included."""
    texts: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if dataclasses.is_dataclass(owner):
            texts |= _own_texts(owner)
    return texts


def _own_texts(cls: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):  # a class made at run time has no source to read
        return {}
    body = tree.body[0].body  # type: ignore[attr-defined]
    return {
        first.target.id: " ".join(str(second.value.value).split())
        for first, second in itertools.pairwise(body)
        if isinstance(first, ast.AnnAssign)
        and isinstance(first.target, ast.Name)
        and isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
    }


def show(reference: str, catalogue: Catalogue) -> str:
    """A component's fields, or a preset's file, as commented YAML."""
    group, _, name = reference.partition("/")
    home = "data" if group in ("validation", "test") else group
    reference = f"{home}/{name}"
    if reference in catalogue.components:
        return _component(reference, catalogue)
    if reference in catalogue.presets:
        preset = catalogue.presets[reference]
        return f"# {reference}, by {preset.owner}\n{preset.path.read_text(encoding='utf-8')}"
    known = [*catalogue.components, *catalogue.presets]
    wanted = f"'{reference}'" if name else f"'{group}' (write GROUP/NAME)"
    hint = f"{nearest(reference, known)}{catalogue.suspects()}"
    raise ConfigError(f"plugins show: nothing is installed as {wanted}.{hint}")


def _component(reference: str, catalogue: Catalogue) -> str:
    cls = catalogue.components[reference]
    group, name = reference.split("/")
    about = inspect.cleandoc(cls.__doc__ or "").splitlines()
    lines = [f"# {reference}, by {catalogue.owners[reference]}", *(f"# {line}".rstrip() for line in about)]
    if cls.extra:
        lines.append(f"# needs: pip install 'tuneforge[{cls.extra}]'")
    lines += [f"# choose it with: {group}={name}", ""]
    return "\n".join([*lines, *_fields(cls, "")]) + "\n"


def _fields(cls: type, indent: str) -> Iterator[str]:
    texts = field_texts(cls)
    for item in dataclasses.fields(cls):
        value = item.default if item.default is not dataclasses.MISSING else None
        if item.default_factory is not dataclasses.MISSING:
            value = item.default_factory()
        for line in textwrap.wrap(texts.get(item.name, ""), 108):
            yield f"{indent}# {line}"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield f"{indent}{item.name}:"
            yield from _fields(type(value), indent + "  ")
        else:
            yield f"{indent}{item.name}: {_scalar(value)}  # {_type(item.type)}"


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    plain = not isinstance(value, str) or (value.isidentifier() and value.lower() not in YAML_WORDS)
    return str(value) if plain else repr(value)


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def listing(catalogue: Catalogue) -> Iterator[str]:
    """What is installed, by group and by whom, and what was not loaded."""
    for group in GROUPS:
        references = sorted(r for r in catalogue.owners if r.startswith(f"{group}/"))
        for index, reference in enumerate(references):
            preset = "  (preset)" if reference in catalogue.presets else ""
            head = group if index == 0 else ""
            yield f"{head:<12}{reference.split('/')[1]:<24}{catalogue.owners[reference]}{preset}"
    yield from (f"not loaded  {failure.owner}: {failure.reason}" for failure in catalogue.failures)
    yield from (f"collision   {text}" for text in catalogue.collisions)
