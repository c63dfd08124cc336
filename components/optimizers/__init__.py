"""Optimizers with their learning-rate schedules, registered by file name."""
