import pytest
import torch

from data_collection.distillation.episode_log import EpisodeLog


def test_returns_and_lengths_go_on_across_iterations():
    log = EpisodeLog(2)
    rewards = torch.arange(8.0).view(4, 2)  # environment 0: 0 2 4 6; environment 1: 1 3 5 7
    dones = torch.tensor([[False, False], [True, False], [False, False], [False, True]])
    success = torch.tensor([[True, True], [True, False], [False, False], [False, False]])
    assert log.figures() == {}
    log.add(rewards, dones, success)
    assert log.figures() == pytest.approx(
        {
            "Train/mean_reward": ((0 + 2) + (1 + 3 + 5 + 7)) / 2,
            "Train/mean_episode_length": (2 + 4) / 2,
            "Train/success_rate": 1 / 2,
        }
    )
    log.add(
        rewards, torch.tensor([[False, False], [True, False], [True, True], [False, False]]), None
    )
    finished = torch.tensor([2.0, 16.0, (4 + 6) + (0 + 2), 4.0, 1 + 3 + 5])
    assert log.figures()["Train/mean_reward"] == pytest.approx(float(finished.mean()))
    lengths = torch.tensor([2.0, 4.0, 4.0, 1.0, 3.0])
    assert log.figures()["Train/mean_episode_length"] == pytest.approx(float(lengths.mean()))


def test_only_the_last_hundred_episodes_count():
    log = EpisodeLog(1)
    log.add(torch.arange(150.0)[:, None], torch.ones(150, 1, dtype=torch.bool), None)
    assert log.figures()["Train/mean_reward"] == pytest.approx(sum(range(50, 150)) / 100)


def test_a_restored_log_goes_on_as_the_saved_one():
    torch.manual_seed(0)
    logs = EpisodeLog(3), EpisodeLog(3)
    logs[0].add(torch.rand(20, 3), torch.rand(20, 3) < 0.2, None)
    logs[1].load_state_dict(logs[0].state_dict())
    more = torch.rand(20, 3), torch.rand(20, 3) < 0.2, None
    for log in logs:
        log.add(*more)
    assert logs[0].figures() == logs[1].figures()
