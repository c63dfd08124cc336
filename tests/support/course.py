"""Experts and expert data of the imitation-learning course; they are not part of this project."""

from pathlib import Path

import pytest

COURSE = Path(__file__).resolve().parents[3] / "shared" / "data" / "cs285"

needs_course = pytest.mark.skipif(
    not COURSE.is_dir(), reason=f"no course experts in ../{COURSE.parent.parent.name}/data/cs285"
)
