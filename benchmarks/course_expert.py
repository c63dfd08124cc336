"""An expert of the imitation-learning course: one with random weights, and any as plain arrays."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np

from data_collection.teachers.gaussian_mlp import load_expert

SIZES = (17, 64, 64, 6)
"""Of the HalfCheetah expert: state, hidden layers, action."""


def write_random_expert(file: Path) -> Path:
    """Return the file after writing an expert with random weights as the course does."""
    rng = np.random.default_rng(0)
    *hidden, out = [
        {"AffineLayer": {"W": rng.normal(0, rows**-0.5, (rows, size)), "b": np.zeros((1, size))}}
        for rows, size in pairwise(SIZES)
    ]
    moments = {"mean_1_D": np.zeros((1, SIZES[0])), "meansq_1_D": np.ones((1, SIZES[0]))}
    policy = {
        "obsnorm": {"Standardizer": moments},
        "hidden": {"FeedforwardNet": {f"layer_{i}": layer for i, layer in enumerate(hidden)}},
        "out": out,
    }
    file.write_bytes(pickle.dumps({"nonlin_type": "tanh", "GaussianPolicy": policy}, 2))
    return file


def write_arrays(expert: Path, file: Path) -> Path:
    """Return the file after writing mean, deviation, and each layer's weights and biases in it."""
    network = load_expert(expert)
    layers = [array for layer in network.layers for array in layer]
    np.savez(file, network.mean_i, network.std_i, *layers)
    return file
