"""Odds ratio preference optimisation for TuneForge."""
