"""Stronger models that answer requests: on a server, in this process, or from a file."""
