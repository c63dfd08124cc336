import pickle
import subprocess
import sys

import numpy as np
import pytest
import yaml

from data_collection.episodes import RoundWriter, open_round, verify_round
from data_collection.import_cs285 import import_expert_data
from data_collection.restricted_pickle import load_pickle
from tests.support.course import COURSE, needs_course
from trainer.errors import DataError


def a_path(steps, state=11, action=3):
    rng = np.random.default_rng(steps)
    return {
        "observation": rng.normal(size=(steps, state)).astype(np.float32),
        "image_obs": np.zeros(0, np.uint8),
        "action": rng.normal(size=(steps, action)).astype(np.float32) * 3,
        "reward": rng.normal(size=steps).astype(np.float32),
        "next_observation": rng.normal(size=(steps, state)).astype(np.float32),
        "terminal": (np.arange(steps) == steps - 1).astype(np.float32),
    }


@pytest.fixture
def save(tmp_path):
    def write(content):
        path = tmp_path / "expert_data.pkl"
        path.write_bytes(pickle.dumps(content, 3))
        return path

    return write


def test_every_number_arrives(save, tmp_path):
    paths = [a_path(1000), a_path(7)]
    folder = import_expert_data(save(paths), "hopper", tmp_path / "round_000")
    sealed = open_round(folder)
    assert verify_round(folder) == []
    assert list(sealed.lengths) == [1000, 7]
    for number, path in enumerate(paths):
        episode = sealed.read_episode(number)
        np.testing.assert_array_equal(episode["observation.state"], path["observation"])
        for key in ("action", "executed_action"):
            np.testing.assert_array_equal(episode[key], path["action"])
        np.testing.assert_array_equal(episode["reward"], path["reward"])
        assert episode["action_valid"].all()
        assert (episode["actor"] == 0).all()
        assert not (episode["terminated"] | episode["truncated"])[:-1].any()
    # The first ran out of time, the second fell.
    ends = [[bool(sealed.array(k, e)[-1]) for k in ("terminated", "truncated")] for e in (0, 1)]
    assert ends == [[False, True], [True, False]]


def test_the_round_says_where_it_comes_from(save, tmp_path):
    sealed = open_round(import_expert_data(save([a_path(5)]), "hopper", tmp_path / "round"))
    config = yaml.safe_load(sealed.config_yaml)
    assert config["environment"] == {"type": "course_locomotion", "params": {"task": "hopper"}}
    assert config["source"]["file"] == "expert_data.pkl"
    assert config["recorded"]["control_hz"] == 125.0
    assert next(iter(sealed.manifest.values())).attributes.phase == "imported"


def test_importing_again_changes_nothing_and_goes_on_where_it_was_killed(save, tmp_path):
    data, folder = save([a_path(5), a_path(6)]), tmp_path / "round"
    whole = import_expert_data(data, "hopper", tmp_path / "whole")
    RoundWriter(folder, (whole / "config.yaml").read_text())
    first = whole / "episodes" / "imported_000000.h5"
    (folder / "episodes" / first.name).write_bytes(first.read_bytes())
    for _ in range(2):
        import_expert_data(data, "hopper", folder)
        assert (folder / "round.json").read_bytes() == (whole / "round.json").read_bytes()


def test_a_folder_with_other_data_is_left_alone(save, tmp_path):
    folder = import_expert_data(save([a_path(5)]), "hopper", tmp_path / "round")
    before = (folder / "round.json").read_bytes()
    with pytest.raises(DataError, match="sealed and takes no more episodes; start another round"):
        import_expert_data(save([a_path(6)]), "hopper", folder)
    assert (folder / "round.json").read_bytes() == before


def changed(**columns):
    return [a_path(5) | columns]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "expected a list of paths"),
        ([], "expected a list of paths"),
        ([a_path(5, state=17)], r"path 0: observation has rows of shape \(17,\), the task \(11,\)"),
        (changed(action=np.zeros((4, 3))), "path 0: 5 observations, 4 actions, 5 rewards"),
        (changed(reward="none"), "expected an array of numbers 'reward'"),
        ([a_path(0)], "path 0: 0 observations"),
        (changed(reward=np.full(5, np.nan)), "reward is NaN or infinite at step 0"),
    ],
)
def test_other_data_are_refused(save, tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        import_expert_data(save(content), "hopper", tmp_path / "round")
    assert not (tmp_path / "round" / "round.json").exists()


@needs_course
@pytest.mark.parametrize(
    ("task", "name"), [("hopper", "Hopper"), ("half_cheetah", "HalfCheetah"), ("ant", "Ant")]
)
def test_the_courses_own_data_are_imported(tmp_path, task, name):
    data = COURSE / f"expert_data_{name}-v2.pkl"
    sealed = open_round(import_expert_data(data, task, tmp_path / "round"))
    returns = [record.total_reward for record in sealed.manifest.values()]
    expected = [float(path["reward"].astype(np.float64).sum()) for path in load_pickle(data)]
    np.testing.assert_allclose(returns, expected)
    assert list(sealed.lengths) == [1000, 1000]


def test_the_command_names_the_round_or_the_error(save, tmp_path):
    def run(data):
        command = [
            sys.executable, "-m", "data_collection.import_cs285",
            "--data", str(data), "--task", "hopper", "--output", str(tmp_path / "round"),
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(save([a_path(5)]))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'round'}\n")
    absent = run(tmp_path / "absent.pkl")
    assert absent.returncode == 2
    assert (
        absent.stderr
        == f"error: {tmp_path / 'absent.pkl'}: cannot be read: No such file or directory\n"
    )
