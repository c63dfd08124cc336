import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from data_collection.episodes import EpisodeAttributes, RoundWriter, open_round, seal, write_episode

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def curation(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("curation", BENCHMARKS / "curation.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["curation"] = module
    spec.loader.exec_module(module)
    return module


def test_the_area_counts_pairs(curation):
    scores = np.array([3.0, 1.0, 2.0, 2.0, 0.0])
    is_good = np.array([True, True, True, False, False])
    # above 2.0: 3.0, and half of 2.0; above 0.0: all three
    assert curation.auroc(scores, is_good) == pytest.approx((1.5 + 3) / 6)


def test_what_was_executed_is_learnt_within_the_robots_range(curation, tmp_path):
    writer = RoundWriter(tmp_path / "driven", "seed: 0\n")
    for number, noise in enumerate((0.0, 0.7)):
        action = np.full((3, 2), 0.5, np.float32)
        arrays = {
            "observation.state": np.zeros((3, 2), np.float32),
            "action": action,
            "executed_action": action + np.float32(noise),
            "action_valid": np.ones(3, bool),
            "actor": np.zeros(3, np.uint8),
            "reward": np.zeros(3, np.float32),
            "terminated": np.zeros(3, bool),
            "truncated": np.zeros(3, bool),
        }
        attributes = EpisodeAttributes(seed=number, success=True)
        writer.enter(write_episode(tmp_path / "driven", f"r{number}", arrays, attributes))
    seal(tmp_path / "driven")
    noisy = curation.learn_what_was_executed(tmp_path / "driven", tmp_path / "learnt")
    assert noisy.tolist() == [False, True]
    learnt = open_round(tmp_path / "learnt")
    assert learnt.array("action", 0)[0].tolist() == [0.5, 0.5]
    assert learnt.array("action", 1)[0].tolist() == [1.0, 1.0]
    again = curation.learn_what_was_executed(tmp_path / "driven", tmp_path / "learnt")
    assert again.tolist() == [False, True]


@pytest.mark.slow
def test_the_study_runs(results, tmp_path):
    rows = results("curation.py", "--work", str(tmp_path))
    assert len(rows) == 4
    assert all(0 <= row["mean"] <= 1 for row in rows.values())
