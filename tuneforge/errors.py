"""Every error that TuneForge raises on purpose, and the exit code it ends with.

TuneForgeError            1    anything that is not below
├── ConfigError           2    a key, value, path or option that the user can mend
│   └── PluginError       2    a plugin that is broken, missing or collides
├── DataRefused           3    an audit or a proof refused the data
├── GateFailed            4    the verdict did not pass the gate
└── Preempted         130/143  stopped by SIGINT or SIGTERM, checkpoint written
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TuneForgeError(Exception):
    """Base of all expected errors; its text is the whole message a user sees."""

    exit_code = 1


class ConfigError(TuneForgeError):
    """The configuration, command line or environment cannot serve this run."""

    exit_code = 2


class PluginError(ConfigError):
    """A plugin failed to load, registers something invalid, or collides with another."""


class DataRefused(TuneForgeError):
    """The proof before the first step, or an audit, refused the data."""

    exit_code = 3


class GateFailed(TuneForgeError):
    """The run finished, and its verdict did not pass the gate."""

    exit_code = 4


class Preempted(TuneForgeError):
    """SIGINT or SIGTERM arrived; a checkpoint was written and the run can be resumed."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def nearest(name: str, allowed: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the closest of the allowed names, or an empty string."""
    by_lower = {a.lower(): a for a in allowed}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.55)
    return f" Did you mean '{by_lower[close[0]]}'?" if close else ""


def printable(text: str) -> str:
    """Text from data without control characters, so that no escape sequence reaches the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
