"""Regression losses, registered by file name."""
