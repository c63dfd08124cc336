"""Tests; a package so that helpers in tests.support import by name."""
