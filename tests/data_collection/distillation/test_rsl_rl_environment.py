"""An environment that has what RSL-RL's contract asks for and nothing more, as Isaac Lab's do."""

import pytest
import torch
from safetensors.torch import load_file
from tensordict import TensorDict

from data_collection.distillation.launch import enter_distillation
from data_collection.distillation.student import load_distillation
from data_collection.distillation.vec_env import vector_environments
from tests.support.vector_toy import ALONE, VectorToy, distilled, figures, write_project
from trainer.interfaces import ACTION, STATE


@vector_environments.register("rsl_rl_toy")
class RslRlToy:
    """The toy without a state to save, with dones that are integers, and with their groups."""

    def __init__(self, num_envs: int, device: torch.device, seed: int) -> None:
        self._toy = VectorToy(num_envs, device, seed)
        self.num_envs, self.num_actions = num_envs, self._toy.num_actions
        self.max_episode_length, self.device, self.cfg = 7, device, {}

    @property
    def episode_length_buf(self):
        return self._toy.episode_length_buf

    def get_observations(self):
        place = self._toy.place.clone()
        groups = {"policy": place, "privileged": 10 * place}
        return TensorDict(groups, batch_size=[self.num_envs])

    def step(self, actions):
        _, reward, done, _ = self._toy.step(actions)
        return self.get_observations(), reward, done.long(), {"time_outs": done.bool()}


@pytest.fixture
def path(tmp_path):
    return write_project(tmp_path)


def groups(*teacher):
    return [
        "environment.type=rsl_rl_toy",
        f"observations={{student: [policy], teacher: [{', '.join(teacher)}]}}",
    ]


def test_it_is_distilled_in_and_its_episodes_are_counted(path):
    runner = distilled(path, *groups("policy", "privileged"), "evaluation={every: 6, num_envs: 4}")
    assert runner.history.frames.rows.max() == 6
    row = figures(runner.loop.save_dir)[-1]
    # Environment e has done e of its seven steps when it begins, and each ends four times.
    assert row["Train/mean_episode_length"] == pytest.approx((28 + 27 + 26 + 25) / 16)
    assert row["Evaluation/mean_episode_length"] == (7 + 6 + 5 + 4) / 4


@pytest.mark.parametrize(
    ("teacher", "scale"), [(("policy", "privileged"), 1), (("privileged", "policy"), 10)]
)
def test_groups_are_joined_in_the_order_in_which_they_are_named(path, teacher, scale):
    history = distilled(path, *groups(*teacher), "iterations=4").history
    batch = history.transitions(torch.arange(len(history)))
    expected = 0.5 - scale * batch[STATE][..., :2]  # the toy's teacher looks at the first numbers
    torch.testing.assert_close(batch[ACTION], expected)


def test_it_is_resumed_with_its_history_and_begins_its_episodes_anew(path, caplog):
    settings = [*groups("policy", "privileged"), "algorithm.max_buffer_size=120"]
    settings += ["train.save_every=2", "train.checkpoints.keep_last=9"]
    checkpoint = distilled(path, *settings).loop.save_dir / "epoch_2"
    saved = load_file(checkpoint / "distillation_rank_0.safetensors")
    kept = saved["history/rows.rows"]
    assert {name.partition("/")[0] for name in saved} == {
        "history", "statistics.observation.state", "statistics.action",
    }  # fmt: skip
    loaded = load_distillation(path, [*settings, "train.save_dir=runs/again"])
    with enter_distillation(loaded, ALONE, str(checkpoint)) as runner:
        runner.run()
    assert "its episodes begin anew" in caplog.text
    assert [row["step"] for row in figures(runner.loop.save_dir)] == [3, 4, 5, 6]
    rows, frames = runner.history.ring.rows, runner.history.frames.rows[:, 0]
    assert torch.equal(rows[:40], kept)
    # The teacher still acts: its new episodes are those that the environment's seed began with.
    assert torch.equal(rows[40:60], kept[:20])
    assert frames[40:44].tolist() == [0] * 4
    assert runner.statistics[STATE].seen.count == len(runner.history) == 120
