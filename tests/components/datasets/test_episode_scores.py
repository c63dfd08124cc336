import json
import math

import numpy as np
import pytest

from components.datasets.dagger_rounds import DaggerRounds
from components.datasets.episode_scores import EpisodeScores
from trainer.errors import ConfigError, DataError, MissingDataError
from trainer.interfaces import ACTION, STATE
from trainer.registry import datasets
from trainer.schema import ComponentSpec
from trainer.signature import build

SCORES = (0.5, -1.0, 2.0, 1.0)


@pytest.fixture
def rounds(record, episode):
    """Two rounds of two episodes of 5 steps; ids begin anew in the second."""
    for number, name in enumerate(("a", "b")):
        episodes = [
            episode([1] * 5, [0] * 5, first_state=1000 * number + 100 * e, first_action=e)
            for e in range(2)
        ]
        record(name, *episodes)
    return ["a", "b"]


@pytest.fixture
def load(tmp_path, interface, rounds):
    def make(**params):
        return DaggerRounds(interface, tmp_path, **({"rounds": rounds} | params))

    return make


@pytest.fixture
def scores(tmp_path, load):
    """Return the name of a file in which the four episodes have ``SCORES``."""
    identities = load().episode_identities()
    entries = [each | {"score": s} for each, s in zip(identities, SCORES, strict=True)]
    (tmp_path / "scores.json").write_text(json.dumps({"episodes": entries}))
    return "scores.json"


def episodes_of(dataset):
    return np.unique(dataset.episode_of_sample()).tolist()


@pytest.mark.parametrize(
    ("keep", "kept"), [(0.5, [2, 3]), (0.75, [0, 2, 3]), (1.0, [0, 1, 2, 3]), (0.01, [2])]
)
def test_the_best_are_kept(load, scores, keep, kept):
    dataset = load(episode_scores=EpisodeScores(file=scores, keep=keep))
    assert episodes_of(dataset) == kept
    assert len(dataset) == 5 * len(kept)
    assert dataset.sample_weights() is None
    batch = dataset.__getitems__(range(len(dataset)))
    assert sorted(set(batch["episode_index"].tolist())) == kept
    firsts = [[0, 100, 1000, 1100][e] for e in kept]
    assert batch["observation.state"][::5, -1, 0].tolist() == firsts


def test_statistics_are_those_of_the_kept(load, scores):
    statistics = load(episode_scores=EpisodeScores(file=scores, keep=0.75)).statistics()
    states = np.concatenate([first + np.arange(5.0) for first in (0, 1000, 1100)])
    actions = np.concatenate([first + np.arange(5.0) for first in (0, 0, 1)])
    for key, values in ((STATE, states), (ACTION, actions)):
        found = statistics[key]
        assert found.count == 15
        np.testing.assert_allclose([found.mean, found.std], [[values.mean()], [values.std()]])
        assert (found.min, found.max) == (values.min(), values.max())


def test_a_temperature_weighs_frames_by_their_episode(load, scores):
    dataset = load(episode_scores=EpisodeScores(file=scores, temperature=2.0))
    expected = np.repeat([math.exp((s - 2.0) / 2.0) for s in SCORES], 5)
    np.testing.assert_allclose(dataset.sample_weights(), expected)
    assert len(dataset) == 20


def test_weights_of_rounds_and_episodes_multiply(load, scores):
    choice = EpisodeScores(file=scores, temperature=1.0)
    both = load(episode_scores=choice, round_weights=[1.0, 3.0]).sample_weights()
    each = load(episode_scores=choice).sample_weights()
    np.testing.assert_allclose(both / each, [0.25 / 10] * 10 + [0.75 / 10] * 10)


def test_what_is_kept_is_said(load, scores):
    dataset = load(episode_scores=EpisodeScores(file=scores, keep=0.5))
    assert "10 samples from 2 of 4 episodes of 2 round(s)" in dataset.describe()


def test_episodes_are_known_by_content_wherever_their_round_lies(tmp_path, load, scores):
    (tmp_path / "a").rename(tmp_path / "moved")
    dataset = load(rounds=["b", "moved"], episode_scores=EpisodeScores(file=scores, keep=0.75))
    assert episodes_of(dataset) == [0, 1, 2]


def test_other_episodes_under_the_same_ids_are_refused(load, scores, record, episode):
    record("c", episode([1] * 5, [0] * 5, first_state=7), episode([1] * 5, [0] * 5, first_state=8))
    with pytest.raises(DataError, match=r"no score for 2 of 4 episodes, such as r000 of c: it is"):
        load(rounds=["a", "c"], episode_scores=EpisodeScores(file=scores, keep=0.5))


def test_episodes_without_samples_need_no_score(load, scores, record, episode):
    record("c", episode([0] * 5, [0] * 5))
    record("d", episode([0] * 5, [0] * 5), episode([1] * 5, [0] * 5, first_state=0, first_action=0))
    choice = EpisodeScores(file=scores, keep=1.0)
    assert episodes_of(load(rounds=["b", "c", "d"], episode_scores=choice)) == [0, 1, 4]


@pytest.mark.parametrize("text", ["{}", "[]", "not JSON", '{"episodes": [{"id": "r000"}]}'])
def test_a_damaged_file_is_named(tmp_path, load, text):
    (tmp_path / "damaged.json").write_text(text)
    with pytest.raises(DataError, match=r"damaged\.json is not what trainer/score\.py writes"):
        load(episode_scores=EpisodeScores(file="damaged.json", keep=0.5))


def test_a_missing_file_is_named(load):
    with pytest.raises(MissingDataError, match=r"no file .*nowhere\.json; let trainer/score\.py"):
        load(episode_scores=EpisodeScores(file="nowhere.json", keep=0.5))


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ({"keep": 0.0}, "x.params.episode_scores.keep: expected a value greater than 0, got 0"),
        ({"keep": 1.5}, "x.params.episode_scores.keep: expected a value less than or equal to 1"),
        ({"keep": 0.5, "temperature": 1.0}, "give exactly one of keep and temperature"),
        ({}, "give exactly one of keep and temperature"),
        ({"kept": 0.5}, "kept: unknown key (did you mean 'keep'?); accepted: file, keep"),
    ],
)
def test_a_wrong_choice_is_named(tmp_path, interface, rounds, scores, choice, complaint):
    params = {"rounds": rounds, "episode_scores": {"file": scores} | choice}
    spec = ComponentSpec(type="dagger_rounds", params=params)
    with pytest.raises(ConfigError) as caught:
        build(datasets, spec, "x", {"interface": interface, "root": tmp_path})
    assert complaint in str(caught.value)
