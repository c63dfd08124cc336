"""What the pools of all backends have in common: entering, leaving, waiting for outcomes."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from data_collection.player import Outcome, Ready
from data_collection.retries import Retries
from data_collection.schema import CollectConfig
from trainer.config import config_differences
from trainer.errors import ConfigError

_LOOK_S = 1.0


class RoundPool(ABC):
    """Those who play the jobs of one round. Use it as a context manager.

    On entering, ``recorded`` becomes what they say about their environment, and ``longest`` the
    steps of its longest possible episode.

    Args:
        config: The round's configuration.
    """

    def __init__(self, config: CollectConfig) -> None:
        self._retries = Retries(config.max_retries)
        self.recorded: dict[str, object] = {}
        self.longest = 0

    def __enter__(self) -> Self:
        try:
            self._open()
            while not self.recorded:
                self._receive(_LOOK_S)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def outcomes(self, timeout_s: float) -> list[Outcome]:
        """Wait, then return what is done: nothing only when ``timeout_s`` seconds went by.

        Raises:
            UserError: A player reports one, or players keep dying before they are ready.
        """
        deadline = time.monotonic() + timeout_s
        done: list[Outcome] = []
        while not done and (left_s := deadline - time.monotonic()) > 0:
            done = self._receive(left_s)
        return done

    def _note_ready(self, who: str, message: Ready) -> None:
        """Take over what the first player has built; the others must have built the same.

        Raises:
            ConfigError: They have not: a file has changed in between, or machines differ.
        """
        self._retries.works()
        self.recorded, self.longest = self.recorded or message.recorded, message.longest
        if differences := config_differences(self.recorded, message.recorded):
            lines = "\n  ".join(differences)
            raise ConfigError(
                f"{who} differs from those who have played before, so the round would have two "
                f"kinds of episodes:\n  {lines}\nput back what has changed, or make all machines "
                "alike; the same command then goes on"
            )

    @abstractmethod
    def _open(self) -> None:
        """Start the players."""

    @abstractmethod
    def _receive(self, most_s: float) -> list[Outcome]:
        """Wait for news for so long at most, and return the outcomes that follow from them."""

    @abstractmethod
    def _stop(self) -> None:
        """End the players, and whatever else was started, be it all or not."""
