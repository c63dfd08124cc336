import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from components.datasets.dagger_rounds import DaggerRounds
from data_collection.collect import collect_round
from data_collection.episodes import open_round
from data_collection.schema import CollectConfig
from trainer.config import load_config
from trainer.errors import ConfigError
from trainer.interfaces import Interface

CONFIG = {
    "plugins": ["data_collection.envs.gymnasium_env", "data_collection.teachers.uniform_random"],
    "save_dir": "rounds",
    "episodes": 2,
    "keep_failures": True,
    "max_steps": 4,
    "workers": 1,
    "teacher": {"type": "uniform_random"},
    "environment": {
        "type": "gymnasium_env",
        "params": {
            "id": "InvertedPendulum-v5",
            "renderer": "raycast",
            "cameras": {"head": {"camera": "free", "height": 16, "width": 24, "depth": True}},
        },
    },
}


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "experiment_training" / "data_collection" / "pendulum" / "collect.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def collect(path, *overrides):
    return collect_round(load_config(path, CollectConfig, overrides))


def test_a_jpeg_round_holds_what_a_raw_one_does(config_file, tmp_path):
    collect(config_file, "save_dir=raw", "recording.depth=float32")
    jpeg = ["recording.images=jpeg", "recording.jpeg_quality=95", "recording.depth=millimetres"]
    folder = collect(config_file, "save_dir=jpeg", *jpeg)
    sealed = open_round(folder)
    assert sealed.extents("observation.depth.head").dtype == np.uint16
    interface = Interface(2, 2, 25, 4, 1, {"head": (3, 16, 24)})
    raw, compressed = (
        DaggerRounds(interface, tmp_path, rounds=[name], depth=["head"]).__getitems__(range(8))
        for name in ("raw", "jpeg")
    )
    head, depth = "observation.images.head", "observation.depth.head"
    error = np.abs(raw[head].numpy().astype(int) - compressed[head].numpy())
    assert 0 < error.mean() < 3
    near = raw[depth].numpy() < 65
    assert near.any()
    np.testing.assert_allclose(compressed[depth].numpy()[near], raw[depth].numpy()[near], atol=6e-4)


def test_the_rounds_config_says_what_was_seen_and_how_it_was_drawn(config_file):
    config = yaml.safe_load(open_round(collect(config_file)).config_yaml)
    recorded = config["recorded"]
    assert recorded["control_hz"] == 25
    assert recorded["action"] == 1
    assert recorded["observations"] == {
        "observation.state": [4],
        "observation.images.head": [3, 16, 24],
        "observation.depth.head": [1, 16, 24],
    }
    assert recorded["rendering"]["backend"] == "raycast"
    assert recorded["rendering"]["cameras"]["head"]["rotate_180"] is False


def test_a_round_is_not_continued_with_another_way_of_drawing(config_file):
    folder = collect(config_file)
    (folder / "round.json").unlink()  # as if it had been killed before the end
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("backend: raycast", "backend: egl"))
    with pytest.raises(ConfigError, match=r"rendering\.backend: saved .egl., now .raycast."):
        collect(config_file)
    assert not (folder / "round.json").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("environment.params.cameras.head.camera=fre", r"no camera 'fre'.*its cameras: .*free"),
        ("environment.params.cameras.head.height=0", r"cameras\.head\.height.*greater"),
        ("recording.images=jpg", r"recording\.images.*'raw' or 'jpeg'"),
    ],
)
def test_wrong_cameras_are_refused_before_anything_is_written(
    config_file, tmp_path, override, message
):
    with pytest.raises(ConfigError, match=message):
        collect(config_file, override)
    assert not (tmp_path / "rounds").exists()


def test_without_opengl_and_ray_casting_nothing_is_collected(config_file, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "data_collection.collect"),
            *("--collect_config", str(config_file)),
            *("--set", "environment.params.renderer=opengl"),
        ],
        env={**os.environ, "PYOPENGL_PLATFORM": "glx", "MUJOCO_GL": ""},  # no context fits that
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "install libegl1 and libgl1, or libosmesa6" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "rounds").exists()
