"""Data sets: where training samples come from."""
