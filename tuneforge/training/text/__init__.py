"""From rows to tokens: templates, masks, encodings."""
