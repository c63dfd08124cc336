import mujoco
import numpy as np
import pytest

from data_collection.rendering.opengl import OpenGLRenderer
from data_collection.rendering.raycast import RaycastRenderer
from data_collection.rendering.views import View, find_camera, view_option
from trainer.errors import ConfigError


def view(model, camera, height=24, width=24):
    return View(
        find_camera(model, camera), view_option(show_sites=False), height, width, True, True
    )


def scene(body, asset="", option=""):
    return f"""
    <mujoco>
      {option}
      <asset>{asset}</asset>
      <worldbody>
        <camera name="above" pos="0 0 2" fovy="90"/>
        {body}
      </worldbody>
    </mujoco>
    """


SLABS = """
<geom type="plane" size="9 9 1"/>
<geom type="box" pos="0 1.2 0.3" size="2 0.05 0.1"/>
<geom type="box" pos="0 -1.2 0.3" size="2 0.05 0.1"/>
<body pos="0.5 0 0.5">
  <geom type="sphere" size="0.1"/>
  <geom type="capsule" pos="-1.3 0.3 0" size="0.1 0.3" contype="0" conaffinity="0"/>
</body>
"""


def test_every_ray_meets_what_a_single_ray_meets(simulate):
    model, data = simulate(scene(SLABS))
    picture = RaycastRenderer(model).render(data, view(model, "above"))
    hit = np.zeros(1, np.int32)
    for row in range(24):
        for column in range(24):
            # one metre of depth in front of a camera that looks down the z axis
            ray = np.array([(2 * column + 1) / 24 - 1, 1 - (2 * row + 1) / 24, -1.0])
            distance = mujoco.mj_ray(model, data, [0, 0, 2.0], ray, None, 1, -1, hit)
            assert picture.segmentation_hwc[row, column, 0] == hit[0]
            assert picture.depth_hw[row, column] == pytest.approx(distance, rel=1e-6)
    assert set(np.unique(picture.segmentation_hwc[..., 0])) == {0, 1, 2, 3, 4}


def test_casting_leaves_the_models_bounding_volumes_in_place(simulate):
    model, data = simulate(scene(SLABS))
    before = model.body_bvhadr.copy()
    RaycastRenderer(model).render(data, view(model, "above"))
    assert (before >= 0).any()
    np.testing.assert_array_equal(model.body_bvhadr, before)


def test_a_camera_looks_through_the_bodies_that_enclose_it(simulate):
    shells = (
        '<geom type="plane" size="9 9 1"/>'
        '<body name="outer" pos="0 0 2"><geom type="box" size="0.005 0.005 0.005"/></body>'
    )
    statistic = '<statistic extent="1"/><visual><map znear="0.01" zfar="50"/></visual>'
    model, data = simulate(scene(shells, option=statistic))
    picture = RaycastRenderer(model).render(data, view(model, "above"))
    assert (picture.segmentation_hwc[..., 0] == 0).all()
    np.testing.assert_allclose(picture.depth_hw, 2.0, rtol=1e-6)


def test_what_lies_behind_the_far_plane_is_background(simulate):
    near_sighted = '<statistic extent="1"/><visual><map znear="0.01" zfar="1.9"/></visual>'
    ball = '<geom type="plane" size="9 9 1"/><geom type="sphere" pos="0 0 0.5" size="0.2"/>'
    model, data = simulate(scene(ball, option=near_sighted))
    picture = RaycastRenderer(model).render(data, view(model, "above"))
    ids, kinds = np.moveaxis(picture.segmentation_hwc, -1, 0)
    assert set(np.unique(ids)) == {-1, 1}
    np.testing.assert_array_equal(kinds[ids < 0], -1)
    np.testing.assert_allclose(picture.depth_hw[ids < 0], 1.9, rtol=1e-6)
    assert picture.depth_hw.min() == pytest.approx(1.3, abs=0.02)
    np.testing.assert_array_equal(picture.rgb_hwc[ids < 0], 127)


def test_geoms_have_their_own_colour_or_that_of_their_material(simulate):
    asset = """
    <texture name="flat" type="2d" builtin="flat" rgb1="0.2 0.4 1" width="8" height="8"/>
    <material name="cloth" texture="flat" rgba="1 0.5 0.5 1"/>
    <material name="paint" rgba="0 0 1 1"/>
    """
    body = """
    <geom type="box" pos="-0.5 0 0" size="0.2 0.2 0.1" material="cloth"/>
    <geom type="box" pos="0 0 0" size="0.2 0.2 0.1" material="paint"/>
    <geom type="box" pos="0.5 0 0" size="0.2 0.2 0.1" material="paint" rgba="0 1 0 1"/>
    <geom type="box" pos="0 0.5 0" size="0.2 0.2 0.1" material="cloth" rgba="1 1 0.5 1"/>
    """
    model, data = simulate(scene(body, asset))
    picture = RaycastRenderer(model).render(data, view(model, "above", 60, 60))
    # 0.5 m at 1.9 m depth lies 0.26 of the half width from the middle
    colours = picture.rgb_hwc[[30, 30, 30, 22], [22, 30, 37, 30]]
    # Seen from above all face the lamp alike: 0.35 + 0.65 * 0.93 = 0.9545
    expected = np.array([[0.2, 0.2, 0.5], [0, 0, 1], [0, 1, 0], [0.2, 0.4, 0.5]]) * 0.9545 * 255
    np.testing.assert_allclose(colours, expected, atol=1.5)


def test_an_orthographic_camera_is_refused(simulate):
    camera = '<camera name="flat" pos="0 0 2" orthographic="true" fovy="2"/>'
    model, data = simulate(scene(camera))
    with pytest.raises(ConfigError, match="orthographic"):
        RaycastRenderer(model).render(data, view(model, "flat"))


def test_intrinsics_off_the_centre_move_the_picture_as_opengl_does(simulate, opengl):
    camera = (
        '<camera name="lens" pos="0 0 2" resolution="30 20" sensorsize="0.3 0.2" '
        'focal="0.2 0.2" principal="0.05 -0.03"/>'
    )
    model, data = simulate(scene(SLABS + camera))
    lens = view(model, "lens", 20, 30)
    renderer = OpenGLRenderer(model, opengl, 20, 30, fast=True)
    expected = renderer.render(data, lens)
    renderer.close()
    picture = RaycastRenderer(model).render(data, lens)
    same = (picture.segmentation_hwc == expected.segmentation_hwc).all(-1)
    assert same.mean() > 0.98
    np.testing.assert_allclose(picture.depth_hw[same], expected.depth_hw[same], rtol=2e-3)
