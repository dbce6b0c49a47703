"""What a step takes: memory, time, and ways to take less."""
