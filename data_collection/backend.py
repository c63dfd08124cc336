"""Where rollouts are played and students trained: on this machine, or on a cluster."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from data_collection.cluster.processes import end_with_parent
from data_collection.cluster.ray_environment import prepare
from data_collection.player import Outcome
from data_collection.schema import CollectConfig
from data_collection.workers import WorkerPool
from trainer.config import Loaded
from trainer.errors import ConfigError, UserError
from trainer.rollout import RolloutJob

_log = logging.getLogger(__name__)


class Pool(Protocol):
    """Those who play the jobs of one round, and report outcomes in no particular order."""

    recorded: dict[str, object]
    """What they say about their environment, beyond what the round's config says."""
    longest: int
    """Steps of the longest possible episode."""

    @property
    def outstanding(self) -> int:
        """How many jobs are submitted and not done."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether a further job would reach somebody before he has run out of others."""
        ...

    def submit(self, job: RolloutJob) -> None:
        """Have a job played."""
        ...

    def outcomes(self, timeout_s: float) -> list[Outcome]:
        """Wait, then return what is done: nothing only when ``timeout_s`` seconds went by."""
        ...


class Backend(ABC):
    """Plays the rounds of an experiment and trains its students."""

    @abstractmethod
    def pool(
        self, loaded: Loaded[CollectConfig], folder: Path, *, students: bool
    ) -> AbstractContextManager[Pool]:
        """Return who plays the round in ``folder``, once entered.

        Args:
            loaded: The round's configuration.
            folder: Where its episodes are to lie.
            students: Prepare for later rounds in which a student acts, too.
        """

    @abstractmethod
    def train(self, config: Path, ranks: int) -> None:
        """Train the experiment in a YAML, or go on with it.

        Raises:
            UserError: The trainer failed; its own message stands above.
        """


class LocalBackend(Backend):
    """Worker processes and the trainer on this machine."""

    def pool(
        self, loaded: Loaded[CollectConfig], folder: Path, *, students: bool
    ) -> AbstractContextManager[Pool]:
        """Return a pool of worker processes."""
        config = loaded.config
        workers = min(config.workers or len(os.sched_getaffinity(0)), config.episodes)
        return WorkerPool(loaded, folder, workers, students=students)

    def train(self, config: Path, ranks: int) -> None:
        """Train in this process, or with several ranks in processes of torchrun."""
        from trainer import offline_trainer  # needs torch, which no expert's round does

        arguments = ["--train_config", str(config)]
        if ranks == 1:
            code = offline_trainer.main(arguments, more_follows=True)
        else:
            from data_collection.training_folder import folder_of, free_folder

            for line in free_folder(folder_of(config)):
                _log.info("%s", line)
            command = torchrun(ranks, arguments)
            with subprocess.Popen(command, preexec_fn=end_with_parent) as process:
                code = process.wait()
        if code:
            raise UserError(f"training of {config} ended with exit code {code}: see above")


def torchrun(ranks: int, arguments: list[str]) -> list[str]:
    """Return the command that trains with ``ranks`` processes on one machine."""
    script = Path(__file__).parents[1] / "trainer" / "offline_trainer.py"
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        f"--nproc_per_node={ranks}",
        str(script),
        *arguments,
    ]


def add_backend_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--backend`` and ``--address`` to a command."""
    parser.add_argument(
        "--backend",
        choices=["local", "ray"],
        default="local",
        help="worker processes on this machine (default), or the nodes of a Ray cluster",
    )
    parser.add_argument(
        "--address",
        metavar="auto|HOST:PORT",
        help="the Ray cluster's head; auto (default) finds the one that this machine is part of",
    )


@contextmanager
def open_backend(args: argparse.Namespace) -> Iterator[Backend]:
    """Yield the backend that the options ask for, and leave it at the end.

    Raises:
        ConfigError: The options contradict each other.
        UserError: There is no such cluster, or Ray is not installed.
    """
    if args.backend == "local":
        if args.address is not None:
            raise ConfigError("--address names a Ray cluster; it needs --backend ray")
        yield LocalBackend()
        return
    address = args.address or "auto"
    prepare(os.environ, address)
    # Imported here: without a cluster nobody needs Ray, and it reads the environment on import.
    from data_collection.cluster.ray_backend import ray_backend

    with ray_backend(address) as backend:
        yield backend
