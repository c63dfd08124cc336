"""Simulated environments; each file registers one, under its own name."""
