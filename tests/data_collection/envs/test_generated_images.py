import json
from pathlib import Path

import numpy as np
import pytest

from data_collection.envs.avoiding import Avoiding
from data_collection.envs.generated_images import GeneratedImages
from data_collection.envs.gymnasium_env import GymnasiumEnv
from data_collection.envs.meta_world import MetaWorld
from data_collection.envs.repainted import Repainted
from data_collection.generated import GeneratedConfig
from data_collection.rendering.cameras import CameraConfig
from data_collection.rendering.generators import Generator
from data_collection.rendering.generators.procedural import Procedural
from trainer.errors import ConfigError, UserError
from trainer.registry import environments
from trainer.schema import ComponentSpec
from trainer.signature import build

CAMERA = {"camera": "corner2", "height": 24, "width": 20, "depth": True, "segmentation": True}
TASK = {"task": "drawer-open-v3", "state": "proprioception"}
ACTIONS = np.random.default_rng(0).uniform(-1, 1, (9, 4)).astype(np.float32)


@pytest.fixture
def root(tmp_path):
    lines = [{"foreground": f, "background": "a forge"} for f in ("steel", "oak", "ice", "gold")]
    (tmp_path / "few.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


@pytest.fixture
def make(root):
    made = []

    def build_one(environment=None, generator=None, **settings):
        if environment is None:
            cameras = {"head": CameraConfig(**CAMERA), "left": CameraConfig(**CAMERA)}
            environment = MetaWorld(**TASK, cameras=cameras)
        made.append(environment)
        config = GeneratedConfig(**{"cameras": ["head"], "prompts": "few.jsonl", **settings})
        return Repainted(environment, config, generator or Procedural(), root)

    yield build_one
    for environment in made:
        environment.close()


def play(environment, seed=3, actions=ACTIONS):
    observations = [environment.reset(seed)]
    results = [environment.step(action) for action in actions]
    return [*observations, *(result.observation for result in results)]


def assert_equal(one, other, ignore=()):
    assert one.keys() == other.keys()
    for key in one.keys() - set(ignore):
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def test_the_simulation_is_not_disturbed(make):
    generated = make()
    plain = MetaWorld(**TASK, cameras={name: CameraConfig(**CAMERA) for name in ("head", "left")})
    for seen, truth in zip(play(generated), play(plain), strict=True):
        for key, value in truth.items():
            if key == "observation.images.head":
                assert np.abs(seen[key].astype(int) - value).mean() > 5
            else:
                np.testing.assert_array_equal(seen[key], value, err_msg=key)
    plain.close()


def test_the_observation_says_how_its_pictures_came_about(make):
    environment = make(baseline_interval=4)
    observations = play(environment)
    baselines = [bool(o["generated.is_baseline"]) for o in observations]
    assert baselines == [i % 4 == 0 for i in range(10)]
    prompts = {str(o["generated.prompt"]) for o in observations}
    assert prompts == {environment.prompt_of(3)}
    assert len({int(o["generated.seed"]) for o in observations}) == 1
    for observation, is_baseline in zip(observations, baselines, strict=True):
        bits = np.unpackbits(observation["generated.valid.head"], axis=1, count=20)
        assert bits.shape == (24, 20)
        assert bits.all() or not is_baseline
    shapes = environment.observation_shapes
    for observation in observations:
        assert {key: value.shape for key, value in observation.items()} == shapes


def test_an_episode_follows_from_its_seed(make):
    environment = make(draw="frame", baseline_interval=2)
    first, again, other = play(environment, 3), play(environment, 3), play(environment, 4)
    for one, two in zip(first, again, strict=True):
        assert_equal(one, two)
    assert str(first[0]["generated.seed"]) != str(other[0]["generated.seed"])
    assert len({str(o["generated.prompt"]) for o in first + other}) > 1


def test_a_saved_state_comes_back_with_its_pictures(make):
    environment = make(baseline_interval=4)
    play(environment, 3, ACTIONS[:2])
    state = environment.save_state()
    first = [environment.step(action).observation for action in ACTIONS[2:]]
    play(environment, 8, ACTIONS[:5])
    environment.restore_state(state)
    again = [environment.step(action).observation for action in ACTIONS[2:]]
    for one, two in zip(first, again, strict=True):
        assert_equal(one, two)
    with pytest.raises(UserError, match="cannot restore a dict"):
        environment.restore_state({})


def test_what_is_only_imagined_is_not_painted(make):
    class Counting(Procedural):
        calls = 0

        def generate(self, scenes):
            self.calls += 1
            return super().generate(scenes)

    generator = Counting()
    environment = make(generator=generator, baseline_interval=1)
    environment.reset(1)
    state = environment.save_state()
    with environment.imagining():
        imagined = environment.step(ACTIONS[0]).observation
    assert imagined.keys() == {"observation.state"}
    assert generator.calls == 1
    environment.restore_state(state)
    assert "observation.images.head" in environment.step(ACTIONS[0]).observation
    assert generator.calls == 2


def test_gymnasium_environments_can_be_repainted_too(make):
    camera = CameraConfig(**{**CAMERA, "camera": "track"})
    inner = GymnasiumEnv(id="Hopper-v5", cameras={"head": camera})
    environment = make(inner)
    actions = np.random.default_rng(1).uniform(-1, 1, (6, 3)).astype(np.float32)
    observations = play(environment, 0, actions)
    assert environment.unwrapped is inner
    valid = [
        np.unpackbits(o["generated.valid.head"], axis=1, count=20).mean() for o in observations
    ]
    assert min(valid) > 0.6


def test_it_says_what_decides_its_pictures(make, root):
    described = make().describe()
    assert described["rendering"]["cameras"]["head"]["height"] == 24
    assert described["generated"]["generator"] == {"type": "procedural", "params": {}}
    before = described["generated"]["prompts_sha256"]
    (root / "few.jsonl").write_text('{"foreground": "a", "background": "b"}')
    assert make().describe()["generated"]["prompts_sha256"] != before


@pytest.mark.parametrize(
    ("cameras", "changes", "message"),
    [
        (["heads"], {}, r"no camera 'heads' \(did you mean 'head'\?\).*cameras: head"),
        (["head"], {"depth": False}, r"head gives no depth; .*set depth: true in"),
        (["head"], {"segmentation": False}, r"head gives no segmentation; .*set segmentation: t"),
        (
            ["head"],
            {"segmentation": False, "depth": False},
            r"no depth and no segmentation; .*depth: true, segmentation: true",
        ),
    ],
)
def test_cameras_that_will_not_do_are_named(make, cameras, changes, message):
    environment = MetaWorld(**TASK, cameras={"head": CameraConfig(**CAMERA | changes)})
    with pytest.raises(ConfigError, match=message):
        make(environment, cameras=cameras)


def test_a_simulator_without_depth_and_segmentation_is_refused(make):
    with pytest.raises(ConfigError, match="MuJoCo cameras, which Avoiding does not have"):
        make(Avoiding())


def test_an_environment_without_any_camera_is_refused(make):
    with pytest.raises(ConfigError, match="no camera 'head'; the environment's cameras: none"):
        make(MetaWorld(**TASK))


class TestAsAnEnvironmentOfItsOwn:
    def spec(self, **changes):
        inner = {"type": "meta_world", "params": TASK | {"cameras": {"head": CAMERA}}}
        params = {"environment": inner, "cameras": ["head"], "prompts": "few.jsonl"}
        return ComponentSpec(type="generated_images", params=params | changes)

    def test_it_shows_what_the_wrapper_shows(self, root, make):
        environment = build(environments, self.spec(), "environment", {"root": root})
        assert isinstance(environment, GeneratedImages)
        wrapped = make(MetaWorld(**TASK, cameras={"head": CameraConfig(**CAMERA)}))
        for one, two in zip(play(environment), play(wrapped), strict=True):
            assert_equal(one, two)
        environment.close()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"generator": {"type": "procedual"}}, r"no generator named 'procedual'.*procedural"),
            ({"generator": {"type": "procedural", "params": {"a": 1}}}, "unknown parameter"),
            ({"baseline_interval": 0}, r"baseline_interval: expected a value greater than 0"),
            ({"prompts": "many.jsonl"}, r"no file .*many\.jsonl"),
            ({"draw": "step"}, r"draw: expected 'episode' or 'frame'"),
            ({"environment": {"type": "meta_wolrd"}}, r"no environment named 'meta_wolrd'"),
        ],
    )
    def test_what_is_wrong_is_named(self, root, change, message):
        with pytest.raises(ConfigError, match=message):
            build(environments, self.spec(**change), "environment", {"root": root})

    def test_the_prompts_may_be_anywhere(self, root):
        spec = self.spec(prompts=str(root / "few.jsonl"))
        build(environments, spec, "environment", {"root": Path("/")}).close()


def test_a_generator_is_an_object_with_one_method():
    with pytest.raises(TypeError, match="abstract"):
        Generator()
