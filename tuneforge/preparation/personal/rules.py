"""What a config of deidentify must satisfy, and the patterns of a user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tuneforge.errors import ConfigError, nearest
from tuneforge.preparation.personal import mapping
from tuneforge.preparation.personal.kinds import KINDS
from tuneforge.preparation.personal.pattern import Pattern

if TYPE_CHECKING:
    from tuneforge.settings import Run
    from tuneforge.transform.deidentify import Deidentify

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


def own_patterns(lines: Sequence[str]) -> list[Pattern]:
    """The patterns of `NAME=regex` lines; ConfigError for the first that is none."""
    import regex

    from tuneforge.preparation.personal.recogniser import compiled

    made = []
    for line in lines:
        name, sign, expression = line.partition("=")
        if not sign or not _NAME.fullmatch(name) or not expression:
            raise ConfigError(f"patterns: {line!r} is not NAME=regex, with a name of A to Z, 0 to 9 and _")
        try:
            empty = compiled(expression).fullmatch("", timeout=1) is not None
        except regex.error as error:
            raise ConfigError(f"patterns: {name} is no regular expression: {error}") from None
        if empty:
            raise ConfigError(f"patterns: {name} matches where nothing stands; it has to name at least one character")
        made.append(Pattern(name, expression))
    return made


def unknown(wanted: Sequence[str], known: Sequence[str]) -> str:
    """A sentence about the first kind that nothing finds; empty: all are known."""
    name = next((kind for kind in wanted if kind.upper() not in known), None)
    if name is None:
        return ""
    return f"entities: nothing finds {name!r} ({', '.join(known)}).{nearest(name, known)}"


def problems(component: Deidentify, run: Run) -> Iterator[str]:
    """Reasons, one sentence each, why the component cannot serve the run."""
    own: list[Pattern] = []
    try:
        own = own_patterns(component.patterns)
        if run is not None and run.output_dir:
            mapping.place(component.mapping, component.mapping_key, Path(run.output_dir))
    except ConfigError as error:
        yield str(error)
    known = (*KINDS, *dict.fromkeys(p.kind for p in own))
    if component.engine == "core" and (said := unknown(component.entities, known)):
        yield said
    if component.engine == "presidio" and find_spec("presidio_analyzer") is None:
        yield "engine=presidio needs presidio_analyzer: pip install 'tuneforge[pii]'"
    if (component.engine == "model") != (component.model is not None):
        yield "engine=model and model=<folder of a trained tagger> go together" + (
            f"; engine={component.engine} would not use {component.model}" if component.model else ""
        )
    yield from _mapping_problems(component)


def _mapping_problems(component: Deidentify) -> Iterator[str]:
    if component.mode == "drop" and (component.mapping or component.mapping_key):
        yield "mode=drop replaces nothing, so there is no mapping to write"
    elif component.mapping_key is not None:
        if find_spec("cryptography") is None:
            yield "mapping_key needs cryptography: pip install 'tuneforge[pii]'"
        elif said := mapping.problem(component.mapping_key):
            yield said
