"""Personal data in texts: recognised by patterns, presidio or a tagger, and replaced consistently."""
