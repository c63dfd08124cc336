"""Pictures without a network: words choose materials, patterns, places and light."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_collection.rendering.generators import Generator, Scene, generators
from data_collection.rendering.procedural.geometry import Geometry, geometry
from data_collection.rendering.procedural.looks import Look, look_of
from data_collection.rendering.procedural.painting import Painted
from data_collection.rendering.procedural.textures import Noise
from data_collection.rendering.procedural.vocabulary import Light
from trainer.seeding import stream_seed

_FLAT = 0.7
"""A background surface with so much of its normal upwards is ground."""

_HIGHLIGHT = 24
"""Exponent: the larger, the smaller highlights are."""


@generators.register("procedural")
class Procedural(Generator):
    """Paints every object with a surface that the foreground names, the rest as the background.

    Textures are solid, and stick to an object by the middle of what is seen of it; shading follows
    from depth alone. Words which it does not know decide what the others leave open. About 12 ms a
    picture of 128 x 128 pixels.
    """

    def generate(self, scenes: Sequence[Scene]) -> list[np.ndarray]:
        """Return a picture (H, W, 3) uint8 of each scene."""
        return [_picture(scene) for scene in scenes]


def _picture(scene: Scene) -> np.ndarray:
    look = look_of(scene.prompt)
    shape = geometry(scene.depth_hw, scene.mask_hw == 0)
    colour_hw3, gloss_hw = _surfaces(scene, look, shape)
    lit_hw3 = _lit(colour_hw3, gloss_hw, shape, look.light, _generator(scene.seed, "light"))
    return np.rint(255 * np.clip(lit_hw3, 0, 1)).astype(np.uint8)


def _generator(seed: int, name: str, number: int = 0) -> np.random.Generator:
    return np.random.default_rng(stream_seed(seed, name, number))


def _surfaces(scene: Scene, look: Look, shape: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Return colours (H, W, 3) without light, and gloss (H, W)."""
    seed, mask_hw = scene.seed, scene.mask_hw
    noise = Noise(_generator(seed, "noise"))
    colour_hw3 = np.zeros((*mask_hw.shape, 3), np.float32)
    gloss_hw = np.zeros(mask_hw.shape, np.float32)
    ground = Painted(look.ground, _generator(seed, "ground"), noise, shape.pixel)
    wall = Painted(look.wall, _generator(seed, "wall"), noise, shape.pixel)
    background_hw = mask_hw == 0
    flat_hw = shape.normal_hw3[..., 2] > _FLAT
    for painted, region_hw in ((ground, flat_hw), (wall, ~flat_hw)):
        where = background_hw & region_hw
        colour_hw3[where] = painted.colours(shape.point_hw3[where], shape.normal_hw3[where])
        gloss_hw[where] = painted.gloss
    for number in np.unique(mask_hw[~background_hw]).tolist():
        generator = _generator(seed, "object", number)
        surface = look.objects[int(generator.integers(len(look.objects)))]
        painted = Painted(surface, generator, noise, shape.pixel)
        painted.stand_apart_from(ground.brightness)
        where = mask_hw == number
        point_p3 = shape.point_hw3[where]
        middle = point_p3.mean(axis=0, dtype=np.float64).astype(np.float32)
        colour_hw3[where] = painted.colours(point_p3 - middle, shape.normal_hw3[where])
        gloss_hw[where] = painted.gloss
    return colour_hw3, gloss_hw


def _lit(
    colour_hw3: np.ndarray,
    gloss_hw: np.ndarray,
    shape: Geometry,
    light: Light,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return the colours under the light of the scene, and through its air."""
    lamp = _direction(light, generator)
    towards_hw3 = -shape.point_hw3 / np.linalg.norm(shape.point_hw3, axis=-1, keepdims=True)
    half_hw3 = towards_hw3 + lamp
    half_hw3 /= np.linalg.norm(half_hw3, axis=-1, keepdims=True) + 1e-6
    facing_hw = shape.normal_hw3 @ lamp
    # A face turned away still gets some light: its shape would be lost otherwise.
    diffuse_hw = (0.5 + 0.5 * facing_hw) ** 1.5
    highlight_hw = np.clip((half_hw3 * shape.normal_hw3).sum(-1), 0, 1) ** _HIGHLIGHT
    upwards_hw = 0.8 + 0.2 * shape.normal_hw3[..., 2]
    brightness_hw = light.ambient * upwards_hw + light.key * diffuse_hw
    brightness_hw = brightness_hw * (1 - 0.4 * shape.hidden_hw)
    tint = np.array(light.tint, np.float32) / 255
    lit_hw3 = colour_hw3 * brightness_hw[..., None] * tint
    lit_hw3 += (0.5 * light.key * gloss_hw * highlight_hw)[..., None] * tint
    beyond_hw = np.maximum(np.linalg.norm(shape.point_hw3, axis=-1) / shape.distance - 0.7, 0)
    clear_hw = np.where(shape.sky_hw, 0, np.exp(-light.density * beyond_hw))[..., None]
    return clear_hw * lit_hw3 + (1 - clear_hw) * (np.array(light.haze, np.float32) / 255)


def _direction(light: Light, generator: np.random.Generator) -> np.ndarray:
    """Return the unit vector towards the lamp, which stands somewhere behind the camera."""
    elevation = np.radians(light.elevation)
    around = generator.uniform(-0.45, 0.45) * 2 * np.pi
    aside, away = np.sin(around), -np.cos(around)
    flat = np.cos(elevation)
    return np.array([flat * aside, flat * away, np.sin(elevation)], np.float32)
