import json
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from data_collection.episodes import RoundWriter, open_round, verify_round
from data_collection.import_robomimic import Wanted, import_demonstrations, main
from trainer import offline_trainer
from trainer.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "own_data.md").read_text()
SUCCEEDS = (0, 2)
STEPS = {0: 20, 1: 25, 2: 18, 10: 30}


def a_demo(number):
    rng = np.random.default_rng(number)
    steps = STEPS[number]
    return {
        "obs/robot0_eef_pos": rng.normal(size=(steps, 3)),
        "obs/robot0_gripper_qpos": rng.normal(size=(steps, 2)),
        "obs/object": rng.normal(size=(steps, 4)),
        "obs/agentview_image": rng.integers(0, 256, (steps, 4, 6, 3)).astype(np.uint8),
        "next_obs/object": rng.normal(size=(steps, 4)),
        "states": rng.normal(size=(steps, 9)),
        "actions": rng.normal(size=(steps, 7)),
        "rewards": np.where(np.arange(steps) == steps - 1, float(number in SUCCEEDS), 0.0),
        "dones": (np.arange(steps) == steps - 1).astype(np.int64),
    }


@pytest.fixture
def save(tmp_path):
    """Write a file as robomimic has them, with what is changed in demo_1 (None: left out)."""

    def write(**changes):
        path = tmp_path / "can.hdf5"
        with h5py.File(path, "w") as file:
            data = file.create_group("data")
            data.attrs["env_args"] = json.dumps({"env_name": "PickPlaceCan"})
            for number in STEPS:
                columns = a_demo(number) | (changes if number == 1 else {})
                for name, values in columns.items():
                    if values is not None:
                        data[f"demo_{number}/{name}"] = values
            file["mask/train"] = np.array([b"demo_10", b"demo_2"])
            file["mask/none"] = np.zeros(0, "S8")
            file["mask/gone"] = np.array([b"demo_3"])
        return path

    return write


ALL = Wanted(20.0)


def test_every_number_arrives(save, tmp_path):
    keys = ("object", "robot0_eef_pos")
    wanted = Wanted(20.0, keys, {"head": "agentview_image"})
    sealed = import_demonstrations(save(), wanted, tmp_path / "round_000")
    assert verify_round(sealed.folder) == []
    assert sealed.ids == ("demo_000000", "demo_000001", "demo_000002", "demo_000010")
    for episode, number in enumerate(STEPS):
        demo, found = a_demo(number), sealed.read_episode(episode)
        state = np.concatenate([demo[f"obs/{key}"] for key in keys], axis=1)
        np.testing.assert_array_equal(found["observation.state"], state.astype(np.float32))
        for key in ("action", "executed_action"):
            np.testing.assert_array_equal(found[key], demo["actions"].astype(np.float32))
        pictures = found["observation.images.head"]
        assert pictures[3, 1, 2, 4] == demo["obs/agentview_image"][3, 2, 4, 1]
        np.testing.assert_array_equal(pictures.transpose(0, 2, 3, 1), demo["obs/agentview_image"])
        np.testing.assert_array_equal(found["reward"], demo["rewards"])
        assert np.flatnonzero(found["terminated"]).tolist() == [STEPS[number] - 1]
        assert not found["truncated"].any()
        assert found["action_valid"].all()
        assert (found["actor"] == 0).all()


def test_success_is_a_reward_at_the_end_or_where_it_is_done(save, tmp_path):
    early = {"rewards": np.arange(25) == 7, "dones": np.arange(25) == 7}
    sealed = import_demonstrations(save(**early), ALL, tmp_path / "round")
    successes = [sealed.manifest[each].attributes.success for each in sealed.ids]
    assert successes == [True, True, True, False]
    episode = sealed.read_episode(1)
    assert np.flatnonzero(episode["truncated"]).tolist() == [24]
    assert not episode["terminated"].any()


def test_the_round_says_where_it_comes_from(save, tmp_path):
    sealed = import_demonstrations(save(), Wanted(20.0, filter_key="train"), tmp_path / "round")
    config = yaml.safe_load(sealed.config_yaml)
    assert sealed.ids == ("demo_000002", "demo_000010")
    assert config["source"]["file"] == "can.hdf5"
    assert config["source"]["env_args"] == {"env_name": "PickPlaceCan"}
    assert config["source"]["keys"] == ["object", "robot0_eef_pos", "robot0_gripper_qpos"]
    assert config["recorded"] == {
        "control_hz": 20.0,
        "action": 7,
        "observations": {"observation.state": [9]},
    }
    assert all(record.attributes.phase == "imported" for record in sealed.manifest.values())


def test_importing_again_changes_nothing_and_goes_on_where_it_was_killed(save, tmp_path):
    data, folder = save(), tmp_path / "round"
    whole = import_demonstrations(data, ALL, tmp_path / "whole").folder
    RoundWriter(folder, (whole / "config.yaml").read_text())
    first = whole / "episodes" / "demo_000001.h5"
    (folder / "episodes" / first.name).write_bytes(first.read_bytes())
    for _ in range(2):
        import_demonstrations(data, ALL, folder)
        assert (folder / "round.json").read_bytes() == (whole / "round.json").read_bytes()
    with pytest.raises(DataError, match="sealed and takes no more episodes"):
        import_demonstrations(data, Wanted(10.0), folder)


@pytest.mark.parametrize(
    ("wanted", "changes", "message"),
    [
        (Wanted(20.0, ("objects",)), {}, r"demo_0: no obs/objects \(did you mean 'object'\?\); th"),
        (Wanted(20.0, ("agentview_image",)), {}, r"is uint8 \(20, 4, 6, 3\), expected a vector"),
        (Wanted(20.0, (), {"a": "object"}), {}, r"float64 \(20, 4\), expected uint8 \(T, H, W, 3"),
        (Wanted(20.0, filter_key="trian"), {}, "did you mean 'train'.*; there are gone, none, tra"),
        (Wanted(20.0, filter_key="none"), {}, "mask/none names no demonstration"),
        (Wanted(20.0, filter_key="gone"), {}, "mask/gone names demo_3, not in data"),
        (ALL, {"actions": np.zeros((24, 7))}, "demo_1: expected as many rows .* 24 actions, 25 re"),
        (ALL, {"actions": np.zeros((25, 6))}, r"demo_1: sizes .*\(6,\).*, but those of .*demo_0"),
        (ALL, {"rewards": None}, "demo_1: no rewards; there are actions, dones"),
        (ALL, {"rewards": np.full(25, np.nan)}, "demo_000001: reward is NaN or infinite at step 0"),
        (
            ALL,
            {"actions": np.full((25, 7), b"x")},
            r"actions is \|S1 .*, expected numbers \(T, A\)",
        ),
    ],
)
def test_other_data_are_refused_in_one_line(save, tmp_path, wanted, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        import_demonstrations(save(**changes), wanted, tmp_path / "round")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "round" / "round.json").exists()


def test_what_is_no_such_file_is_refused(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(DataError, match="file is not there"):
        import_demonstrations(path, ALL, tmp_path / "round")
    path.write_text("no data")
    with pytest.raises(DataError, match="is not an HDF5 file"):
        import_demonstrations(path, ALL, tmp_path / "round")
    with h5py.File(path, "w") as file:
        file["episodes"] = 1
    with pytest.raises(DataError, match=r"expected robomimic's layout.*it has episodes"):
        import_demonstrations(path, ALL, tmp_path / "round")
    with h5py.File(path, "w") as file:
        file["data/demo_0/states"] = np.zeros((3, 2))
    with pytest.raises(DataError, match=r"no group obs .*dataset_states_to_obs.py adds it"):
        import_demonstrations(path, ALL, tmp_path / "round")
    with h5py.File(path, "w") as file:
        file["data/demo_1/actions"] = file["data/demo_01/actions"] = np.zeros((3, 2))
    with pytest.raises(DataError, match="two demonstrations have the same number"):
        import_demonstrations(path, ALL, tmp_path / "round")
    with pytest.raises(ConfigError, match="one name for two"):
        main([str(path), "--save_dir", "x", "--control_hz", "1", "--cameras", "a=b", "a=c"])


def test_the_pages_command_imports_what_the_next_one_trains_on(save, tmp_path, monkeypatch, capsys):
    save()
    monkeypatch.chdir(tmp_path)
    command, train = (
        shlex.split(line)
        for line in re.findall(r"^python .*(?:can\.hdf5|data/can).*$", PAGE, re.MULTILINE)
    )
    assert main(command[3:]) == 0
    out = capsys.readouterr().out
    assert "4 episodes, 2 of them successes" in out
    options = out.splitlines()[-1]
    assert (
        options == "--set interface.state=9 --set interface.action=7 --set interface.control_hz=20"
    )
    sealed = open_round(tmp_path / "data" / "can" / "round_000")
    assert sealed.cameras() == ["agentview"]
    moved = {"data/can": tmp_path / "data" / "can", "runs/can": tmp_path / "runs"}
    given = [
        re.sub("|".join(moved), lambda found: str(moved[found[0]]), each) for each in train[4:]
    ]
    assert all(option in given for option in options.split())
    short = [
        *("--set", "train.steps=2", "--set", "train.save_every=2", "--set", "logging=[]"),
        *("--set", "data.batch_size=8"),
    ]
    arguments = ["--train_config", str(ROOT / train[3]), *given, *short]
    assert offline_trainer.main(arguments) == 0
    assert (tmp_path / "runs" / "epoch_1").is_dir()
