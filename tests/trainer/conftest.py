from pathlib import Path

import pytest
import torch

from tests.support.toy import Toy, equal_bits, make_toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return make_toy(tmp_path)


@pytest.fixture
def same_checkpoint():
    """Return a function that says which files of two checkpoints differ."""

    def compare(first: Path, second: Path) -> list[str]:
        names = sorted(p.name for p in first.glob("*.pt"))
        assert names == sorted(p.name for p in second.glob("*.pt"))
        return [
            name
            for name in names
            if not equal_bits(
                torch.load(first / name, weights_only=True),
                torch.load(second / name, weights_only=True),
            )
        ]

    return compare
