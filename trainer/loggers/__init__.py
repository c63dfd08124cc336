"""Where a run's figures go. ``jsonl`` always runs; others are named under ``logging``."""
