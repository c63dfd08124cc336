import numpy as np
import pytest

from data_collection.rendering.generators import Prompt, Scene, generators
from data_collection.rendering.generators.procedural import Procedural

PLAIN = Prompt("red plastic", "blue concrete, studio")


def scene(prompt=PLAIN, seed=0, height=32, width=40, box=1.4, far=False):
    """A floor that goes away from the camera, with two boxes on it."""
    depth = np.linspace(3, 2, height, dtype=np.float32)[:, None].repeat(width, 1)
    mask = np.zeros((height, width), np.int32)
    mask[10:20, 5:15], mask[10:20, 25:35] = 7, 9
    depth[mask > 0] = box
    if far:
        depth[:6] = 80
    return Scene(depth, mask, prompt, seed)


def picture(*args, **kwargs):
    (image,) = Procedural().generate([scene(*args, **kwargs)])
    return image.astype(int)


def mean(image, where):
    return image[where].mean(axis=0)


def test_it_is_registered_under_its_name():
    assert generators.get("procedural") is Procedural


def test_the_same_scene_gives_the_same_bits_whichever_others_it_comes_with():
    scenes = [scene(seed=1), scene(Prompt("gold", "a forest"), 2, 24, 24), scene(seed=3, box=1.1)]
    together = Procedural().generate(scenes)
    alone = [Procedural().generate([each])[0] for each in scenes]
    for one, other, given in zip(together, alone, scenes, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape == (*given.depth_hw.shape, 3)
        assert one.dtype == np.uint8


def test_it_changes_nothing_that_it_is_given():
    given = scene()
    before = given.depth_hw.copy(), given.mask_hw.copy()
    given.depth_hw.setflags(write=False)
    given.mask_hw.setflags(write=False)
    Procedural().generate([given])
    np.testing.assert_array_equal(given.depth_hw, before[0])
    np.testing.assert_array_equal(given.mask_hw, before[1])


def test_words_choose_the_colours_of_objects_and_of_what_is_around_them():
    image = picture()
    objects = scene().mask_hw > 0
    red, _, blue = mean(image, objects)
    assert red > 2 * blue
    red, _, blue = mean(image, ~objects)
    assert blue > 2 * red


def test_what_is_said_of_the_background_leaves_objects_alone_but_for_the_light():
    objects = scene().mask_hw > 0
    one, other = (
        picture(Prompt("red plastic", f"{colour} plaster, studio"))
        for colour in ("white", "yellow")
    )
    np.testing.assert_allclose(mean(one, objects), mean(other, objects), atol=12)
    assert np.abs(mean(one, ~objects) - mean(other, ~objects)).max() > 40


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"prompt": Prompt("gold wood", "blue concrete, studio")},
        {"prompt": Prompt("red plastic", "blue concrete, night")},
        {"prompt": Prompt("red plastic", "blue bricks, studio")},
    ],
)
def test_seed_and_words_change_the_picture(other):
    assert np.abs(picture(**other) - picture()).mean() > 2


def test_unknown_words_decide_what_known_ones_leave_open():
    one, again = (picture(Prompt("a frobnicated gizmo", "the quux")) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    other = picture(Prompt("a grommeted widget", "the quux"))
    objects = scene().mask_hw > 0
    assert np.abs(one - other)[objects].mean() > 5


def test_shading_shows_the_shape():
    # One object, a roof: its two sides face different ways, but are of the same material.
    across = np.abs(np.arange(40) - 19.5)
    depth = (1.5 + 0.02 * across[None].repeat(32, 0)).astype(np.float32)
    given = Scene(depth, np.full((32, 40), 3), Prompt("white plastic", "studio"), 5)
    (image,) = Procedural().generate([given])
    left, right = mean(image, np.s_[:, 2:17]), mean(image, np.s_[:, 23:38])
    assert np.abs(left - right).max() > 10


def test_where_there_is_nothing_there_is_the_colour_of_the_air():
    image = picture(far=True)
    assert len(np.unique(image[:5].reshape(-1, 3), axis=0)) == 1
    np.testing.assert_array_equal(image[0, 0], [230, 230, 230])  # of studio, in vocabulary.yaml


def test_objects_stand_out_from_ground_of_their_own_colour():
    image = picture(Prompt("grey plastic", "grey plastic, studio"))
    objects = scene().mask_hw > 0
    assert abs(mean(image, objects).mean() - mean(image, ~objects).mean()) > 8


def test_a_texture_goes_with_its_object():
    # The box moves aside by exactly four pixels; its own pixels look the same, but for the light.
    prompt = Prompt("black and white striped paint", "grey concrete, studio")

    def shifted(by):
        mask = np.zeros((32, 40), np.int32)
        mask[10:20, 5 + by : 15 + by] = 7
        depth = np.where(mask > 0, 1.0, 2.0).astype(np.float32)
        (image,) = Procedural().generate([Scene(depth, mask, prompt, 3)])
        return image[11:19, 6 + by : 14 + by].astype(int)

    here, there = shifted(0), shifted(4)
    assert here.std() > 30
    assert np.abs(here - there).mean() < 10


def test_everything_may_be_background_or_one_object_or_flat():
    depth = np.full((8, 8), 2, np.float32)
    for mask in (np.zeros((8, 8), int), np.ones((8, 8), int)):
        (image,) = Procedural().generate([Scene(depth, mask, PLAIN, 0)])
        assert image.shape == (8, 8, 3)
