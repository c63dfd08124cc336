"""An environment whose pictures are generated: what a policy sees is no longer the simulator's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_collection.envs.mujoco_views import HasViews, SimulationViews
from data_collection.episodes.schema import (
    GENERATED_SEED,
    IS_BASELINE,
    PROMPT,
    VALID_PREFIX,
)
from data_collection.generated import GeneratedConfig
from data_collection.prompts import load_prompts
from data_collection.rendering.generators import Generator
from data_collection.rendering.painter import Painter, PainterState
from trainer.environment import IMAGE_PREFIX, Environment, Observation, StepResult
from trainer.errors import ConfigError, UserError, nearest


@dataclass(frozen=True)
class _State:
    simulation: object
    painter: PainterState


class Repainted(Environment):
    """An environment with MuJoCo cameras, some of whose pictures are generated and warped.

    The simulation is not touched: the same seed and actions give the same states as without. The
    observation says beside the pictures how they came about: ``generated.is_baseline``,
    ``generated.valid.<camera>`` (bits, (H, ceil(W / 8)) uint8), ``generated.prompt`` and
    ``generated.seed``.

    Args:
        environment: What is wrapped; it belongs to the wrapper.
        config: Which cameras, from which prompts, how often.
        generator: Makes the pictures.
        root: What a relative path of the prompts starts from.

    Raises:
        ConfigError: The environment lacks a camera, or the camera depth or segmentation; or the
            prompts cannot be read.
    """

    def __init__(
        self, environment: Environment, config: GeneratedConfig, generator: Generator, root: Path
    ) -> None:
        prompts = load_prompts(root / Path(config.prompts).expanduser())
        self._environment = environment
        self._config = config
        self._prompts_sha256 = prompts.sha256
        self._views = _checked_views(environment, config.cameras)
        self._painter = Painter(
            generator,
            prompts,
            self._views.rigid_parts,
            draw=config.draw,
            baseline_interval=config.baseline_interval,
        )
        self.control_hz = environment.control_hz
        self.max_steps = environment.max_steps
        self.action_dim = environment.action_dim
        self.observation_shapes = environment.observation_shapes | self._shapes()

    @property
    def unwrapped(self) -> Environment:
        """The environment inside."""
        return self._environment.unwrapped

    def prompt_of(self, seed: int) -> str:
        """Return the prompt of the episode of ``seed``, or the first one of several."""
        return str(self._painter.prompt_of(seed))

    def reset(self, seed: int) -> Observation:
        """Start the episode of ``seed``, with the prompt that belongs to it."""
        observation = self._environment.reset(seed)
        self._painter.begin(seed)
        return self._repainted(observation)

    def step(self, action: np.ndarray) -> StepResult:
        """Apply one action (A,) for one control period."""
        result = self._environment.step(action)
        if self.imagined:
            return result
        return result._replace(observation=self._repainted(result.observation))

    def render(self) -> np.ndarray:
        """Return the simulator's own picture, for videos."""
        return self._environment.render()

    def save_state(self) -> object:
        """Return everything that decides the future, the last generated pictures included."""
        return _State(self._environment.save_state(), self._painter.state)

    def restore_state(self, state: object) -> None:
        """Return exactly to ``state``."""
        if not isinstance(state, _State):
            raise UserError(f"generated images: cannot restore a {type(state).__name__}")
        self._environment.restore_state(state.simulation)
        self._painter.state = state.painter

    @contextmanager
    def imagining(self) -> Iterator[None]:
        """Step without pictures while entered."""
        with super().imagining(), self._environment.imagining():
            yield

    def describe(self) -> dict[str, object]:
        """Return how pictures are drawn and generated."""
        generated = self._config.model_dump(mode="json") | {"prompts_sha256": self._prompts_sha256}
        return self._environment.describe() | {"generated": generated}

    def close(self) -> None:
        """Close the environment inside."""
        self._environment.close()

    def _repainted(self, observation: Observation) -> Observation:
        frames = {name: self._views.frame(name, observation) for name in self._config.cameras}
        painted = self._painter.paint(frames)
        new: Observation = {
            IS_BASELINE: np.array(painted.is_baseline),
            PROMPT: np.array(str(painted.prompt)),
            GENERATED_SEED: np.array(painted.seed, dtype=np.int64),
        }
        for name, (image_hwc, valid_hw) in painted.pictures.items():
            new[IMAGE_PREFIX + name] = np.ascontiguousarray(image_hwc.transpose(2, 0, 1))
            new[VALID_PREFIX + name] = np.packbits(valid_hw, axis=1)
        return observation | new

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {IS_BASELINE: (), PROMPT: (), GENERATED_SEED: ()}
        for name in self._config.cameras:
            camera = self._views.cameras[name]
            shapes[VALID_PREFIX + name] = (camera.height, -(-camera.width // 8))
        return shapes


def _checked_views(environment: Environment, cameras: list[str]) -> SimulationViews:
    """Return the environment's cameras; raise ConfigError when one of these will not do."""
    views = environment.views if isinstance(environment, HasViews) else None
    if views is None:
        raise ConfigError(
            f"generated images need the depth and segmentation of MuJoCo cameras, which "
            f"{type(environment).__name__} does not have; use render_mode: simulator, or another "
            "environment"
        )
    for name in cameras:
        if name not in views.cameras:
            known = ", ".join(views.cameras) or "none"
            raise ConfigError(
                f"generated.cameras: no camera {name!r}{nearest(name, views.cameras)}; the "
                f"environment's cameras: {known}"
            )
        camera = views.cameras[name]
        lacking = [m for m in ("depth", "segmentation") if not getattr(camera, m)]
        if lacking:
            raise ConfigError(
                f"generated.cameras: {name} gives no {' and no '.join(lacking)}; pictures are "
                f"generated from both: set {', '.join(f'{m}: true' for m in lacking)} in the "
                "environment's cameras"
            )
    return views
