import logging
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from data_collection.rendering.cameras import CameraConfig, CameraRig, observation_shapes
from trainer.errors import ConfigError
from trainer.registry import Registry
from trainer.schema import ComponentSpec
from trainer.signature import build

GEOM = int(mujoco.mjtObj.mjOBJ_GEOM)
SITE = int(mujoco.mjtObj.mjOBJ_SITE)
CORNERS = ("corner", "corner2", "corner3", "corner4")

# The camera looks straight down from 2 m. With 10 x 10 pixels and a field of view of 90° pixel
# (row i, column j) looks at x = 0.2 j - 0.9, y = 0.9 - 0.2 i, for each metre of depth. So the top
# of the pillar (at 1.5 m depth, around x = 0.45, y = 0.75) fills pixel (2, 6) and no other.
TABLE = """
<mujoco>
  <worldbody>
    <light pos="0 0 3" dir="0 0 -1"/>
    <camera name="above" pos="0 0 2" fovy="90"/>
    <camera name="aside" pos="2 0 2" fovy="90"/>
    <geom name="floor" type="plane" size="9 9 1" rgba="0.5 0.5 0.6 1"/>
    <geom name="pillar" type="box" pos="0.45 0.75 0.25" size="0.1 0.1 0.25" rgba="1 0 0 1"/>
    <site name="goal" type="box" pos="-0.45 -0.45 0.25" size="0.1 0.1 0.25" rgba="0 1 0 1"/>
  </worldbody>
</mujoco>
"""


def above(**settings):
    size = {"height": 10, "width": 10}
    maps = {"depth": True, "segmentation": True}
    return CameraConfig(**{"camera": "above", **size, **maps, **settings})


def filled(value, pixels):
    image = np.full((10, 10), value[0], np.float32)
    for row, column in pixels:
        image[row, column] = value[1]
    return image


@pytest.fixture
def pick_place():
    def start():
        simulation = ALL_V3_ENVIRONMENTS["pick-place-v3"]()
        simulation._set_task_called = True
        simulation._freeze_rand_vec = False
        simulation.seeded_rand_vec = True
        simulation.seed(3)
        simulation.reset()
        return simulation

    return start


def test_a_picture_shows_what_geometry_says(backend, simulate):
    model, data = simulate(TABLE)
    rig = CameraRig(model, {"top": above()}, backend=backend)
    seen = rig.render(data)
    rig.close()
    depth = seen["observation.depth.top"]
    np.testing.assert_allclose(depth[0], filled((2.0, 1.5), [(2, 6)]), atol=2e-5)
    ids, kinds = seen["observation.segmentation.top"]
    np.testing.assert_array_equal(ids, filled((0, 1), [(2, 6)]))
    np.testing.assert_array_equal(kinds, GEOM)
    red, green, blue = seen["observation.images.top"].astype(int)
    assert red[2, 6] > 100
    assert max(green[2, 6], blue[2, 6]) < 20
    assert (blue > red).sum() == 99
    assert (depth.dtype, ids.dtype) == (np.float32, np.int32)


def test_turning_moves_every_layer_by_180_degrees(backend, simulate):
    model, data = simulate(TABLE)
    cameras = {
        "known": above(),
        "asked": above(rotate_180=True, camera="free"),
        "refused": above(rotate_180=False),
        "plain": above(camera="aside", depth=False, segmentation=False),
    }
    rig = CameraRig(model, cameras, backend=backend, upside_down=["above"])
    seen = rig.render(data)
    straight = CameraRig(model, {"asked": above(camera="free")}, backend=backend).render(data)
    for kind in ("images", "depth", "segmentation"):
        known, refused = (seen[f"observation.{kind}.{name}"] for name in ("known", "refused"))
        np.testing.assert_array_equal(known, refused[:, ::-1, ::-1])
        key = f"observation.{kind}.asked"
        np.testing.assert_array_equal(seen[key], straight[key][:, ::-1, ::-1])
    assert seen["observation.segmentation.known"][0, 7, 3] == 1
    turned = {name: c["rotate_180"] for name, c in rig.describe()["cameras"].items()}
    assert turned == {"known": True, "asked": True, "refused": False, "plain": False}


def test_cameras_of_any_size_share_a_renderer(backend, simulate):
    model, data = simulate(TABLE)
    cameras = {"top": above(), "wide": above(height=6, width=14), "tall": above(height=16, width=4)}
    rig = CameraRig(model, cameras, backend=backend)
    seen = rig.render(data)
    assert {key: array.shape for key, array in seen.items()} == observation_shapes(cameras)
    assert rig.shapes == observation_shapes(cameras)
    assert all(array.flags.c_contiguous for array in seen.values())
    for name in cameras:
        alone = CameraRig(model, {name: cameras[name]}, backend=backend).render(data)
        for key, array in alone.items():
            np.testing.assert_array_equal(seen[key], array)
    channels_last = np.moveaxis(seen["observation.images.wide"], 0, -1)
    np.testing.assert_array_equal(rig.picture(data, "wide"), channels_last)


def test_sites_are_drawn_only_on_demand(opengl, simulate):
    model, data = simulate(TABLE)
    cameras = {"hidden": above(), "shown": above(show_sites=True)}
    seen = CameraRig(model, cameras, backend=opengl).render(data)
    kinds = seen["observation.segmentation.shown"][1]
    np.testing.assert_array_equal(kinds, filled((GEOM, SITE), [(6, 3)]))
    changed = (seen["observation.images.hidden"] != seen["observation.images.shown"]).any(0)
    np.testing.assert_array_equal(changed, kinds == SITE)


def test_ray_casting_says_that_it_draws_no_sites(simulate, caplog):
    model, _ = simulate(TABLE)
    cameras = {"quiet": above(), "marked": above(show_sites=True)}
    CameraRig(model, cameras, backend="raycast")
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "ray casting draws no sites, which marked should show"
    ]


def test_rendering_leaves_simulation_and_model_bit_identical(backend, pick_place):
    def play(render):
        simulation = pick_place()
        rng = np.random.default_rng(0)
        rig = CameraRig(
            simulation.model,
            {"a": above(camera="corner2"), "b": above(camera="gripperPOV", show_sites=True)},
            backend=backend,
        )
        history = []
        for _ in range(25):
            observation = simulation.step(rng.uniform(-1, 1, 4).astype(np.float32))[0]
            if render:
                rig.render(simulation.data)
            history.append(np.concatenate([observation, simulation.data.qpos]))
        rig.close()
        size = mujoco.mj_sizeModel(simulation.model)
        model = np.empty(size, np.uint8)
        mujoco.mj_saveModel(simulation.model, None, model)
        return np.array(history).tobytes(), model.tobytes()

    assert play(render=True) == play(render=False)


def test_ray_casting_agrees_with_opengl(opengl, pick_place):
    simulation = pick_place()
    names = ["topview", *CORNERS, "behindGripper", "gripperPOV"]
    cameras = {name: above(camera=name, height=64, width=64) for name in names}
    one = CameraRig(simulation.model, cameras, backend=opengl).render(simulation.data)
    other = CameraRig(simulation.model, cameras, backend="raycast").render(simulation.data)
    same = np.concatenate(
        [one[key][0] == other[key][0] for key in one if "segmentation" in key], axis=1
    )
    assert same.mean() >= 0.997
    error = np.concatenate(
        [np.abs(one[key] - other[key])[0] for key in one if "depth" in key], axis=1
    )
    assert np.median(error[same]) < 2e-6
    assert np.quantile(error[same], 0.99) < 1e-3


def test_corner_cameras_come_out_the_right_way_up(backend, pick_place):
    simulation = pick_place()
    cameras = {name: above(camera=name, height=64, width=64) for name in CORNERS}
    rig = CameraRig(simulation.model, cameras, backend=backend, upside_down=CORNERS)
    body_of_geom = simulation.model.geom_bodyid
    seen = rig.render(simulation.data)
    for name in CORNERS:
        ids = seen[f"observation.segmentation.{name}"][0]
        bodies = np.where(ids < 0, -1, body_of_geom[ids])
        shoulder, table = (
            np.nonzero(bodies == simulation.model.body(body).id)[0].mean()
            for body in ("right_l1", "tablelink")
        )
        assert shoulder < table, name


def test_rigs_do_not_disturb_each_other(backend, simulate):
    model, data = simulate(TABLE)
    first = CameraRig(model, {"top": above()}, backend=backend)
    expected = first.render(data)["observation.images.top"]
    second = CameraRig(model, {"top": above(height=30, width=30)}, backend=backend)
    second.render(data)
    np.testing.assert_array_equal(first.render(data)["observation.images.top"], expected)
    second.close()
    second.close()
    np.testing.assert_array_equal(first.render(data)["observation.images.top"], expected)
    first.close()


def test_shadows_are_left_out_unless_asked_for(opengl, simulate):
    model, data = simulate(TABLE.replace('pos="0 0 3" dir="0 0 -1"', 'pos="2 2 2" dir="-1 -1 -1"'))
    cameras = {"top": above(height=60, width=60)}
    fast, full = (
        CameraRig(model, cameras, backend=opengl, fast=fast).render(data) for fast in (True, False)
    )
    brightness = [seen["observation.images.top"].sum(0, dtype=int) for seen in (fast, full)]
    floor = full["observation.segmentation.top"][0] == 0
    assert (brightness[0] - brightness[1])[floor].max() > 40


def test_a_rig_describes_what_decides_its_pixels(simulate):
    model, _ = simulate(TABLE)
    rig = CameraRig(model, {"top": above(depth=False)}, backend="raycast")
    assert rig.describe() == {
        "backend": "raycast",
        "fast": True,
        "cameras": {
            "top": {
                "camera": "above",
                "height": 10,
                "width": 10,
                "depth": False,
                "segmentation": True,
                "rotate_180": False,
                "show_sites": False,
            }
        },
    }


def test_an_unknown_camera_names_the_nearest_and_all(simulate):
    model, _ = simulate(TABLE)
    with pytest.raises(ConfigError) as raised:
        CameraRig(model, {"top": above(camera="abov")}, backend="raycast")
    assert str(raised.value) == (
        "cameras.top.camera: the model has no camera 'abov' (did you mean 'above'?); "
        "its cameras: above, aside, free"
    )


@pytest.mark.parametrize("name", ["to p", "left.top", "a/b", ""])
def test_a_name_that_cannot_be_part_of_a_key_is_refused(simulate, name):
    model, _ = simulate(TABLE)
    with pytest.raises(ConfigError, match="batch key"):
        CameraRig(model, {name: above()}, backend="raycast")


@pytest.mark.parametrize(
    ("setting", "value"), [("height", 0), ("width", -3), ("height", 1 << 20), ("dept", True)]
)
def test_a_wrong_setting_is_named_with_its_place(setting, value):
    stages = Registry("stage")

    @stages.register("stage")
    class Stage:
        def __init__(self, *, cameras: dict[str, CameraConfig]):
            self.cameras = cameras

    good = {"camera": "above", "height": 10, "width": 10}
    cameras = build(
        stages, ComponentSpec(type="stage", params={"cameras": {"top": good}}), "env"
    ).cameras
    assert cameras["top"] == CameraConfig(**good)
    spec = ComponentSpec(type="stage", params={"cameras": {"top": good | {setting: value}}})
    with pytest.raises(ConfigError, match=rf"env\.params\.cameras\.top\.{setting}"):
        build(stages, spec, "env")


def test_a_forgotten_rig_ends_with_the_process_quietly(backend, tmp_path):
    model = tmp_path / "table.xml"
    model.write_text(TABLE)
    program = (
        "import mujoco\n"
        "from data_collection.rendering.cameras import CameraConfig, CameraRig\n"
        f"model = mujoco.MjModel.from_xml_path({str(model)!r})\n"
        "cameras = {'top': CameraConfig(camera='above', height=8, width=8)}\n"
        f"rig = CameraRig(model, cameras, backend={backend!r})\n"
        "rig.render(mujoco.MjData(model))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
