"""A tiny real experiment in a folder of its own, trained in child processes that can be killed."""

import json
import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from tests.support.ports import free_port
from trainer import offline_trainer
from trainer.cli import run_command

# Children start from a server that has torch loaded: milliseconds instead of seconds each.
_CHILDREN = multiprocessing.get_context("forkserver")
_CHILDREN.set_forkserver_preload(
    ["trainer.resume", "trainer.dry_run", "torch._dynamo", "components.models.flow", "schedulefree"]
)

FAKE_PLUGIN = '''
import math
import os
import signal
from trainer.errors import DataError
from trainer.fake_data import FakeDataset
from trainer.interfaces import Interface, Logger
from trainer.registry import datasets, loggers


@datasets.register("fake")
class Fake(FakeDataset):
    def __init__(self, interface: Interface, *, episodes: int = 8, episode_length: int = 16,
                 nan_from: int | None = None, damaged_from: int | None = None,
                 deadly_from: int | None = None) -> None:
        super().__init__(interface, episodes=episodes, episode_length=episode_length)
        self.nan_from, self.damaged_from, self.deadly_from = nan_from, damaged_from, deadly_from
        self.fetched = 0

    def __getitems__(self, indices):
        batch = super().__getitems__(indices)
        self.fetched += 1
        if self.damaged_from is not None and self.fetched > self.damaged_from:
            raise DataError("frame_7.jpg is damaged")
        if self.deadly_from is not None and self.fetched > self.deadly_from:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.nan_from is not None and self.fetched > self.nan_from:
            batch["action"][:] = math.nan
        return batch


@loggers.register("killer")
class Killer(Logger):
    """Sends this process, or its group, a signal when a figure of a step is logged, once."""

    def __init__(
        self,
        *,
        step: int,
        signal_number: int = signal.SIGKILL,
        figure: str = "train/loss",
        group: bool = False,
    ) -> None:
        self.step, self.signal_number, self.figure = step, signal_number, figure
        self.group = group
        if group:
            os.setpgid(0, 0)

    def log_scalars(self, step, values):
        if step == self.step and self.figure in values:
            if self.group:
                os.killpg(0, self.signal_number)
            else:
                os.kill(os.getpid(), self.signal_number)
'''


def _train(arguments: list[str], cwd: str, environment: dict[str, str], log: str) -> None:
    os.chdir(cwd)
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = Path(log).open("a")  # noqa: SIM115 - open until the process ends
    sys.argv[1:] = arguments
    run_command(offline_trainer.main)


@dataclass
class Toy:
    """A project with one experiment, ``imitation_learning/toy/exp1``."""

    root: Path
    config_path: Path

    def edit(self, **changes: object) -> None:
        """Change the YAML: dotted keys with ``__`` in the place of dots."""
        config = yaml.safe_load(self.config_path.read_text())
        for key, value in changes.items():
            *sections, last = key.split("__")
            section = config
            for name in sections:
                section = section.setdefault(name, {})
            section[last] = value
        self.config_path.write_text(yaml.safe_dump(config))

    def start(self, *arguments: str, rank: int = 0, world_size: int = 1, port: int = 0):
        """Start training in a child process and return it."""
        command = ["--train_config", str(self.config_path), *arguments]
        environment = {}
        if world_size > 1:
            environment = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world_size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
        child = _CHILDREN.Process(
            target=_train, args=(command, str(self.root), environment, str(self.log))
        )
        child.start()
        return child

    def train(self, *arguments: str, ranks: int = 1) -> int:
        """Train to the end and return the (worst) exit code; negative for a signal."""
        port = free_port()
        children = [
            self.start(*arguments, rank=r, world_size=ranks, port=port) for r in range(ranks)
        ]
        for child in children:
            child.join(120)
            if child.exitcode is None:
                child.kill()
                raise TimeoutError(self.log.read_text())
            if child.exitcode < 0:  # what torchrun does: one dead rank ends the others
                for other in children:
                    other.kill()
        return min((c.exitcode for c in children), key=lambda code: (code >= 0, -abs(code)))

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def save_dir(self) -> Path:
        return self.root / "runs" / "toy" / "exp1"

    def losses(self, save_dir: Path | None = None) -> dict[int, float]:
        lines = ((save_dir or self.save_dir) / "metrics.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        return {r["step"]: r["train/loss"] for r in records if "train/loss" in r}


def make_toy(tmp_path: Path) -> Toy:
    """Write the project into a folder and return it."""
    folder = tmp_path / "experiment_training" / "imitation_learning" / "toy" / "exp1"
    folder.mkdir(parents=True)
    models = tmp_path / "experiment_models" / "toy" / "exp1"
    models.mkdir(parents=True)
    (tmp_path / "fake.py").write_text(FAKE_PLUGIN)
    (models / "observation_encoder.yaml").write_text(
        "type: state_encoder\n"
        "params: {state: '${interface.state}', obs_steps: '${interface.obs_steps}', dim: 16,"
        " hidden: 16}\n"
    )
    (models / "action_decoder.yaml").write_text(
        "type: action_decoder\n"
        "params: {chunk: '${interface.chunk}', action: '${interface.action}', memory_dim: 16,"
        " dim: 16, layers: 1, heads: 2, feedforward: 32, dropout: 0.1}\n"
    )
    config = {
        "plugins": [
            "components.policies.naive_flow_matching_policy",
            "components.models.state_encoder",
            "components.models.action_decoder",
            "components.losses.l2",
            "components.optimizers.adamw_warmup_cosine",
            "components.optimizers.schedule_free_radam",
            "components.action_transforms.identity",
            "fake.py",
        ],
        "interface": {"chunk": 4, "control_hz": 20, "state": 5, "action": 3},
        "model": {
            "component_config_paths": {
                "observation_encoder": "experiment_models/toy/exp1/observation_encoder.yaml",
                "action_decoder": "experiment_models/toy/exp1/action_decoder.yaml",
            }
        },
        "policy": {"type": "naive_flow_matching_policy"},
        "data": {"dataset": {"type": "fake"}, "batch_size": 16},
        "train": {
            "epochs": 3,
            "save_every": 1,
            "log_every": 1,
            "loss": {"type": "l2"},
            "optimizer": {"type": "adamw_warmup_cosine", "params": {"lr": 1e-2, "warmup_steps": 2}},
        },
        "logging": [],
    }
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(config))
    return Toy(tmp_path, path)


def equal_bits(first: object, second: object) -> bool:
    """Return whether two nested structures of tensors and plain values are the same bits."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal_bits(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal_bits, first, second))
    return first == second


def uninterrupted(toy: Toy, ranks: int = 1) -> Path:
    """Train without a stop, and return the folder to compare with."""
    assert toy.train(ranks=ranks) == 0, toy.log.read_text()
    reference = toy.root / "reference"
    toy.save_dir.rename(reference)
    return reference
