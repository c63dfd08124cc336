"""Generated pictures over an episode: one every so many steps, and warped ones in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from data_collection.generated import Draw
from data_collection.prompts import PromptCollection
from data_collection.rendering.frames import Frame
from data_collection.rendering.generators import Generator, Prompt, Scene
from data_collection.rendering.warp import Warped, warp
from trainer.errors import UserError
from trainer.seeding import stream_seed


@dataclass(frozen=True, eq=False)
class Painted:
    """What replaces the pictures of one step."""

    pictures: Mapping[str, Warped]
    """By camera."""
    is_baseline: bool
    """Whether they were generated just now, not warped."""
    prompt: Prompt
    seed: int
    """Of the generated pictures."""


@dataclass(frozen=True, eq=False)
class _Baseline:
    """The pictures that were generated last, and the moment they show."""

    images: Mapping[str, np.ndarray]
    frames: Mapping[str, Frame]
    prompt: Prompt
    seed: int


@dataclass(frozen=True)
class PainterState:
    """Where an episode stands."""

    episode_seed: int = 0
    step: int = 0
    baseline: _Baseline | None = None


class Painter:
    """Paints one episode after the other; what it paints depends on frames and seed alone.

    Args:
        generator: Makes the pictures.
        prompts: What they show.
        parts_n: The number of the rigid part of each object of a frame, 0 for the background.
        draw: See ``GeneratedConfig``.
        baseline_interval: See ``GeneratedConfig``.
    """

    def __init__(
        self,
        generator: Generator,
        prompts: PromptCollection,
        parts_n: np.ndarray,
        *,
        draw: Draw,
        baseline_interval: int,
    ) -> None:
        self._generator = generator
        self._prompts = prompts
        self._parts_n = parts_n
        self._draw = draw
        self._interval = baseline_interval
        self.state = PainterState()
        """May be kept, and set to go back there."""

    def begin(self, seed: int) -> None:
        """Start the episode of a seed."""
        self.state = PainterState(seed)

    def paint(self, frames: Mapping[str, Frame]) -> Painted:
        """Return the pictures of the episode's next step, by camera.

        Raises:
            UserError: The generator gives something else than a picture for each camera.
        """
        state, baseline = self.state, self.state.baseline
        is_due = state.step % self._interval == 0
        if is_due or baseline is None:
            baseline = self._generate(frames, state.step // self._interval)
            pictures = {
                name: Warped(image, np.ones(image.shape[:2], bool))
                for name, image in baseline.images.items()
            }
        else:
            pictures = {
                name: warp(baseline.images[name], baseline.frames[name], frame)
                for name, frame in frames.items()
            }
        self.state = replace(state, step=state.step + 1, baseline=baseline)
        return Painted(pictures, is_due, baseline.prompt, baseline.seed)

    def prompt_of(self, episode_seed: int) -> Prompt:
        """Return the first prompt of an episode, its only one unless each frame draws its own."""
        return self._draws(episode_seed, 0)[0]

    def _draws(self, episode_seed: int, number: int) -> tuple[Prompt, int]:
        """Return prompt and seed of the episode's generated picture of this number."""
        indices = (number,) if self._draw == "frame" else ()
        prompt = self._prompts.draw(stream_seed(episode_seed, "prompt", *indices))
        return prompt, stream_seed(episode_seed, "picture", *indices)

    def _generate(self, frames: Mapping[str, Frame], number: int) -> _Baseline:
        prompt, seed = self._draws(self.state.episode_seed, number)
        scenes = [
            Scene(frame.depth_hw, self._parts_n[frame.object_hw], prompt, seed)
            for frame in frames.values()
        ]
        images = self._generator.generate(scenes)
        wanted = [(*scene.depth_hw.shape, 3) for scene in scenes]
        if [image.shape for image in images] != wanted or any(i.dtype != np.uint8 for i in images):
            given = [f"{image.dtype} {image.shape}" for image in images]
            raise UserError(
                f"the generator {type(self._generator).__name__} gave {given}, expected uint8 "
                f"pictures of the shapes {wanted}"
            )
        return _Baseline(dict(zip(frames, images, strict=True)), dict(frames), prompt, seed)
