import mujoco
import numpy as np
import pytest

from data_collection.envs.meta_world import MetaWorld
from data_collection.rendering.cameras import CameraConfig, CameraRig
from data_collection.rendering.frames import rigid_parts
from data_collection.rendering.warp import fill, flow, warp
from data_collection.teachers.meta_world_expert import MetaWorldExpert
from trainer.errors import ConfigError

# The camera looks straight down from 2 m. With a field of view of 90° and 10 x 10 pixels a metre at
# depth d is 5 / d pixels. The box's top is at 1 m depth: there a metre is 5 pixels, and the box of
# 0.8 m covers rows and columns 3 to 6. Its joint moves it along x.
SLIDING = """
<mujoco>
  <worldbody>
    <light pos="0 0 3" dir="0 0 -1"/>
    <camera name="above" pos="0 0 2" fovy="90"/>
    <geom name="floor" type="plane" size="9 9 1"/>
    <body name="box" pos="0 0 0.5">
      <joint name="slide" type="slide" axis="1 0 0"/>
      <joint name="turn" type="hinge" axis="0 0 1"/>
      <geom type="box" size="0.39 0.39 0.5"/>
    </body>
    <body name="carrier" mocap="true" pos="0 0 2">
      <camera name="carried" fovy="90"/>
      <geom type="sphere" size="0.01" pos="0 0 0.5"/>
    </body>
  </worldbody>
</mujoco>
"""
BOX = np.s_[3:7, 3:7]


@pytest.fixture
def watch(simulate, backend):
    """Return a function that poses the model and gives a camera's frame and picture."""
    rigs = []
    model, data = simulate(SLIDING)

    def look(camera="above", slide=0.0, turn=0.0, carrier=(0, 0, 2), pixels=10, **settings):
        size = {"height": pixels, "width": pixels, "depth": True, "segmentation": True}
        config = CameraConfig(**{"camera": camera, **size, **settings})
        rigs.append(CameraRig(model, {"head": config}, backend=backend))
        data.qpos[:] = slide, turn
        data.mocap_pos[:] = carrier
        mujoco.mj_forward(model, data)
        seen = rigs[-1].render(data)
        frame = rigs[-1].frame(data, "head", seen)
        return frame, seen["observation.images.head"].transpose(1, 2, 0)

    look.model = model
    yield look
    for rig in rigs:
        rig.close()


def places(columns=0.0, rows=0.0):
    y, x = np.mgrid[0:10, 0:10] + 0.5
    return np.stack([x + columns, y + rows], axis=-1)


def test_what_slides_comes_from_where_it_was(watch):
    source, _ = watch(slide=0.0)
    target, _ = watch(slide=0.4)  # two pixels to the right
    position, depth = flow(source, target)
    moved = np.s_[3:7, 5:9]
    np.testing.assert_allclose(position[moved], places(columns=-2)[moved], atol=1e-3)
    np.testing.assert_allclose(depth[moved], 1, atol=1e-4)
    outside = np.s_[:3]
    np.testing.assert_allclose(position[outside], places()[outside], atol=1e-3)
    np.testing.assert_allclose(depth[outside], 2, atol=1e-4)


def test_what_turns_comes_from_around_the_axis(watch):
    source, _ = watch(turn=0.0)
    target, _ = watch(turn=np.pi / 2)
    position, _ = flow(source, target)
    # Seen from above y is up in the picture: a turn to the left takes (x, y) to (-y, x), so the
    # pixel in row i, column j was in column 9 - i, row j.
    y, x = np.mgrid[0:10, 0:10] + 0.5
    np.testing.assert_allclose(position[BOX], np.stack([10 - y, x], -1)[BOX], atol=1e-3)


def test_a_camera_that_moves_sees_near_things_move_more(watch):
    source, _ = watch(camera="carried", carrier=(0, 0, 2))
    target, _ = watch(camera="carried", carrier=(0.4, 0, 2))
    position, _ = flow(source, target)
    floor = np.s_[:3]
    np.testing.assert_allclose(position[floor], places(columns=1)[floor], atol=1e-3)
    box = np.s_[3:7, 1:5]
    np.testing.assert_allclose(position[box], places(columns=2)[box], atol=1e-3)


@pytest.mark.parametrize("rotate", [False, True])
def test_a_picture_moves_with_its_objects_and_the_rest_is_filled(watch, rotate):
    source, _ = watch(slide=0.0, rotate_180=rotate)
    target, _ = watch(slide=-0.4 if rotate else 0.4, rotate_180=rotate)
    box = np.full((4, 4, 3), 200, np.uint8) - np.arange(4, dtype=np.uint8)[:, None]
    picture = np.full((10, 10, 3), 50, np.uint8)
    picture[BOX] = box
    warped = warp(picture, source, target)
    expected = np.full((10, 10, 3), 50, np.uint8)
    expected[3:7, 5:9] = box
    np.testing.assert_array_equal(warped.image_hwc, expected)
    uncovered = np.ones((10, 10), bool)
    uncovered[3:7, 3:5] = False
    np.testing.assert_array_equal(warped.valid_hw, uncovered)


def test_nothing_moves_where_nothing_moved(watch):
    frame, picture = watch()
    warped = warp(picture, frame, frame)
    np.testing.assert_array_equal(warped.image_hwc, picture)
    assert warped.valid_hw.all()


def test_warping_is_nearer_to_the_truth_than_the_old_picture(simulate, opengl):
    environment = MetaWorld(
        task="drawer-open-v3",
        cameras={
            name: CameraConfig(camera=name, height=64, width=64, depth=True, segmentation=True)
            for name in ("corner2", "gripperPOV")
        },
    )
    expert, generator = MetaWorldExpert(), np.random.default_rng(0)
    observation = environment.reset(1)
    moments = []
    for _ in range(30):
        observation = environment.step(expert.act(environment, observation, generator)).observation
        moments.append(
            {
                name: (
                    environment.views.frame(name, observation),
                    observation[f"observation.images.{name}"].transpose(1, 2, 0),
                )
                for name in environment.views.cameras
            }
        )
    environment.close()
    for camera, least_db, least_gain_db in (("corner2", 40, 10), ("gripperPOV", 34, 10)):
        gained = []
        for old, new in zip(moments, moments[5:], strict=False):
            (source, picture), (target, truth) = old[camera], new[camera]
            warped = warp(picture, source, target)
            seen = warped.valid_hw
            gained.append((_psnr(warped.image_hwc[seen], truth[seen]), _psnr(picture, truth)))
        warped_db, copied_db = np.mean(gained, axis=0)
        assert warped_db > least_db
        assert warped_db > copied_db + least_gain_db


def _psnr(a, b):
    return 10 * np.log10(255**2 / np.square(a.astype(float) - b).mean())


def test_what_was_out_of_sight_is_not_valid(watch):
    source, picture = watch(camera="carried", carrier=(0, 0, 2))
    target, _ = watch(camera="carried", carrier=(0.8, 0, 2))
    warped = warp(picture, source, target)
    assert not warped.valid_hw[0, 8:].any()  # two pixels of the floor came in from the right
    assert warped.valid_hw[0, :8].all()


def test_holes_close_with_their_own_object_first():
    objects = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 3, 2]])
    picture = np.where(objects == 1, 10, 90).astype(np.uint8)[..., None].repeat(3, axis=2)
    known = np.ones((3, 4), bool)
    known[0, 1] = known[1, 1] = known[1, 2] = known[2, 2] = False
    hidden = np.where(known[..., None], picture, 0).astype(np.uint8)
    filled = fill(hidden, known, objects)
    # Object 3 is seen nowhere: it takes what is around it, once the others are whole.
    expected = picture.copy()
    expected[2, 2] = np.rint((10 * 2 + 90 * 3) / 5)
    np.testing.assert_array_equal(filled, expected)


def test_without_any_known_pixel_there_is_nothing_to_fill_with():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    filled = fill(picture, np.zeros((2, 2), bool), np.zeros((2, 2), int))
    np.testing.assert_array_equal(filled, picture)


def test_the_background_is_what_cannot_move(watch):
    parts = rigid_parts(watch.model)
    box = watch.model.body("box").id
    # floor, box, the carrier's ball (moved by hand, without a joint), and nothing
    assert parts.tolist() == [0, box, 0, 0]


def test_what_is_fixed_to_something_that_moves_is_a_part_of_its_own(simulate):
    model, _ = simulate(
        "<mujoco><worldbody><body name='case'><geom size='1'/>"
        "<body name='drawer'><joint type='slide'/><geom size='1'/>"
        "<body name='handle'><geom size='1'/></body></body></body></worldbody></mujoco>"
    )
    case, drawer = model.body("case").id, model.body("drawer").id
    assert rigid_parts(model).tolist() == [case, drawer, drawer, 0]


def test_an_orthographic_camera_is_refused(simulate, opengl):
    xml = SLIDING.replace('fovy="90"/>\n    <geom', 'fovy="3" orthographic="true"/>\n    <geom')
    model, data = simulate(xml)
    maps = {"depth": True, "segmentation": True}
    config = CameraConfig(camera="above", height=8, width=8, **maps)
    rig = CameraRig(model, {"head": config}, backend=opengl)
    seen = rig.render(data)
    with pytest.raises(ConfigError, match="orthographic"):
        rig.frame(data, "head", seen)
    rig.close()
