import numpy as np
import pytest

from data_collection.prompts import PromptCollection
from data_collection.rendering.frames import Frame, Viewpoint
from data_collection.rendering.generators import Generator, Prompt
from data_collection.rendering.painter import Painter
from trainer.errors import UserError

PROMPTS = PromptCollection(
    tuple(Prompt(f"front {i}", f"back {i}") for i in range(50)), np.full(50, 0.02), "0"
)
PARTS = np.array([0, 5])


class Numbered(Generator):
    """Paints its n-th call in the colour n, and remembers the scenes."""

    def __init__(self, shape=(4, 4, 3), dtype=np.uint8):
        self.scenes = []
        self.calls = 0
        self._shape, self._dtype = shape, dtype

    def generate(self, scenes):
        self.scenes += scenes
        self.calls += 1
        return [np.full(self._shape, 10 * self.calls, self._dtype) for _ in scenes]


@pytest.fixture
def frame():
    viewpoint = Viewpoint(np.array([4.0, 4.0]), np.array([2.0, 2.0]), np.zeros(3), np.eye(3))
    objects = np.zeros((4, 4), np.int32)
    objects[0] = 1
    poses = np.zeros((2, 3)), np.tile(np.eye(3), (2, 1, 1))
    return Frame(np.full((4, 4), 2, np.float32), objects, viewpoint, *poses)


def painter(generator, draw="episode", interval=3):
    return Painter(generator, PROMPTS, PARTS, draw=draw, baseline_interval=interval)


def colour(painted):
    return int(painted.pictures["head"].image_hwc[0, 0, 0])


def test_every_so_many_steps_a_picture_is_generated_and_carried_on(frame):
    generator = Numbered()
    paint = painter(generator)
    paint.begin(1)
    painted = [paint.paint({"head": frame}) for _ in range(7)]
    assert [p.is_baseline for p in painted] == [True, False, False, True, False, False, True]
    assert [colour(p) for p in painted] == [10, 10, 10, 20, 20, 20, 30]
    assert all(p.pictures["head"].valid_hw.all() for p in painted)


def test_an_interval_of_one_generates_every_picture(frame):
    generator = Numbered()
    paint = painter(generator, interval=1)
    paint.begin(1)
    assert all(paint.paint({"head": frame}).is_baseline for _ in range(3))


def test_the_scene_has_the_parts_of_what_is_seen(frame):
    generator = Numbered()
    paint = painter(generator)
    paint.begin(1)
    paint.paint({"head": frame, "left": frame})
    head, left = generator.scenes
    np.testing.assert_array_equal(head.mask_hw, PARTS[frame.object_hw])
    np.testing.assert_array_equal(head.depth_hw, frame.depth_hw)
    assert (head.prompt, head.seed) == (left.prompt, left.seed)
    assert generator.calls == 1


@pytest.mark.parametrize(("draw", "different"), [("episode", 1), ("frame", 4)])
def test_prompts_are_drawn_per_episode_or_per_picture(frame, draw, different):
    generator = Numbered()
    paint = painter(generator, draw)
    drawn = {}
    for seed in (3, 4, 3):
        paint.begin(seed)
        painted = [paint.paint({"head": frame}) for _ in range(12)]
        drawn.setdefault(seed, []).append([(p.prompt, p.seed) for p in painted])
        assert paint.prompt_of(seed) == painted[0].prompt
    once, again = drawn[3]
    assert once == again
    assert len({seed for _, seed in once}) == different
    assert once != drawn[4][0]


def test_an_episode_goes_on_from_a_state(frame):
    paint = painter(Numbered())
    paint.begin(1)
    for _ in range(2):
        paint.paint({"head": frame})
    state = paint.state
    first = [colour(paint.paint({"head": frame})) for _ in range(1)]
    paint.begin(9)
    paint.paint({"head": frame})
    paint.state = state
    assert [colour(paint.paint({"head": frame})) for _ in range(1)] == first == [10]


@pytest.mark.parametrize("wrong", [{"shape": (4, 5, 3)}, {"dtype": np.float32}])
def test_a_generator_has_to_give_pictures_of_the_right_kind(frame, wrong):
    paint = painter(Numbered(**wrong))
    paint.begin(1)
    with pytest.raises(UserError, match=r"Numbered gave .*expected uint8 pictures of .*4, 4, 3"):
        paint.paint({"head": frame})
