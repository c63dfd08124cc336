import os
import pickle

import numpy as np
import pytest

from data_collection.envs.gymnasium_env import GymnasiumEnv
from data_collection.restricted_pickle import load_pickle
from data_collection.teachers import teachers
from data_collection.teachers.gaussian_mlp import GaussianMlp, load_expert
from tests.support.course import COURSE, needs_course
from trainer.environment import STATE
from trainer.errors import ConfigError, DataError
from trainer.files import sha256_of

RNG = np.random.default_rng(0)


def expert(inputs=11, hidden=4, actions=3):
    """A policy file's content whose numbers are simple: unit weights, mean 1, variance 3."""

    def layer(size, out):
        return {"AffineLayer": {"W": np.ones((size, out)), "b": np.zeros((1, out))}}

    ones = np.ones((1, inputs))
    return {
        "nonlin_type": "tanh",
        "GaussianPolicy": {
            "logstdevs_1_Da": np.zeros((1, actions)),
            "obsnorm": {"Standardizer": {"mean_1_D": ones, "meansq_1_D": 4 * ones}},
            # Sorted by name, whatever their order in the file.
            "hidden": {
                "FeedforwardNet": {
                    "layer_2": layer(hidden, hidden),
                    "layer_0": layer(inputs, hidden),
                }
            },
            "out": layer(hidden, actions),
        },
    }


@pytest.fixture
def save(tmp_path):
    def write(content):
        path = tmp_path / "expert.pkl"
        path.write_bytes(pickle.dumps(content, 2))
        return path

    return write


def test_the_action_is_the_policys_mean(save, tmp_path):
    save(expert())
    teacher, environment = GaussianMlp(tmp_path, path="expert.pkl"), GymnasiumEnv(id="Hopper-v5")
    state = np.linspace(-1, 1.5, 11).astype(np.float32)
    summed = ((state.astype(np.float64) - 1) / (np.sqrt(3) + 1e-6)).sum()
    expected = 4 * np.tanh(4 * np.tanh(summed))
    action = teacher.act(environment, {STATE: state}, RNG)
    assert action.dtype == np.float32
    np.testing.assert_allclose(action, [expected] * 3, rtol=1e-6)
    assert np.abs(action).max() > 1  # what is beyond the motors' range is not clipped
    assert teacher.checkpoint == sha256_of(tmp_path / "expert.pkl")
    assert teachers.get("gaussian_mlp") is GaussianMlp


@needs_course
@pytest.mark.parametrize("name", ["Hopper", "HalfCheetah", "Ant"])
def test_it_reproduces_the_recorded_actions(name):
    network = load_expert(COURSE / f"{name}.pkl")
    worst = 0.0
    for path in load_pickle(COURSE / f"expert_data_{name}-v2.pkl"):
        for state, action in zip(path["observation"], path["action"], strict=True):
            worst = max(worst, np.abs(network(state) - action).max())
    assert worst < 5e-6  # the observations were rounded to float32 after the expert had seen them


def test_a_hostile_expert_is_refused_and_executes_nothing(save, tmp_path):
    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    content = expert()
    content["GaussianPolicy"]["logstdevs_1_Da"] = Runs()
    save(content)
    with pytest.raises(DataError, match="refused, nothing was executed"):
        GaussianMlp(tmp_path, path="expert.pkl")
    assert not (tmp_path / "ran").exists()


def test_a_missing_expert_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nobody\.pkl: cannot be read: No such file"):
        GaussianMlp(tmp_path, path="nobody.pkl")


def without_normalizer(content):
    del content["GaussianPolicy"]["obsnorm"]


def relu(content):
    content["nonlin_type"] = "lrelu"


def wrong_sizes(content):
    content["GaussianPolicy"]["out"]["AffineLayer"]["W"] = np.ones((5, 3))


def text_for_weights(content):
    content["GaussianPolicy"]["out"]["AffineLayer"]["W"] = "many"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_normalizer, "obsnorm is missing"),
        (relu, "expected nonlin_type 'tanh', got lrelu"),
        (wrong_sizes, r"layer 2 has weights \(5, 3\)"),
        (text_for_weights, "W is no array"),
    ],
)
def test_another_layout_is_refused(save, change, message):
    content = expert()
    change(content)
    with pytest.raises(ConfigError, match=f"Gaussian policy of a course expert: {message}"):
        load_expert(save(content))


def test_a_list_is_no_expert(save):
    with pytest.raises(ConfigError, match="the content is no dictionary"):
        load_expert(save([expert()]))


def test_the_environment_of_another_expert_is_refused(save, tmp_path):
    save(expert(inputs=17))
    environment = GymnasiumEnv(id="Hopper-v5")
    with pytest.raises(
        ConfigError, match=r"takes a state of 17 numbers, the environment gives .11"
    ):
        GaussianMlp(tmp_path, path="expert.pkl").act(environment, environment.reset(0), RNG)
