import numpy as np
import pytest

from data_collection.episodes import (
    EpisodeAttributes,
    EpisodeError,
    RoundWriter,
    open_round,
    seal,
    write_episode,
)

ATTRIBUTES = EpisodeAttributes(seed=1, success=True)


def _files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_bytes_do_not_depend_on_the_order_of_collection(tmp_path, make_arrays):
    for name, order, opens in (("x", (0, 1, 2), True), ("y", (2, 0, 1), False)):
        writer = RoundWriter(tmp_path / name, "a: 1")
        for number in order:
            arrays = make_arrays(number, steps=4 + number)
            writer.enter(write_episode(tmp_path / name, f"r{number}", arrays, ATTRIBUTES))
        seal(tmp_path / name, {} if opens else writer.records)
    assert _files(tmp_path / "x") == _files(tmp_path / "y")


def test_statistics_are_those_of_all_states_and_of_the_valid_actions(make_round, make_arrays):
    sealed = open_round(make_round(episodes=5))
    parts = [make_arrays(n, steps=3 + n) for n in range(5)]
    states = np.concatenate([part["observation.state"] for part in parts]).astype(np.float64)
    actions = np.concatenate([p["action"][p["action_valid"]] for p in parts]).astype(np.float64)
    for key, rows in (("observation.state", states), ("action", actions)):
        found = sealed.statistics[key]
        assert found.count == len(rows)
        np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.std, rows.std(0), rtol=1e-12)
        np.testing.assert_array_equal(found.max, rows.max(0))


def test_sealing_again_changes_nothing(make_round):
    folder = make_round()
    before = _files(folder)
    seal(folder)
    assert _files(folder) == before


def test_an_empty_round_is_refused(make_round):
    with pytest.raises(EpisodeError, match="holds no episodes"):
        make_round(episodes=0)


def test_an_unlisted_episode_is_refused(make_round, make_arrays):
    folder = make_round(sealed=False)
    write_episode(folder, "stray", make_arrays(), ATTRIBUTES)
    with pytest.raises(EpisodeError, match=r"lacks 1 episodes, the first stray\.h5; adopt"):
        seal(folder)


def test_a_truncated_episode_is_refused(make_round):
    folder = make_round(sealed=False)
    path = folder / "episodes" / "rollout_002.h5"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EpisodeError, match=r"rollout_002\.h5: missing or truncated"):
        seal(folder)


def test_episodes_must_agree_in_keys_and_shapes(make_round, make_arrays):
    folder = make_round(sealed=False)
    arrays = make_arrays()
    arrays["observation.state"] = arrays["observation.state"][:, :2]
    record = write_episode(folder, "z", arrays, ATTRIBUTES)
    RoundWriter(folder, (folder / "config.yaml").read_text()).enter(record)
    with pytest.raises(EpisodeError, match=r"z\.h5: observation\.state is .*\(2,\), but .*\(3,\)"):
        seal(folder)
