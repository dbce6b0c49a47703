"""Rules that the cleaning transforms apply to one text."""
