import numpy as np

from benchmarks.course_expert import SIZES, write_arrays, write_random_expert
from data_collection.teachers.gaussian_mlp import load_expert


def test_the_arrays_are_the_network_of_the_written_expert(tmp_path):
    expert = write_random_expert(tmp_path / "expert.pkl")
    mean, std, *layers = np.load(write_arrays(expert, tmp_path / "network.npz")).values()
    assert [array.shape for array in layers[::2]] == [(17, 64), (64, 64), (64, 6)]
    state = np.linspace(-1, 1, SIZES[0])
    hidden = np.tanh(np.tanh((state - mean) / std @ layers[0] + layers[1]) @ layers[2] + layers[3])
    np.testing.assert_array_equal(load_expert(expert)(state), hidden @ layers[4] + layers[5])
