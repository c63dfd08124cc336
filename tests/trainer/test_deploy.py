"""What docs/how-to/deploy.md shows works as it stands there."""

import re
import runpy
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.acting_policy import ActingPolicy
from tests.support.toy import make_toy
from trainer.actor import Actor
from trainer.environment import IMAGE_PREFIX, STATE, Interface

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md").read_text()
LOOP, FEWER_STEPS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
ROBOT = """
import numpy as np

moves = []

class Robot:
    def state(self):
        return np.full(5, len(moves) / 100)

    def picture(self, camera):
        return np.full((4, 6, 3), len(moves) % 256, np.uint8)

    def move(self, action):
        moves.append(action)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs code of the page beside a robot; returns the moves and the times waited."""
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_robot.py").write_text(ROBOT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_robot", raising=False)

    def run(code):
        (tmp_path / "shown.py").write_text(code)
        names = runpy.run_path("shown.py")
        robot = names.get("Robot")
        return (robot.move.__globals__["moves"] if robot else []), waited, names

    return run


def test_the_loop_moves_a_robot_with_a_run_and_with_fewer_steps(tmp_path, run):
    toy = make_toy(tmp_path)
    assert toy.train("--set", "train.epochs=1", "--set", "train.save_dir=runs/mine") == 0
    moves, waited, _ = run(LOOP)
    assert np.stack(moves).shape == (300, 3)
    assert len(waited) == 300
    assert max(waited) <= 1 / 20
    actor = run("from trainer.actor import Actor\n" + FEWER_STEPS)[2]["actor"]
    assert actor.planner._policy.flow.num_steps == 1


class Looks(ActingPolicy):
    def predict_action(self, observation, state, generators):
        seen = observation[IMAGE_PREFIX + "head"]  # (B, To, 3, H, W)
        assert seen.dtype == torch.uint8
        return seen[:, :, 0, 0, :1].float() + 1000 * observation[STATE][:, :, :1], state


def test_the_loop_shows_the_policy_its_cameras(run, monkeypatch):
    interface = Interface(1, 1, 20.0, 5, 1, {"head": (3, 4, 6)})
    monkeypatch.setattr(Actor, "load", lambda *args, **kwargs: Actor(Looks(), interface))
    moves, _, _ = run(LOOP)
    expected = [i % 256 + 10 * i for i in range(300)]
    np.testing.assert_allclose(np.concatenate(moves), expected, rtol=1e-5)
