"""Invertible changes of action coordinates, registered by file name."""
