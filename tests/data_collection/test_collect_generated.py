import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from data_collection.cast import Cast
from data_collection.collect import collect_round
from data_collection.episodes import open_round, pack, verify_round
from data_collection.episodes.texts import split_texts
from data_collection.rendering.generators.procedural import Procedural
from data_collection.replay import replay
from data_collection.schema import CollectConfig
from trainer.config import load_config
from trainer.errors import ConfigError
from trainer.rollout import RolloutJob

HEAD = {"camera": "corner2", "height": 16, "width": 20, "depth": True, "segmentation": True}
CONFIG = {
    "plugins": [
        "data_collection.envs.meta_world",
        "data_collection.teachers.meta_world_expert",
        "data_collection.rendering.generators.procedural",
    ],
    "save_dir": "rounds",
    "seed": 5,
    "episodes": 2,
    "keep_failures": True,
    "max_steps": 12,
    "environment": {
        "type": "meta_world",
        "params": {"task": "drawer-open-v3", "state": "proprioception", "cameras": {"head": HEAD}},
    },
    "render_mode": "generated",
    "generated": {"cameras": ["head"], "prompts": "few.jsonl", "baseline_interval": 5},
    "teacher": {"type": "meta_world_expert"},
    "labels": {"relabel": "rollout", "horizon": 2},
    "drivers": [{"noise": 0.2}],
    "workers": 1,
}
PROMPTS = [{"foreground": f, "background": "a forge at night"} for f in ("steel", "oak", "gold")]


@pytest.fixture
def config_file(tmp_path):
    return write_config(tmp_path)


def write_config(root, **changes):
    path = root / "experiment_training" / "data_collection" / "drawer" / "exp1" / "collect.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(CONFIG | changes))
    (root / "few.jsonl").write_text("\n".join(map(json.dumps, PROMPTS)))
    return path


def collect(path, *overrides) -> Path:
    return collect_round(load_config(path, CollectConfig, overrides))


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """A sealed round with generated images, and one with the simulator's."""
    path = write_config(tmp_path_factory.mktemp("project"))
    return collect(path), collect(path, "save_dir=plain", "render_mode=simulator")


def test_what_is_seen_is_recorded_with_how_it_came_about(collected):
    sealed = open_round(collected[0])
    for number, name in enumerate(sealed.ids):
        arrays = sealed.read_episode(number)
        steps = len(arrays["action"])
        assert arrays["generated.is_baseline"].tolist() == [i % 5 == 0 for i in range(steps)]
        assert arrays["generated.valid.head"].shape == (steps, 16, 3)
        assert arrays["generated.seed"].shape == (steps,)
        texts = split_texts(arrays["generated.prompt.text"], arrays["generated.prompt.index"])
        assert len(texts) == steps
        assert texts[0] in {f"{p['foreground']} | {p['background']}" for p in PROMPTS}
        assert sealed.manifest[name].attributes.prompt == texts[0]
        with h5py.File(sealed.file(number)) as file:  # without a copy
            pictures = arrays["observation.images.head"][::5]
            np.testing.assert_array_equal(file["generated/images/head"][...], pictures)
    assert verify_round(collected[0]) == []


def test_only_the_pictures_differ_from_a_plain_round(collected):
    generated, plain = map(open_round, collected)
    assert "render_mode: simulator" in plain.config_yaml
    for number in range(len(plain.ids)):
        ours, theirs = generated.read_episode(number), plain.read_episode(number)
        assert {key for key in ours if key not in theirs} == {
            "generated.is_baseline",
            "generated.valid.head",
            "generated.prompt.text",
            "generated.prompt.index",
            "generated.seed",
        }
        for key, value in theirs.items():
            same = np.array_equal(ours[key], value)
            assert same == (key != "observation.images.head"), key


def test_an_episode_comes_out_bit_identical_also_of_a_packed_round(collected):
    folder, root = collected[0], collected[0].parents[1]
    episodes = [folder / "episodes" / f"{name}.h5" for name in open_round(folder).ids]
    assert all(replay(episode, root).is_identical for episode in episodes)
    pack(folder)
    assert replay(episodes[1], root).is_identical


def test_pictures_may_be_recorded_as_jpeg(config_file):
    sealed = open_round(collect(config_file, "recording.images=jpeg", "episodes=1"))
    arrays = sealed.read_episode(0)
    assert "observation.images.head.data" in arrays
    assert arrays["generated.valid.head"].shape[1:] == (16, 3)
    with h5py.File(sealed.file(0)) as file:
        assert "images" not in file["generated"]


def test_a_round_is_not_continued_with_other_prompts(config_file, tmp_path):
    folder = collect(config_file)
    (folder / "round.json").unlink()  # as if it had been killed before the end
    (tmp_path / "few.jsonl").write_text(json.dumps(PROMPTS[0]))
    with pytest.raises(ConfigError, match="prompts_sha256"):
        collect(config_file)


def test_the_generator_may_be_given_from_outside(config_file):
    class Brighter(Procedural):
        def generate(self, scenes):
            return [np.maximum(image, 200) for image in super().generate(scenes)]

    loaded = load_config(config_file, CollectConfig)
    cast = Cast(loaded, slots=2, generator=Brighter())
    played = []
    jobs = [RolloutJob("a", 5), RolloutJob("b", 6)]
    cast.play(jobs, lambda result, arrays: played.append(arrays["observation.images.head"]))
    cast.close()
    assert min(pictures.min() for pictures in played) == 200


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generated=null", r"render_mode: generated needs a section generated"),
        ("render_mode=real", r"render_mode: expected 'simulator' or 'generated'"),
        ("generated.baseline_interval=0", r"generated\.baseline_interval: .*greater than 0"),
        ("generated.generator.type=procedura", r"generated\.generator\.type: no generator named"),
        ("generated.cameras=[left]", r"collect\.yaml:\d+: generated: .*no camera 'left'"),
        ("generated.cameras=[]", r"generated\.cameras: .*at least 1 item"),
        ("generated.prompts=none.jsonl", r"generated: no file .*none\.jsonl"),
        ("environment.params.cameras.head.depth=false", r"generated: .*head gives no depth"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(
    config_file, tmp_path, override, message
):
    with pytest.raises(ConfigError, match=message):
        collect(config_file, override)
    assert not (tmp_path / "rounds").exists()
