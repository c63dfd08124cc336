"""How a YAML asks for generated images; nothing here imports a simulator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from trainer.schema import ComponentSpec, Strict

RenderMode = Literal["simulator", "generated"]
"""What a policy sees: the simulator's own pictures, or generated ones."""

Draw = Literal["episode", "frame"]
"""One prompt and seed for a whole episode, or new ones for each generated picture."""


class GeneratedConfig(Strict):
    """How pictures are generated."""

    cameras: Annotated[list[str], Field(min_length=1)]
    """Whose pictures are replaced; they need ``depth: true`` and ``segmentation: true``."""
    generator: ComponentSpec = ComponentSpec(type="procedural")
    prompts: str
    """A collection (JSON lines)."""
    draw: Draw = "episode"
    baseline_interval: PositiveInt = 7
    """Steps from one generated picture to the next; those in between are warped."""
