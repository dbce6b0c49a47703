"""From tokens to batches: padding, packing, order."""
