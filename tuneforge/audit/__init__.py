"""What the rows of a run are like, found before any compute is spent on them."""
