"""A text a step: the different texts of an episode, and which of them belongs to each step.

Shape legend: T steps, n bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np


def join_texts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the different texts as a JSON list in UTF-8, (n,) uint8, and (T,) int64 indices."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    data = np.frombuffer(json.dumps(list(numbers), ensure_ascii=False).encode(), dtype=np.uint8)
    return data, np.array([numbers[text] for text in texts], dtype=np.int64)


def split_texts(data: np.ndarray, index: np.ndarray) -> list[str]:
    """Return the text of each step; raise ValueError or IndexError when they do not fit."""
    texts = json.loads(data.tobytes().decode())
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("expected a JSON list of texts")
    if len(index) and not 0 <= index.min() <= index.max() < len(texts):
        raise IndexError(f"indices from {index.min()} to {index.max()}, {len(texts)} texts")
    return [texts[i] for i in index]
