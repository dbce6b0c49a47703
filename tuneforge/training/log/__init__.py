"""What is seen of training."""
