import gymnasium as gym
import numpy as np
import pytest
import torch

from data_collection.distillation.gymnasium_vector import GymnasiumVector
from tests.support.vector_toy import distilled, figures, write_project
from trainer.errors import ConfigError
from trainer.interfaces import ACTION, STATE

CPU = torch.device("cpu")


def test_it_steps_as_the_environments_themselves_do():
    env = GymnasiumVector(3, CPU, 5, id="Pendulum-v1")
    singles = [gym.make("Pendulum-v1") for _ in range(3)]
    first = [single.reset(seed=5 + i)[0] for i, single in enumerate(singles)]
    np.testing.assert_allclose(env.get_observations()["policy"], np.stack(first), rtol=1e-6)
    generator = np.random.default_rng(0)
    for _ in range(10):
        actions = generator.uniform(-3, 3, (3, 1)).astype(np.float32)
        seen, reward, _, _ = env.step(torch.from_numpy(actions))
        results = [s.step(np.clip(a, -2, 2)) for s, a in zip(singles, actions, strict=True)]
        np.testing.assert_allclose(seen["policy"], np.stack([r[0] for r in results]), rtol=1e-5)
        np.testing.assert_allclose(reward, [r[1] for r in results], rtol=1e-5)
    assert (env.num_actions, env.max_episode_length) == (1, 200)
    env.close()


def test_an_ended_episode_shows_the_next_ones_first_observation():
    env = GymnasiumVector(2, CPU, 0, id="Pendulum-v1", kwargs={"max_episode_steps": 4})
    for step in range(1, 9):
        before = env.get_observations()["policy"].clone()
        seen, _, done, extras = env.step(torch.zeros(2, 1))
        assert done.tolist() == extras["time_outs"].tolist() == [step % 4 == 0] * 2
        assert env.episode_length_buf.tolist() == [step % 4] * 2
        jumped = (seen["policy"][:, :2] - before[:, :2]).abs().amax(1) > 0.5
        assert not (jumped & ~done).any()
    env.close()


def test_the_longest_episode_may_be_shortened():
    env = GymnasiumVector(2, CPU, 0, id="Pendulum-v1", max_episode_length=3)
    done = [env.step(torch.zeros(2, 1))[2].tolist() for _ in range(6)]
    assert done == [[False] * 2, [False] * 2, [True] * 2] * 2
    assert env.max_episode_length == 3
    env.close()


def test_observations_are_not_overwritten_by_the_next_step():
    env = GymnasiumVector(2, CPU, 0, id="Pendulum-v1")
    first = env.get_observations()["policy"]
    copy = first.clone()
    env.step(torch.ones(2, 1))
    assert torch.equal(first, copy)
    env.close()


def test_a_student_is_distilled_in_it(tmp_path):
    torch.manual_seed(0)
    teacher = torch.nn.Linear(3, 1)
    actor = {f"mlp.0.{name}": value for name, value in teacher.state_dict().items()}
    torch.save({"actor_state_dict": actor}, tmp_path / "model_0.pt")
    plugins = ["gymnasium_vector", "teachers.rsl_rl_actor"]
    runner = distilled(
        write_project(tmp_path),
        f"simulation_plugins={[f'data_collection.distillation.{name}' for name in plugins]}",
        "environment={type: gymnasium_vector, params: {id: Pendulum-v1, max_episode_length: 7}}",
        "observations={student: [policy], teacher: [teacher]}",
        "teacher={type: rsl_rl_actor, params: {path: model_0.pt}}",
        "interface.action=1",
        "model.component_build_args.action_head.action=1",
        "evaluation={every: 6, num_envs: 3}",
    )
    batch = runner.history.transitions(torch.arange(60))
    torch.testing.assert_close(batch[STATE][..., :2].square().sum(2), torch.ones(60, 1))
    torch.testing.assert_close(batch[ACTION], teacher(batch[STATE]).detach())
    row = figures(runner.loop.save_dir)[-1]
    lengths = row["Train/mean_episode_length"], row["Evaluation/mean_episode_length"]
    assert lengths == (7, 7)
    assert row["Evaluation/mean_reward"] < 0  # a pendulum's rewards are costs


def test_unfitting_environments_are_refused():
    with pytest.raises(ConfigError, match="Nowhere-v0"):
        GymnasiumVector(2, CPU, 0, id="Nowhere-v0")
    with pytest.raises(ConfigError, match="takes actions of Discrete"):
        GymnasiumVector(2, CPU, 0, id="CartPole-v1")
    with pytest.raises(ConfigError, match=r"cannot be made with \{'foo': 1\}"):
        GymnasiumVector(2, CPU, 0, id="Pendulum-v1", kwargs={"foo": 1})
    with pytest.raises(ConfigError, match="'foo:Bar-v0' cannot be made"):
        GymnasiumVector(2, CPU, 0, id="foo:Bar-v0")
    with pytest.raises(ConfigError, match=r"shows Tuple.*expected a box of real numbers"):
        GymnasiumVector(2, CPU, 0, id="Blackjack-v1")
