"""Where a source's `path` leads: `bundled:helpdesk/train.jsonl` is a file that ships with TuneForge."""

from __future__ import annotations

from pathlib import Path

from tuneforge.errors import ConfigError, nearest

BUNDLED = "bundled:"
FOLDER = Path(__file__).parent.parent / "bundled"


def located(path: str) -> Path:
    """The file meant, with `~` expanded; ConfigError for a bundled file that does not exist."""
    if not path.startswith(BUNDLED):
        return Path(path).expanduser()
    name = path.removeprefix(BUNDLED)
    shipped = sorted(file.relative_to(FOLDER).as_posix() for file in FOLDER.glob("*/*.jsonl"))
    if name not in shipped:
        known = ", ".join(BUNDLED + s for s in shipped)
        raise ConfigError(f"path={path} does not ship with TuneForge ({known}).{nearest(name, shipped)}")
    return FOLDER / name
