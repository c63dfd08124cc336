"""A round of an environment without weight, so that what is measured is the collecting."""

import json
import sys
from pathlib import Path

import yaml

from data_collection.collect import collect_round
from data_collection.schema import CollectConfig
from trainer.config import load_config

# Seeds that are divisible by 4 fail. The first episode with seed 6 sends its process a signal when
# asked to, once, or sleeps when the signal is 0; the third step of seed ``breaks`` raises, always;
# what seed ``blind`` sees is no number; as long as the file ``full`` exists, no file grows beyond
# 2,000 bytes. The first toy that is built with ``stuck`` hangs, all later ones do not. Seed
# ``deadly`` ends its process, always, and so does writing the episode of seed ``heavy``. The
# teacher raises in the episode of seed ``refuses``.
TOY = """
import os, resource, signal, time
from pathlib import Path
import numpy as np
from data_collection.episodes import writer
from data_collection.teachers import Teacher, teachers
from trainer.environment import STATE, Environment, StepResult
from trainer.registry import environments

@environments.register("toy")
class Toy(Environment):
    control_hz, max_steps, action_dim = 10.0, 20, 1

    def __init__(
        self,
        *,
        pause_s: float = 0.0,
        kill: str | None = None,
        signal_number: int = signal.SIGKILL,
        breaks: int | None = None,
        blind: int | None = None,
        full: str | None = None,
        deadly: int | None = None,
        stuck: str | None = None,
        heavy: int | None = None,
    ) -> None:
        if heavy is not None:
            encode = writer.encode

            def encode_or_die(rollout_id, arrays, attributes):
                if attributes.seed == heavy:
                    time.sleep(0.05)  # the next episode has begun
                    os._exit(9)
                return encode(rollout_id, arrays, attributes)

            writer.encode = encode_or_die
        if stuck and not Path(stuck).exists():
            Path(stuck).touch()
            time.sleep(1000)
        self.observation_shapes = {STATE: (2,)}
        self.breaks, self.blind, self.deadly = breaks, blind, deadly
        self.pause_s, self.kill = pause_s, Path(kill) if kill else None
        self.signal_number, self.full = signal_number, Path(full) if full else None

    def reset(self, seed):
        self.seed, self.position = seed, 0.0
        if self.kill and seed == 6 and not self.kill.exists():
            self.kill.touch()
            os.kill(os.getpid(), self.signal_number)
            if not self.signal_number:
                time.sleep(1000)
        if self.full:
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if self.full.exists() else most, most))
        return self.observe()

    def observe(self):
        seen = np.nan if self.seed == self.blind else self.position
        return {STATE: np.float32([self.seed, seen])}

    def step(self, action):
        time.sleep(self.pause_s)
        if self.seed == self.deadly and self.position > 1:
            os._exit(9)
        if self.seed == self.breaks and self.position > 1:
            raise FloatingPointError("the simulation is unstable")
        self.position += float(action[0])
        success = self.position > 2 and self.seed % 4 != 0
        return StepResult(self.observe(), -self.position, False, False, success)

@environments.register("restorable_toy")
class RestorableToy(Toy):
    def save_state(self):
        return self.seed, self.position

    def restore_state(self, state):
        self.seed, self.position = state

@teachers.register("toy_teacher")
class ToyTeacher(Teacher):
    def __init__(
        self, *, dies: bool = False, file: str | None = None, refuses: int | None = None
    ) -> None:
        self.dies, self.refuses = dies, refuses
        self.checkpoint = Path(file).read_text() if file else None

    def act(self, environment, observation, generator):
        if self.dies:
            os._exit(7)
        if observation[STATE][0] == self.refuses:
            raise ValueError("no path to the goal")
        return generator.uniform(0, 1, 1).astype(np.float32)

@teachers.register("counting")
class Counting(Teacher):
    memoryless = False

    def reset(self, environment):
        self.count = 0

    def act(self, environment, observation, generator):
        self.count += 1
        return np.float32([0.01 * self.count])
"""


def write_round(root: Path, **changes) -> Path:
    """Write a project with the toy and its ``collect.yaml``; return the latter's path."""
    (root / "toy.py").write_text(TOY)
    folder = root / "experiment_training" / "data_collection" / "toy" / "exp1"
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "plugins": ["toy.py"],
        "save_dir": "rounds",
        "seed": 1,
        "episodes": 9,
        "environment": {"type": "toy"},
        "teacher": {"type": "toy_teacher"},
        "workers": 1,
    } | changes
    path = folder / "collect.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def contents(folder: Path) -> dict[str, str]:
    """Return the content hash of each episode of a round."""
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return {row["id"]: row["content_sha256"] for row in map(json.loads, lines)}


def collect(path: Path, *overrides: str) -> Path:
    """Collect its round in this process, and return the folder."""
    return collect_round(load_config(path, CollectConfig, overrides))


def command(path: Path, *arguments: str) -> list[str]:
    """Return the command that collects its round."""
    return [
        sys.executable, "-m", "data_collection.collect", "--collect_config", str(path), *arguments,
    ]  # fmt: skip
