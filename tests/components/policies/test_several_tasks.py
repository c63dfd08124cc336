"""One policy for three Meta-World tasks, told apart by the batch key ``task``."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data_collection.envs.meta_world import MetaWorld
from data_collection.episode_buffer import EpisodeBuffer
from data_collection.episodes import EpisodeAttributes, RoundWriter, seal, write_episode
from data_collection.episodes.schema import EXPERT
from data_collection.teachers.meta_world_expert import MetaWorldExpert
from trainer.acting import load_policy
from trainer.build import build_run, load_experiment
from trainer.checkpoint import open_checkpoint
from trainer.distributed import Ranks
from trainer.errors import ConfigError, DataError
from trainer.interfaces import TASK
from trainer.planner import PolicyPlanner
from trainer.resume import started_run
from trainer.rollout import RolloutJob, rollout

ROOT = Path(__file__).parents[3]
EXPERIMENT = ROOT / (
    "experiment_training/imitation_learning/naive_flow_matching_policy/exp3/"
    "naive_flow_matching_policy.yaml"
)
TASKS = ("reach-v3", "push-v3", "drawer-open-v3")
EMBEDDING = "experiment_models/naive_flow_matching_policy/exp3/task_embedding.yaml"
STEPS = 20


def record(folder, task, index, config=None):
    environment = MetaWorld(task=task, task_index=index)
    teacher, generator = MetaWorldExpert(), np.random.default_rng(0)
    config = config or f"environment: {{type: meta_world, params: {{task: {task}}}}}\n"
    writer = RoundWriter(folder, config)
    buffer, observation = EpisodeBuffer(), environment.reset(0)
    for _ in range(STEPS):
        action = teacher.act(environment, observation, generator)
        result = environment.step(action)
        buffer.add(observation, action, action, EXPERT, result)
        observation = result.observation
    attributes = EpisodeAttributes(seed=0, success=False)
    writer.enter(write_episode(folder, f"task_{index}", buffer.arrays(), attributes))
    seal(folder)
    return str(folder)


def overrides(folder, rounds):
    return [
        "plugins=[components.policies.naive_flow_matching_policy, components.models.state_encoder, "
        "components.models.action_decoder, components.models.task_embedding, components.losses.l2, "
        "components.optimizers.adamw_warmup_cosine, components.datasets.dagger_rounds, "
        "components.action_transforms.identity]",
        f"model.component_config_paths.task_embedding={EMBEDDING}",
        f"data.dataset.params.rounds={rounds}",
        "data.batch_size=8",
        "train.steps=2",
        "train.save_every=2",
        "evaluation=null",
        "logging=[]",
        f"train.save_dir={folder}",
    ]


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds")
    return [record(folder / f"round_{i:03d}", task, i) for i, task in enumerate(TASKS)]


def test_it_learns_all_of_them_and_acts_in_each(tmp_path, rounds):
    experiment = load_experiment(EXPERIMENT, overrides(tmp_path, rounds))
    with started_run(experiment, Ranks(0, 1, torch.device("cpu")), "auto") as loop:
        assert set(loop.run.dataset.__getitems__(range(3 * STEPS))[TASK].tolist()) == {0, 1, 2}
        loop.train()
    policy = load_policy(open_checkpoint(tmp_path / "epoch_1"), torch.device("cpu"))
    interface = policy.config.interface.to_interface()
    first_actions = []
    for index in (0, 2):  # the same simulation under another name: what differs is the name alone
        environment = MetaWorld(task="reach-v3", task_index=index)
        planner = PolicyPlanner(policy.policy, interface, inference_batch=2)
        results = list(rollout([environment], [RolloutJob("a", 0)], planner=planner, max_steps=3))
        assert results[0].length == 3
        first_actions.append(environment.full_state)
    assert not np.array_equal(*first_actions)


def test_several_tasks_are_refused_without_the_embedding(tmp_path, rounds):
    plain = [o for o in overrides(tmp_path, rounds) if "config_paths" not in o]
    message = f"{rounds[0]} is of reach-v3, {rounds[1]} is of push-v3, .*task_embedding"
    with pytest.raises(DataError, match=message):
        build_run(load_experiment(EXPERIMENT, plain))
    alone = [*plain, f"data.dataset.params.rounds={rounds[:1]}"]
    assert build_run(load_experiment(EXPERIMENT, alone)).dataset.tasks() == {"reach-v3": rounds[0]}


def test_several_tasks_of_an_import_are_warned_of(tmp_path, caplog):
    imported = "source: {format: other, tasks: {0: reach it, 1: push it}}\n"
    folders = [record(tmp_path / f"round_00{i}", TASKS[i], i, imported) for i in (0, 1)]
    plain = [o for o in overrides(tmp_path, folders) if "config_paths" not in o]
    build_run(load_experiment(EXPERIMENT, plain))
    assert "the data are of the tasks 0, 1, and nothing tells the policy which" in caplog.text


def test_a_task_that_the_embedding_does_not_know_is_refused(tmp_path, rounds):
    two = [*overrides(tmp_path, rounds), "model.component_build_args={task_embedding: {tasks: 2}}"]
    message = "the data are of the tasks 0, 1, 2, but task_embedding knows 2, which are 0 to 1; "
    with pytest.raises(DataError, match=message):
        build_run(load_experiment(EXPERIMENT, two))
    first = [*two, f"data.dataset.params.rounds={rounds[:2]}"]
    assert build_run(load_experiment(EXPERIMENT, first)).dataset.task_indices().tolist() == [0, 1]


def test_data_without_tasks_are_refused(tmp_path, rounds):
    folder = tmp_path / "round_000"
    writer = RoundWriter(folder, "environment: {type: none, params: {}}\n")
    steps = 20
    arrays = {
        "observation.state": np.zeros((steps, 39), np.float32),
        "action": np.zeros((steps, 4), np.float32),
        "executed_action": np.zeros((steps, 4), np.float32),
        "action_valid": np.ones(steps, bool),
        "actor": np.zeros(steps, np.uint8),
        "reward": np.zeros(steps, np.float32),
        "terminated": np.zeros(steps, bool),
        "truncated": np.zeros(steps, bool),
    }
    writer.enter(write_episode(folder, "a", arrays, EpisodeAttributes(seed=0, success=True)))
    seal(folder)
    experiment = load_experiment(EXPERIMENT, overrides(tmp_path, [str(folder)]))
    with pytest.raises(ConfigError, match="this policy also learns from task, the data give"):
        build_run(experiment)
