"""Plugins. Each file registers one component under its own file name."""
