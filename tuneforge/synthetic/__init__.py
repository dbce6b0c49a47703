"""Generators: rows from grammars, seed rows and teachers."""
