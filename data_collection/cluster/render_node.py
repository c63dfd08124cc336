"""Render nodes: actors that generate pictures for teacher nodes, several requests at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError

from data_collection.cluster.actors import find
from data_collection.cluster.messages import RoundOrder, loaded_of, parse, to_report
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
from trainer.errors import ConfigError, UserError
from trainer.registry import load_plugins
from trainer.signature import build

_log = logging.getLogger(__name__)

_LEFT_ALONE_S = 2.0
"""How long a node that does not answer is not asked again."""
_PAUSE_S = 0.2


class RenderNode:
    """Generates pictures.

    Args:
        order: A ``RoundOrder`` as JSON.
    """

    def __init__(self, order: str) -> None:
        self._order = order
        self._building = asyncio.Lock()
        self._batches: MicroBatches[Scene, np.ndarray] | None = None

    async def ready(self) -> str | None:
        """Build the generator; return the report of what a user can mend, if that is needed."""
        try:
            await self._built()
        except UserError as error:
            return to_report(error)
        return None

    async def render(self, scenes: bytes) -> bytes:
        """Return the pictures of packed scenes, packed."""
        batches = await self._built()
        return pack_pictures(await batches.submit(unpack_scenes(scenes)))

    async def news(self) -> str:
        """Return ``RenderNews`` as JSON."""
        done = self._batches
        news = RenderNews(
            calls=done.calls if done else 0,
            pictures=done.items if done else 0,
            busy_s=done.busy_s if done else 0.0,
        )
        return news.model_dump_json()

    async def _built(self) -> MicroBatches[Scene, np.ndarray]:
        """Return what makes pictures; a node that was started again has to build it, too."""
        async with self._building:
            if self._batches is None:  # in a thread, so that the node still gives news
                self._batches = await asyncio.to_thread(self._build)
        return self._batches

    def _build(self) -> MicroBatches[Scene, np.ndarray]:
        loaded = loaded_of(parse(RoundOrder, self._order))
        render = loaded.config.cluster.render
        return MicroBatches(
            build_generator(loaded).generate,
            max_batch=render.max_batch,
            max_wait_s=render.max_wait_s,
        )


class RemoteGenerator(Generator):
    """The render nodes of a round as a generator; callers take turns among them.

    A node that is gone or does not answer is passed over for a while. Without any, pictures are
    generated here until one answers again.

    Args:
        names: Of the nodes.
        first: Which one is asked first.
        timeout_s: After so many seconds another node is asked; also how long to wait for one when
            none is there.
        here: Returns what generates pictures in this process, when that is needed.
    """

    def __init__(
        self, names: Sequence[str], first: int, timeout_s: float, here: Callable[[], Generator]
    ) -> None:
        self._here = here
        self._own: Generator | None = None
        self._patience_s = timeout_s
        """How long to wait for a node: not at all once that was in vain, until one answers."""
        self._nodes = [find(name) for name in names]
        self._left_alone_until = [0.0] * len(names)
        self._turn = first
        self._timeout_s = timeout_s
        self.waited_s = 0.0
        """Seconds spent waiting for pictures."""

    def generate(self, scenes: Sequence[Scene]) -> list[np.ndarray]:
        """Return a picture (H, W, 3) uint8 of each scene.

        Raises:
            DataError: A node answers something else than pictures.
            UserError: No node answers, and nothing can generate pictures here.
        """
        begin = time.monotonic()
        packed = ray.put(pack_scenes(scenes))
        while (answer := self._ask(packed)) is None:
            if time.monotonic() - begin >= self._patience_s:
                break
            time.sleep(_PAUSE_S)
        self.waited_s += time.monotonic() - begin
        if answer is None:
            self._patience_s = 0.0
            self._own = self._own or self._here()
            return self._own.generate(scenes)
        self._patience_s = self._timeout_s
        return unpack_pictures(answer)

    def _ask(self, packed: ray.ObjectRef) -> bytes | None:
        """Return the answer of the next node that gives one, None when none does."""
        for _ in self._nodes:
            which = self._turn % len(self._nodes)
            self._turn += 1
            if time.monotonic() < self._left_alone_until[which]:
                continue
            answer = self._nodes[which].render.remote(packed)
            try:
                return cast(bytes, ray.get(answer, timeout=self._timeout_s))
            except (RayActorError, ObjectLostError, GetTimeoutError) as error:
                _log.debug("a render node does not answer: %s", error)
                self._left_alone_until[which] = time.monotonic() + _LEFT_ALONE_S
        return None


def build_generator(loaded: Loaded[CollectConfig]) -> Generator:
    """Return the generator that a round's configuration asks for."""
    generated = loaded.config.generated
    if generated is None:
        raise ConfigError(f"{loaded.at('generated')}: no generator is configured")
    load_plugins(loaded.config.plugins, loaded.root, loaded.under("plugins"))
    at = loaded.under("generated", "generator")
    return build(generators, generated.generator, at, {"root": loaded.root})
