"""The file that says which placeholder stands for whom: outside the run directory, or encrypted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from tuneforge.errors import ConfigError
from tuneforge.preparation.personal.book import Entry

INSIDE = "data/mapping.jsonl.fernet"
"""Where an encrypted mapping stands in the run directory unless the config names a file."""


def place(path: str | None, key: str | None, folder: Path) -> Path | None:
    """The file of the mapping; None: it is not written. ConfigError for an unencrypted one in the run directory."""
    if path is None:
        return folder / INSIDE if key else None
    file = Path(path).expanduser().resolve()
    if file.is_dir():
        raise ConfigError(f"mapping={path} is a folder; name a file")
    if key is None and file.is_relative_to(folder.resolve()):
        raise ConfigError(
            f"mapping={path} would lie readable in the run directory, which is passed on; name a file outside it, or "
            "encrypt it with mapping_key=${oc.env:NAME}"
        )
    return file


def problem(key: str) -> str:
    """Why the key cannot encrypt; empty: it can. It is never part of the answer."""
    from cryptography.fernet import Fernet

    try:
        Fernet(key.encode())
    except ValueError:
        return (
            "mapping_key is no Fernet key (32 bytes as URL-safe base64); make one with python -c 'from cryptography."
            "fernet import Fernet; print(Fernet.generate_key().decode())' and keep it in an environment variable"
        )
    return ""


def write(entries: Iterable[Entry], file: Path, key: str | None) -> None:
    """JSON Lines of scope, kind, replacement, original, readable by the owner alone; encrypted where there is a key."""
    content = "".join(json.dumps(entry._asdict()) + "\n" for entry in entries).encode()
    if key is not None:
        from cryptography.fernet import Fernet

        content = Fernet(key.encode()).encrypt(content)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def read(file: Path, key: str | None = None) -> list[Entry]:
    """The entries of a mapping; ConfigError where the key does not open it."""
    content = file.read_bytes()
    if key is not None:
        from cryptography.fernet import Fernet, InvalidToken

        try:
            content = Fernet(key.encode()).decrypt(content)
        except (InvalidToken, ValueError):
            raise ConfigError(f"{file}: this key does not open the mapping") from None
    return [Entry(**json.loads(line)) for line in content.decode().splitlines()]
