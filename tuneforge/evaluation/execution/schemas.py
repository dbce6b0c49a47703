"""JSON Schemas of files and of rows, and what is wrong with an answer under one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuneforge.errors import ConfigError
from tuneforge.evaluation.execution.answers import block
from tuneforge.extras import require
from tuneforge.rows import Row


def of_file(path: str, key: str) -> Any:
    """A validator of the schema in that file. ConfigError where it is absent, no JSON or no schema."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return _validator(text, key)


def of_row(row: Row, value: Any, column: str) -> Any:
    """A validator of the row's schema, an object, a boolean or a text of JSON. ConfigError names the row."""
    return _validator(value, f"{row.place}: {column}")


def _validator(schema: Any, where: str) -> Any:
    require("jsonschema", "schema", "evaluator=json_schema")
    from jsonschema import exceptions, validators
    from referencing import Registry

    try:
        schema = json.loads(schema) if isinstance(schema, str) else schema
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: is no JSON: {error}") from error
    if not isinstance(schema, dict | bool):
        raise ConfigError(f"{where}: a schema is an object or a boolean, not {str(schema)[:80]!r}")
    draft = schema.get("$schema") if isinstance(schema, dict) else None
    kind = validators.validator_for(schema, default=None if draft else validators.Draft202012Validator)
    if kind is None:
        raise ConfigError(f"{where}: no draft of JSON Schema is called {draft!r}")
    try:
        kind.check_schema(schema)
    except exceptions.SchemaError as error:
        raise ConfigError(f"{where}: is no JSON Schema: {error.json_path}: {error.message[:200]}") from error
    return kind(schema, registry=Registry())


def fault(validator: Any, answer: str, fenced: bool, where: str) -> tuple[str, str]:
    """(`no JSON` or `not valid`, why); empty texts where nothing is wrong. ConfigError for a `$ref` to elsewhere."""
    from jsonschema import exceptions
    from referencing.exceptions import Unresolvable

    try:
        value = json.loads(block(answer, ("json",)) if fenced else answer, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        return "no JSON", str(error)
    try:
        found = exceptions.best_match(validator.iter_errors(value))
    except Unresolvable as error:
        raise ConfigError(
            f"{where}: the schema refers to {error.ref}, which it does not hold; nothing is fetched"
        ) from error
    except RecursionError:
        return "not valid", "nested too deeply"
    return ("not valid", f"{found.json_path}: {found.message[:200]}") if found else ("", "")


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
