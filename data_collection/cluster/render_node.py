"""Render nodes: actors that generate pictures for teacher nodes, several requests at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

import numpy as np
import ray
from ray.exceptions import GetTimeoutError

from data_collection.cluster.actors import find
from data_collection.cluster.messages import RoundOrder, loaded_of, parse
from data_collection.cluster.micro_batches import MicroBatches
from data_collection.cluster.news import RenderNews
from data_collection.cluster.pictures import (
    pack_pictures,
    pack_scenes,
    unpack_pictures,
    unpack_scenes,
)
from data_collection.rendering.generators import Generator, Scene, generators
from data_collection.schema import CollectConfig
from trainer.config import Loaded
from trainer.errors import ConfigError
from trainer.registry import load_plugins
from trainer.signature import build


class RenderNode:
    """Generates pictures.

    Args:
        order: A ``RoundOrder`` as JSON.
    """

    def __init__(self, order: str) -> None:
        loaded = loaded_of(parse(RoundOrder, order))
        render = loaded.config.cluster.render
        self._batches: MicroBatches[Scene, np.ndarray] = MicroBatches(
            build_generator(loaded).generate,
            max_batch=render.max_batch,
            max_wait_s=render.max_wait_s,
        )

    async def render(self, scenes: bytes) -> bytes:
        """Return the pictures of packed scenes, packed."""
        return pack_pictures(await self._batches.submit(unpack_scenes(scenes)))

    async def news(self) -> str:
        """Return ``RenderNews`` as JSON."""
        batches = self._batches
        news = RenderNews(calls=batches.calls, pictures=batches.items, busy_s=batches.busy_s)
        return news.model_dump_json()


class RemoteGenerator(Generator):
    """The render nodes of a round as a generator; callers take turns among them.

    Args:
        names: Of the nodes.
        first: Which one is asked first.
        timeout_s: After so many seconds another node is asked.
    """

    def __init__(self, names: Sequence[str], first: int, timeout_s: float) -> None:
        self._nodes = [find(name) for name in names]
        self._turn = first
        self._timeout_s = timeout_s
        self.waited_s = 0.0
        """Seconds spent waiting for pictures."""

    def generate(self, scenes: Sequence[Scene]) -> list[np.ndarray]:
        """Return a picture (H, W, 3) uint8 of each scene.

        Raises:
            TimeoutError: No node answers.
            DataError: One answers something else than pictures.
        """
        begin = time.perf_counter()
        packed = ray.put(pack_scenes(scenes))
        for _ in self._nodes:
            node = self._nodes[self._turn % len(self._nodes)]
            self._turn += 1
            try:
                pictures = cast(bytes, ray.get(node.render.remote(packed), timeout=self._timeout_s))
            except GetTimeoutError:
                continue
            self.waited_s += time.perf_counter() - begin
            return unpack_pictures(pictures)
        raise TimeoutError(f"no render node answers within {self._timeout_s:g} s")


def build_generator(loaded: Loaded[CollectConfig]) -> Generator:
    """Return the generator that a round's configuration asks for."""
    generated = loaded.config.generated
    if generated is None:
        raise ConfigError(f"{loaded.at('generated')}: no generator is configured")
    load_plugins(loaded.config.plugins, loaded.root, loaded.under("plugins"))
    at = loaded.under("generated", "generator")
    return build(generators, generated.generator, at, {"root": loaded.root})
