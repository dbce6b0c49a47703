"""Fails to import: a library that it needs is not installed."""

import no_such_library  # noqa: F401
