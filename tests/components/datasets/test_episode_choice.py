import numpy as np
import pytest

from components.datasets.dagger_rounds import DaggerRounds
from components.datasets.episode_scores import EpisodeScores
from data_collection.episodes import EpisodeAttributes, RoundWriter, seal, write_episode
from trainer.errors import DataError
from trainer.interfaces import ACTION, STATE

SUCCESSES = {"round_000": (True, False), "round_001": (False, False, True)}
KEPT = [0, 4]


@pytest.fixture
def load(tmp_path, interface, episode):
    """Two rounds of episodes of 5 steps, some of which failed; ids begin anew in the second."""
    for number, (name, successes) in enumerate(SUCCESSES.items()):
        writer = RoundWriter(tmp_path / name, "environment: {type: toy, params: {level: 3}}\n")
        for e, success in enumerate(successes):
            first = 1000 * number + 100 * e
            arrays = episode([1] * 5, [0] * 5, first_state=first, first_action=first)
            attributes = EpisodeAttributes(seed=e, success=success)
            writer.enter(write_episode(tmp_path / name, f"r{e:03d}", arrays, attributes))
        seal(tmp_path / name)

    def make(**params):
        return DaggerRounds(interface, tmp_path, **({"rounds": list(SUCCESSES)} | params))

    return make


def test_failed_episodes_are_left_out_with_all_their_frames(load):
    dataset = load(only_successes=True)
    assert dataset.episode_of_sample().tolist() == np.repeat(KEPT, 5).tolist()
    batch = dataset.__getitems__(range(len(dataset)))
    states = np.concatenate([first + np.arange(5.0) for first in (0, 1200)])
    assert batch["observation.state"][:, -1, 0].tolist() == states.tolist()
    assert batch["round_index"].tolist() == [0] * 5 + [1] * 5
    assert (
        "10 samples from 2 of 5 episodes (the successful ones) of 2 round(s)" in dataset.describe()
    )


def test_statistics_are_those_of_the_successes(load):
    statistics = load(only_successes=True).statistics()
    values = np.concatenate([first + np.arange(5.0) for first in (0, 1200)])
    for key in (STATE, ACTION):
        found = statistics[key]
        assert (found.count, found.min, found.max) == (10, 0, 1204)
        np.testing.assert_allclose([found.mean, found.std], [[values.mean()], [values.std()]])


def test_without_a_choice_all_are_taken(load):
    assert len(load()) == 25
    assert load().describe() == load(only_successes=False, episodes=None).describe()
    assert "25 samples from 5 episodes of 2 round(s)" in load().describe()


def test_a_round_without_success_weighs_nothing(load):
    dataset = load(rounds=["round_001", "round_000"], only_successes=True, round_weights=[0, 1])
    np.testing.assert_allclose(dataset.sample_weights(), [0] * 5 + [0.2] * 5)


def test_nothing_left_is_an_error(load):
    with pytest.raises(DataError, match="only_successes: true leaves none of 1 episodes"):
        load(only_successes=True, episodes=["round_001/r001"])
    with pytest.raises(DataError, match=r"episodes: \[\] leaves none of 0 episodes"):
        load(episodes=[])


def test_episodes_are_taken_by_name(load):
    dataset = load(episodes=["r002", "round_000/r001"])
    assert np.unique(dataset.episode_of_sample()).tolist() == [1, 4]
    assert "10 samples from 2 of 5 episodes" in dataset.describe()
    assert dataset.statistics()[STATE].max == 1204


def test_a_name_must_stand_for_one_episode(load):
    with pytest.raises(DataError, match="'r001' is in several rounds; write round_000/r001 or rou"):
        load(episodes=["r001"])
    with pytest.raises(DataError, match=r"'r0020' is in none .* \(did you mean 'r002'\?\)"):
        load(episodes=["r0020"])


def test_scores_are_needed_for_what_is_chosen_alone(load, tmp_path):
    identities = load().episode_identities()
    entries = [identities[e] | {"score": float(e)} for e in KEPT]
    text = str({"episodes": entries}).replace("'", '"')
    (tmp_path / "scores.json").write_text(text)
    scores = EpisodeScores(file="scores.json", keep=0.5)
    dataset = load(only_successes=True, episode_scores=scores)
    assert np.unique(dataset.episode_of_sample()).tolist() == [4]
