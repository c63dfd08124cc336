"""Policies, registered by file name."""
