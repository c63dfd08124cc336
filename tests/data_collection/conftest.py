from functools import partial

import numpy as np
import pytest

from data_collection import dagger_runner
from data_collection.episodes import EpisodeAttributes, RoundWriter, seal, write_episode
from tests.support.dagger import arguments
from tests.support.toy_round import write_round

CONFIG = "environment: {type: toy, params: {level: 3}}\n"


@pytest.fixture
def make_arrays():
    def make(seed=0, steps=5, images=False, labels=False, generated=False):
        rng = np.random.default_rng(seed)

        def floats(*shape):
            return rng.normal(size=shape).astype(np.float32)

        arrays = {
            "observation.state": floats(steps, 3),
            "action": floats(steps, 2),
            "action_valid": rng.random(steps) < 0.7,
            "executed_action": floats(steps, 2),
            "actor": rng.integers(0, 3, steps).astype(np.uint8),
            "reward": floats(steps),
            "terminated": np.zeros(steps, bool),
            "truncated": np.arange(steps) == steps - 1,
        }
        if images:
            frames = rng.integers(0, 256, (steps, 3, 4, 6)).astype(np.uint8)
            arrays["observation.images.head"] = frames
            arrays["observation.images.left.data"] = frames[:, 0, 0, 0].copy()
            arrays["observation.images.left.offsets"] = np.arange(steps + 1)
            arrays["observation.depth.head"] = rng.random((steps, 1, 4, 6)).astype(np.float16)
            ids = rng.integers(-1, 9, (steps, 2, 4, 6)).astype(np.int16)
            arrays["observation.segmentation.head"] = ids
        if generated:
            arrays["generated.is_baseline"] = np.arange(steps) % 2 == 0
            arrays["generated.valid.head"] = rng.integers(0, 256, (steps, 4, 1)).astype(np.uint8)
            arrays["generated.prompt.text"] = np.frombuffer(b'["a | b", "c"]', np.uint8)
            arrays["generated.prompt.index"] = np.arange(steps) % 2
            arrays["generated.seed"] = np.arange(steps)
        if labels:
            arrays["label.frame"] = np.arange(0, steps, 2)
            count = len(arrays["label.frame"])
            arrays["label.chunk"] = floats(count, 4, 2)
            arrays["label.valid"] = rng.random((count, 4)) < 0.8
        return arrays

    return make


@pytest.fixture
def make_round(tmp_path, make_arrays):
    def make(name="round_000", episodes=4, sealed=True, **kinds):
        folder = tmp_path / name
        writer = RoundWriter(folder, CONFIG)
        for number in range(episodes):
            arrays = make_arrays(seed=number, steps=3 + number, **kinds)
            attributes = EpisodeAttributes(seed=number, success=number % 2 == 0, prompt="go")
            writer.enter(write_episode(folder, f"rollout_{number:03d}", arrays, attributes))
        if sealed:
            seal(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return the folder of a DAgger experiment that has run; nobody changes it."""
    folder = tmp_path_factory.mktemp("dagger") / "whole"
    assert dagger_runner.main(arguments(folder)) == 0
    return folder


@pytest.fixture
def project(tmp_path):
    """Return a function that writes a collect.yaml of the toy and returns its path."""
    return partial(write_round, tmp_path)
