import numpy as np
import pytest

from trainer.errors import DataError
from trainer.holdout import held_out_samples


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.3])
def test_an_episode_is_held_out_whole_and_stays_so_when_others_are_added(fraction):
    def held_out(episodes):
        episode_of_sample = np.repeat(np.arange(episodes), 2)
        rows = held_out_samples(episode_of_sample, fraction, 0, "here").reshape(episodes, 2)
        assert (rows[:, 0] == rows[:, 1]).all()
        return set(np.flatnonzero(rows[:, 0]))

    first, second = held_out(500), held_out(1000)
    assert first == {episode for episode in second if episode < 500}
    assert len(first) == pytest.approx(500 * fraction, rel=0.1)
    assert len(second) == pytest.approx(1000 * fraction, rel=0.1)


def test_another_seed_holds_out_others():
    episodes = np.arange(100)
    first, second = (held_out_samples(episodes, 0.1, seed, "here") for seed in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize(("fraction", "missing"), [(0.01, "validation"), (0.99, "training")])
def test_too_few_episodes_are_an_error(fraction, missing):
    with pytest.raises(DataError, match=f"here: of 8 episodes none is left for {missing}"):
        held_out_samples(np.arange(8), fraction, 0, "here")
