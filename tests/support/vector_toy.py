"""A vectorised toy environment and its teacher, as plugins, and a project around them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml
from tensordict import TensorDict

from data_collection.distillation.launch import enter_distillation
from data_collection.distillation.student import load_distillation
from data_collection.distillation.teachers import VectorTeacher, vector_teachers
from data_collection.distillation.vec_env import vector_environments
from trainer.distributed import Ranks

ALONE = Ranks(0, 1, torch.device("cpu"))
STATE, ACTION = 3, 2
BLENDED = ("algorithm.phase1_iterations=1", "algorithm.blend_iterations=4")
"""Chance decides who acts, from the second iteration to the fifth."""


@vector_environments.register("vector_toy")
class VectorToy:
    """A point that moves by its actions; the student does not see where it is to go."""

    def __init__(
        self,
        num_envs: int,
        device: torch.device,
        seed: int,
        *,
        length: int = 7,
        nan_observation_at: int | None = None,
        nan_reward_at: int | None = None,
    ) -> None:
        self.num_envs, self.num_actions = num_envs, ACTION
        self.max_episode_length, self.device, self.cfg = length, device, {}
        self.generator = torch.Generator().manual_seed(seed)
        self.nan_observation_at, self.nan_reward_at = nan_observation_at, nan_reward_at
        self.steps = 0
        # Episodes end at different times.
        self.episode_length_buf = torch.arange(num_envs) % length
        self.place = torch.randn(num_envs, STATE, generator=self.generator)

    def get_observations(self) -> TensorDict:
        student = self.place.clone()
        if self.nan_observation_at is not None and self.steps >= self.nan_observation_at:
            student[1, 0] = torch.nan
        return TensorDict(
            {"student": student, "teacher": torch.cat([self.place, -self.place], dim=1)},
            batch_size=[self.num_envs],
        )

    def step(self, actions):
        noise = torch.randn(self.num_envs, STATE, generator=self.generator)
        self.place = 0.9 * self.place + 0.05 * noise
        self.place[:, :ACTION] += 0.1 * actions
        self.steps += 1
        self.episode_length_buf = self.episode_length_buf + 1
        done = self.episode_length_buf >= self.max_episode_length
        self.episode_length_buf = self.episode_length_buf * ~done
        self.place = torch.where(
            done[:, None], torch.randn(self.num_envs, STATE, generator=self.generator), self.place
        )
        reward = -self.place.square().sum(1)
        if self.steps == self.nan_reward_at:
            reward[2] = torch.inf
        extras = {"time_outs": done, "log": {"/toy/place": self.place.mean()}}
        return self.get_observations(), reward, done.float(), extras

    def state_dict(self):
        return {
            "place": self.place,
            "length": self.episode_length_buf,
            "steps": torch.tensor(self.steps),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state):
        self.place, self.episode_length_buf = state["place"].clone(), state["length"].clone()
        self.steps = int(state["steps"])
        self.generator.set_state(state["generator"])


@vector_teachers.register("vector_toy_teacher")
class VectorToyTeacher(VectorTeacher):
    """Pushes the point back; a function that a linear student can learn."""

    observation_size, num_actions = 2 * STATE, ACTION

    def __call__(self, observation_np):
        return -observation_np[:, :ACTION] + 0.5


def write_project(root: Path, student: str = "mlp", obs_steps: int = 1) -> Path:
    """Write a project with one distillation, and return its YAML."""
    models = root / "experiment_models" / "toy"
    models.mkdir(parents=True)
    files = {
        "observation_encoder": f"type: plain_state\nparams: {{state: 3, obs_steps: {obs_steps}}}\n",
        "trunk": f"type: mlp\nparams: {{inputs: {3 * obs_steps}, width: [16], activation: elu}}\n",
        "action_head": "type: action_head_regression\n"
        "params: {features: 16, chunk: 1, action: 2}\n",
    }
    if student != "mlp":
        files["trunk"] = (
            f"type: recurrent_trunk\nparams: {{kind: {student}, inputs: 3, features: 16}}\n"
        )
    for name, text in files.items():
        (models / f"{name}.yaml").write_text(text)
    config = {
        "plugins": [
            "components.policies.behavior_cloning",
            "components.policies.recurrent_cloning",
            "components.models.plain_state",
            "components.models.mlp",
            "components.models.recurrent_trunk",
            "components.models.action_head_regression",
            "components.losses.l2",
            "components.optimizers.adamw_warmup_cosine",
            "components.action_transforms.identity",
        ],
        "simulation_plugins": ["tests.support.vector_toy"],
        "environment": {"type": "vector_toy"},
        "num_envs": 4,
        "teacher": {"type": "vector_toy_teacher"},
        "interface": {
            "obs_steps": obs_steps,
            "chunk": 1,
            "control_hz": 50,
            "state": 3,
            "action": 2,
        },
        "model": {
            "component_config_paths": {name: f"experiment_models/toy/{name}.yaml" for name in files}
        },
        "policy": {"type": "behavior_cloning" if student == "mlp" else "recurrent_cloning"},
        "iterations": 6,
        "steps_per_iteration": 5,
        "algorithm": {"phase1_iterations": 3, "num_learning_epochs": 2, "max_buffer_size": 60},
        "train": {
            "save_every": 100,
            "log_every": 1,
            "loss": {"type": "l2"},
            "optimizer": {
                "type": "adamw_warmup_cosine",
                "params": {"lr": 1e-2, "warmup_steps": 0, "final_lr_fraction": 1.0},
            },
        },
        "logging": [],
    }
    if student != "mlp":
        config["algorithm"]["gradient_length"] = 3
    path = root / "experiment_training" / "distillation" / "toy" / "exp1" / "distillation.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(config))
    return path


def distilled(path: Path, *overrides: str, env=None, ranks: Ranks = ALONE):
    """Run a distillation to its end and return the runner."""
    with enter_distillation(load_distillation(path, overrides), ranks, env=env) as runner:
        runner.run()
    return runner


def figures(save_dir: Path) -> list[dict[str, float]]:
    """Return the logged figures of every iteration."""
    return [json.loads(line) for line in (save_dir / "metrics.jsonl").read_text().splitlines()]
