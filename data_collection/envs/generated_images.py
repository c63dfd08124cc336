"""Any environment with MuJoCo cameras, its pictures generated: for evaluating what was learnt."""

from __future__ import annotations

from pathlib import Path

from pydantic import PositiveInt

from data_collection.envs.repainted import Repainted
from data_collection.generated import Draw, GeneratedConfig
from data_collection.rendering.generators import generators
from trainer.registry import environments
from trainer.schema import ComponentSpec
from trainer.signature import build


@environments.register("generated_images")
class GeneratedImages(Repainted):
    """The ``generated`` section of a ``collect.yaml`` as an environment.

    Args:
        environment: What is wrapped, ``{type, params}``.
        cameras: Whose pictures are generated.
        prompts: A prompt collection, relative to the project root.
        generator: Makes the pictures, ``{type, params}``.
        draw: A prompt for each ``episode``, or for each generated ``frame``.
        baseline_interval: Steps from one generated picture to the next.
        root: The project root.

    Raises:
        ConfigError: A component cannot be built, or they do not fit each other.
    """

    def __init__(
        self,
        *,
        environment: ComponentSpec,
        cameras: list[str],
        prompts: str,
        generator: ComponentSpec | None = None,
        draw: Draw = "episode",
        baseline_interval: PositiveInt = 7,
        root: Path,
    ) -> None:
        config = GeneratedConfig(
            cameras=cameras,
            generator=generator or ComponentSpec(type="procedural"),
            prompts=prompts,
            draw=draw,
            baseline_interval=baseline_interval,
        )
        supplied = {"root": root}
        inner = build(environments, environment, "generated_images.environment", supplied)
        maker = build(generators, config.generator, "generated_images.generator", supplied)
        super().__init__(inner, config, maker, root)
