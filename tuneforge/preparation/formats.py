"""Which layout the rows of a file have: detected from the columns of the first rows, or as configured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from tuneforge.components import DataSource, Format
from tuneforge.errors import ConfigError
from tuneforge.preparation.convert import Layout
from tuneforge.preparation.mapping import Mapped, mapping
from tuneforge.preparation.messages import Unusable

ALIASES: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation"),
    "prompt": ("prompt", "instruction"),
    "input": ("input",),
    "completion": ("completion", "output", "response"),
    "references": ("references",),
    "choices": ("choices",),
    "chosen": ("chosen", "chosen_messages"),
    "rejected": ("rejected", "rejected_messages"),
    "margin": ("margin",),
    "text": ("text",),
    "label": ("label",),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags"),
    "anchor": ("anchor", "query", "question"),
    "positive": ("positive", "answer"),
    "negative": ("negative",),
    "system": ("system",),
    "tools": ("tools",),
    "history": ("history",),
    "group": ("group",),
}
"""Canonical name: names in files, the first that is there is taken."""

PAIRS = (("anchor", "positive"), ("query", "positive"), ("question", "answer"))
"""Names that make a file one of pairs."""

NEEDED: dict[Format, tuple[str, ...]] = {
    Format.text: ("text",),
    Format.messages: ("messages",),
    Format.sharegpt: ("messages",),
    Format.alpaca: ("prompt", "completion"),
    Format.prompt_completion: ("prompt", "completion"),
    Format.preference: ("chosen", "rejected"),
    Format.hh_rlhf: ("chosen", "rejected"),
    Format.label: ("text", "label"),
    Format.tags: ("tokens", "tags"),
    Format.pair: ("anchor", "positive"),
    Format.unpaired: ("prompt", "completion", "label"),
}
"""What a format cannot do without."""

FURTHER: dict[Format, tuple[str, ...]] = {
    Format.text: ("label",),
    Format.messages: ("system", "tools"),
    Format.sharegpt: ("system", "tools", "chosen", "rejected"),
    Format.alpaca: ("input", "system", "history", "references", "choices"),
    Format.prompt_completion: ("system", "tools", "chosen", "rejected", "label", "references", "choices"),
    Format.preference: ("prompt", "messages", "input", "system", "tools", "completion", "label", "margin"),
    Format.hh_rlhf: ("margin",),
    Format.label: (),
    Format.tags: (),
    Format.pair: ("negative",),
    Format.unpaired: ("system", "tools"),
}
"""What a format may have besides."""

KNOWN_LAYOUTS = (
    "text; messages (role, content); conversations (from, value); instruction, input, output; prompt, completion; "
    "prompt, chosen, rejected; chosen, rejected as transcripts or as messages; text, label; tokens, tags; "
    "anchor, positive; question, answer"
)


def layout(config_key: str, source: DataSource, head: Sequence[Mapping[str, Any]]) -> Layout:
    """The layout of a source from its first rows (their raw columns), or a ConfigError that says how to map it."""
    columns = list(dict.fromkeys(name for row in head for name in row))
    given = _given(source)
    mapped = mapping(config_key, given, columns, head)
    read = mapped.roots(columns)
    kept = {path if path in columns else path.partition(".")[0] for path in source.keep}
    names = _named(given, [column for column in columns if column not in read or column in given.values()])
    if source.format is not Format.auto:
        found = _configured(config_key, source.format, given, names, columns)
    else:
        found = _recognised(config_key, source, given, names, columns, [_evaluated(mapped, row) for row in head])
    return replace(found, mapped=mapped, read=frozenset(read | kept))


def _recognised(
    config_key: str,
    source: DataSource,
    given: Mapping[str, str],
    names: dict[str, str],
    columns: Sequence[str],
    head: Sequence[Mapping[str, Any]],
) -> Layout:
    found = _detected(names, given, head)
    if found is None:
        raise ConfigError(_unrecognised(config_key, columns, names) + _wrapped(config_key, source, head))
    how = "mapped" if given else "detected"
    return Layout(found, names, f"{_title(found, names)} columns {how}" + _mapping(given))


def _given(source: DataSource) -> dict[str, str]:
    """The mapping of the config."""
    values = {f.name: getattr(source.columns, f.name) for f in fields(source.columns)}
    return {canonical: name for canonical, name in values.items() if name}


def _evaluated(mapped: Mapped, row: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return mapped.apply(row)
    except Unusable:
        return row


def _named(given: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """Canonical name: column, from the mapping first, then from known names that the mapping leaves free."""
    free = set(columns) - set(given.values())
    names = dict(given)
    for canonical, aliases in ALIASES.items():
        if canonical not in names and (name := next((a for a in aliases if a in free), None)):
            names[canonical] = name
            free.discard(name)
    _drop_unless(names, given, "input", names.get("prompt") == "instruction")
    _drop_unless(names, given, "history", names.get("prompt") == "instruction")
    # What is mapped decides what a row is: columns that would make it something else as well are left alone.
    asked = {"prompt", "completion"} & given.keys()
    _drop_unless(names, given, "messages", not asked and "text" not in given)
    for canonical in ("prompt", "chosen", "rejected"):
        _drop_unless(names, given, canonical, "text" not in given)
    _drop_unless(names, given, "prompt", "messages" not in given)
    for canonical in ("completion", "references", "choices"):
        _drop_unless(names, given, canonical, "prompt" in names)
    _drop_unless(names, given, "text", not {"messages", "prompt", "chosen"} & names.keys())
    if not {"chosen", "rejected"} <= names.keys():
        _drop_unless(names, given, "chosen", False)
        _drop_unless(names, given, "rejected", False)
    _drop_unless(names, given, "margin", "chosen" in names)
    _keep_one_kind(names, given)
    return names


def _keep_one_kind(names: dict[str, str], given: Mapping[str, str]) -> None:
    """Tags and pairs are what a row is only where they are mapped, or where nothing else is to be seen."""
    for kind in (("tokens", "tags"), ("anchor", "positive")):
        if set(kind) <= given.keys():
            for canonical in ("text", "messages", "prompt", "completion", "chosen", "rejected", "label"):
                _drop_unless(names, given, canonical, False)
    other = {"text", "messages", "prompt", "chosen"} & names.keys()
    tagged = not other and {"tokens", "tags"} <= names.keys()
    for canonical in ("tokens", "tags"):
        _drop_unless(names, given, canonical, tagged)
    known = (names.get("anchor"), names.get("positive")) in PAIRS or not given.keys().isdisjoint(PAIRS[0])
    for canonical in ("anchor", "positive", "negative"):
        _drop_unless(names, given, canonical, known and not other and not tagged)


def _drop_unless(names: dict[str, str], given: Mapping[str, str], canonical: str, wanted: bool) -> None:
    """A name that was only guessed is not used where it would mean something else."""
    if not wanted and canonical not in given:
        names.pop(canonical, None)


def _detected(names: Mapping[str, str], given: Mapping[str, str], head: Sequence[Mapping[str, Any]]) -> Format | None:
    if "chosen" in names and "rejected" in names:
        if "prompt" in names or "messages" in names:
            return Format.preference
        return _transcripts_or_messages(names["chosen"], head)
    if "messages" in names:
        return Format.sharegpt if _speaks_sharegpt(names["messages"], head) else Format.messages
    if "prompt" in names:
        return Format.alpaca if names["prompt"] == "instruction" and not given else Format.prompt_completion
    if "tokens" in names and "tags" in names:
        return Format.tags
    if "anchor" in names and "positive" in names:
        return Format.pair
    return Format.text if "text" in names else None


def _transcripts_or_messages(column: str, head: Sequence[Mapping[str, Any]]) -> Format | None:
    for row in head:
        if isinstance(value := row.get(column), str) and "\n\nHuman:" in value:
            return Format.hh_rlhf
        if isinstance(value, list):
            return Format.preference
    return None


def _speaks_sharegpt(column: str, head: Sequence[Mapping[str, Any]]) -> bool:
    turns = (row[column][0] for row in head if isinstance(row.get(column), list) and row[column])
    first = next(turns, None)
    return isinstance(first, Mapping) and "from" in first


def _configured(
    config_key: str, wanted: Format, given: Mapping[str, str], names: dict[str, str], columns: Sequence[str]
) -> Layout:
    allowed = {*NEEDED[wanted], *FURTHER[wanted], "id", "group"}
    if outside := [canonical for canonical in given if canonical not in allowed]:
        raise ConfigError(f"{config_key}.columns.{outside[0]} has no meaning for format={wanted}")
    if wanted is Format.text and "text" in columns:
        names.setdefault("text", "text")
    if missing := [canonical for canonical in NEEDED[wanted] if canonical not in names]:
        raise ConfigError(
            f"{config_key}.format={wanted} needs {' and '.join(missing)}; the file has {', '.join(columns)}. "
            f"Map a column with {config_key}.columns.{missing[0]}=<its name>"
        )
    used = {canonical: name for canonical, name in names.items() if canonical in allowed}
    return Layout(wanted, used, f"{wanted} columns configured" + _mapping(given))


def _title(found: Format, names: Mapping[str, str]) -> str:
    if found in (Format.alpaca, Format.prompt_completion) and "completion" not in names:
        return "prompt (no answer)"
    if found is Format.preference and "messages" in names and "prompt" not in names:
        return "sharegpt preference"
    return str(found)


def _mapping(given: Mapping[str, str]) -> str:
    return f" ({', '.join(f'{canonical}={name}' for canonical, name in given.items())})" if given else ""


def _wrapped(config_key: str, source: DataSource, head: Sequence[Mapping[str, Any]]) -> str:
    """A hint where the file is one object and one of its keys holds a list of objects."""
    if len(head) != 1 or not hasattr(source, "rows"):
        return ""
    inner = [
        name for name, value in head[0].items() if isinstance(value, list) and value and isinstance(value[0], dict)
    ]
    return f". If '{inner[0]}' holds the rows, say {config_key}.rows={inner[0]}" if inner else ""


def _unrecognised(config_key: str, columns: Sequence[str], names: Mapping[str, str]) -> str:
    hint = "chosen and rejected need a prompt. " if "chosen" in names else ""
    return (
        f"{config_key}: no known layout in the columns {', '.join(columns) or '(none)'}. {hint}Known are: "
        f"{KNOWN_LAYOUTS}. Say which column is which, for example {config_key}.columns.prompt=<column> "
        f"{config_key}.columns.completion=<column>"
    )
