"""DAgger of the library ``imitation``. Runs in its own environment; see install.sh."""

# Its packages are in that environment alone.
# pyright: reportMissingImports=false

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import datasets
import gymnasium
import numpy as np
import torch
from contestants import serve
from dagger_task import ENVIRONMENT, DaggerTask, round_figures
from imitation.algorithms.bc import BC
from imitation.algorithms.dagger import SimpleDAggerTrainer
from imitation.data import rollout
from imitation.util import logger
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

LAYERS = [256, 256, 256]
"""Of the student: the widths that this project's has too."""


class Expert(BasePolicy):
    """The network of ``gaussian_mlp``, in numpy as there; takes all environments' states at once.

    Args:
        venv: Where it acts.
        file: Its arrays.
    """

    def __init__(self, venv: VecEnv, file: Path) -> None:
        super().__init__(venv.observation_space, venv.action_space)
        self._mean, self._std, *layers = np.load(file).values()
        *self._hidden, self._out = zip(layers[::2], layers[1::2], strict=True)

    def predict(
        self,
        observation: np.ndarray,
        state: None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, None]:
        """Return the actions; it has neither a memory nor noise."""
        x = (observation.astype(np.float64) - self._mean) / self._std
        for weights, biases in self._hidden:
            x = np.tanh(x @ weights + biases)
        return (x @ self._out[0] + self._out[1]).astype(np.float32), None

    def _predict(self, observation: torch.Tensor, deterministic: bool = False) -> torch.Tensor:
        return torch.from_numpy(self.predict(observation.numpy())[0])


class Rounds:
    """Rounds as ``SimpleDAggerTrainer.train`` makes them: the expert drives round 0 alone.

    Args:
        task: What to do.
    """

    def __init__(self, task: DaggerTask) -> None:
        self._task = task
        make = partial(gymnasium.make, ENVIRONMENT, disable_env_checker=True)
        vectorised = SubprocVecEnv if task.stepping == "processes" else DummyVecEnv
        self._venv = vectorised([make] * task.environments)
        spaces = {
            "observation_space": self._venv.observation_space,
            "action_space": self._venv.action_space,
        }
        rng, silent = np.random.default_rng(0), logger.configure(task.folder, [])
        student = ActorCriticPolicy(**spaces, lr_schedule=lambda _: 1e-3, net_arch=LAYERS)
        self._trainer = SimpleDAggerTrainer(
            venv=self._venv,
            scratch_dir=task.folder,
            expert_policy=Expert(self._venv, Path(task.network)),
            rng=rng,
            beta_schedule=lambda number: float(number == 0),
            bc_trainer=BC(**spaces, rng=rng, policy=student, device="cpu", custom_logger=silent),
            custom_logger=silent,
        )

    def collect(self, _: float) -> dict[str, float]:
        """Collect the present round, afresh if it is there already."""
        trainer, number = self._trainer, self._trainer.round_num
        folder = Path(self._task.folder) / "demos" / f"round-{number:03d}"
        shutil.rmtree(folder, ignore_errors=True)
        rollouts = self._task.rollouts if number else self._task.first_rollouts
        start = time.perf_counter()
        collector = trainer.create_trajectory_collector()
        demos = rollout.generate_trajectories(
            policy=trainer.expert_policy,
            venv=collector,
            sample_until=rollout.make_min_episodes(rollouts),
            deterministic_policy=True,
            rng=collector.rng,
        )
        return round_figures(
            folder,
            seconds=time.perf_counter() - start,
            rollouts=len(demos),
            steps=sum(map(len, demos)),
            array_bytes=sum(d.obs.nbytes + d.acts.nbytes + d.rews.nbytes for d in demos),
        )

    def train(self, _: float) -> dict[str, float]:
        """Train on all rounds; the next one begins."""
        options = {"n_batches": self._task.train_steps, "progress_bar": False}
        self._trainer.extend_and_update({**options, "log_rollouts_venv": None})
        return {}

    def label(self, value: float) -> dict[str, float]:
        """Return the sum of the expert's action where every number of the state is ``value``."""
        states = np.full((1, *self._venv.observation_space.shape), value)
        action, _ = self._trainer.expert_policy.predict(states)
        return {"sum": float(action.sum())}


def main(arguments: Sequence[str]) -> None:
    """Serve as a contestant."""
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    rounds = Rounds(DaggerTask.from_arguments(arguments))
    serve({"collect": rounds.collect, "train": rounds.train, "label": rounds.label})


if __name__ == "__main__":
    main(sys.argv[1:])
