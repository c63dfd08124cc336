import numpy as np
import pytest

from data_collection.episodes import EpisodeAttributes, RoundWriter, seal, write_episode
from data_collection.episodes.jpeg import encode_frame, join_frames
from trainer.interfaces import Interface

CONFIG = "environment: {type: toy, params: {level: 3}}\n"


@pytest.fixture
def interface():
    return Interface(obs_steps=3, chunk=4, control_hz=10, state=1, action=1)


@pytest.fixture
def episode():
    """An episode of T steps whose state is 100 + t and whose action is ``first_action`` + t."""

    def make(valid, actor, *, first_state=100, first_action=10, **extra):
        steps = np.arange(len(valid), dtype=np.float32)
        arrays = {
            "observation.state": (first_state + steps)[:, None],
            "action": (first_action + steps)[:, None],
            "action_valid": np.array(valid, bool),
            "executed_action": (first_action + steps)[:, None],
            "actor": np.array(actor, np.uint8),
            "reward": steps,
            "terminated": np.zeros(len(steps), bool),
            "truncated": np.zeros(len(steps), bool),
        }
        return arrays | {key.replace("__", "."): value for key, value in extra.items()}

    return make


@pytest.fixture
def record(tmp_path):
    def write(name, *episodes, config=CONFIG, sealed=True):
        folder = tmp_path / name
        writer = RoundWriter(folder, config)
        for number, arrays in enumerate(episodes):
            attributes = EpisodeAttributes(seed=number, success=True)
            writer.enter(write_episode(folder, f"r{number:03d}", arrays, attributes))
        if sealed:
            seal(folder)
        return folder

    return write


@pytest.fixture
def jpeg():
    """Frames (T, 3, H, W) of a camera as an episode stores them, under ``episode``'s names."""

    def encode(camera, frames):
        data, offsets = join_frames([encode_frame(frame, 90) for frame in frames])
        key = f"observation__images__{camera}"
        return {f"{key}__data": data.copy(), f"{key}__offsets": offsets}

    return encode
