import logging
import multiprocessing
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from components.datasets.dagger_rounds import DaggerRounds
from components.datasets.row_sources import MappedRows
from data_collection.episodes import pack
from trainer.errors import DataError
from trainer.interfaces import Interface

CACHES = ["ram", "none", "device"]


@pytest.fixture
def two_rounds(record, episode):
    """Round a: one expert episode. Round b: a student's with a gap, then one with labels."""
    labels = {
        "label__frame": np.array([0, 2]),
        "label__chunk": np.array([[70, 71, 72], [80, 81, 82]], np.float32)[..., None],
        "label__valid": np.array([[1, 1, 0], [0, 1, 1]], bool),
    }
    nothing = {key: value[:0] for key, value in labels.items()}
    record("a", episode([1, 1, 1, 1, 1], [0] * 5))
    record(
        "b",
        episode([1, 0, 1, 1], [0, 0, 1, 0], first_state=200, first_action=20, **nothing),
        episode([1, 1, 1], [0, 0, 0], first_state=300, first_action=30, **labels),
    )
    return ["a", "b"]


def test_episodes_may_be_shorter_than_their_labels(tmp_path, interface, record, episode):
    labels = {
        "label__frame": np.array([0]),
        "label__chunk": np.arange(4, dtype=np.float32).reshape(1, 4, 1),
        "label__valid": np.ones((1, 4), bool),
    }
    record("short", episode([1, 1], [0, 0], **labels))
    batch = DaggerRounds(interface, tmp_path, rounds=["short"]).__getitems__([0])
    assert batch["action"].flatten().tolist() == [0, 1, 2, 3]
    record("unlabelled", episode([1, 1], [0, 0]))
    with pytest.raises(DataError, match=r"chunk is 4, but the longest episode or label .* has 2"):
        DaggerRounds(interface, tmp_path, rounds=["unlabelled"])


@pytest.mark.parametrize("cache", CACHES)
def test_every_number_of_every_sample(tmp_path, interface, two_rounds, cache):
    dataset = DaggerRounds(interface, tmp_path, rounds=two_rounds, cache=cache)
    batch = dataset.__getitems__(range(len(dataset)))
    # episode, frame, round | state t-2 … t | action t … t+3, then how many of them are valid
    expected = [
        (0, 0, 0, [100, 100, 100], [10, 11, 12, 13], 4),
        (0, 1, 0, [100, 100, 101], [11, 12, 13, 14], 4),
        (0, 2, 0, [100, 101, 102], [12, 13, 14, 14], 3),
        (0, 3, 0, [101, 102, 103], [13, 14, 14, 14], 2),
        (0, 4, 0, [102, 103, 104], [14, 14, 14, 14], 1),
        (1, 0, 1, [200, 200, 200], [20, 20, 20, 20], 1),  # then no valid action
        (1, 2, 1, [200, 201, 202], [22, 22, 22, 22], 1),  # the student executed it
        (1, 3, 1, [201, 202, 203], [23, 23, 23, 23], 1),
        (2, 0, 1, [300, 300, 300], [70, 71, 71, 71], 2),  # from the label
        (2, 1, 1, [300, 300, 301], [31, 32, 32, 32], 2),
        (2, 2, 1, [300, 301, 302], [32, 32, 32, 32], 1),  # its label has no valid first step
    ]
    assert len(dataset) == len(expected)
    pads = [[k >= row[5] for k in range(4)] for row in expected]
    assert batch["episode_index"].tolist() == [row[0] for row in expected]
    assert batch["frame_index"].tolist() == [row[1] for row in expected]
    assert batch["round_index"].tolist() == [row[2] for row in expected]
    assert batch["observation.state"].tolist() == [[[s] for s in row[3]] for row in expected]
    assert batch["action"].tolist() == [[[a] for a in row[4]] for row in expected]
    assert batch["action_is_pad"].tolist() == pads
    assert dataset.episode_of_sample().tolist() == [row[0] for row in expected]
    assert set(batch) == {
        *("observation.state", "action", "action_is_pad"),
        *("episode_index", "frame_index", "round_index"),
    }


def test_dtypes_are_those_of_the_contract(tmp_path, interface, two_rounds):
    batch = DaggerRounds(interface, tmp_path, rounds=two_rounds).__getitems__([3, 1])
    kinds = {key: value.dtype for key, value in batch.items()}
    assert kinds == {
        "observation.state": torch.float32,
        "action": torch.float32,
        "action_is_pad": torch.bool,
        "episode_index": torch.int64,
        "frame_index": torch.int64,
        "round_index": torch.int64,
    }


@pytest.fixture
def camera_round(record, episode):
    def make(name="cameras", seed=0):
        rng = np.random.default_rng(seed)

        def one(steps):
            return episode(
                [1] * steps,
                [0] * steps,
                observation__images__head=rng.integers(0, 256, (steps, 3, 4, 6)).astype(np.uint8),
                observation__images__left=rng.integers(0, 256, (steps, 3, 4, 6)).astype(np.uint8),
                task=np.full(steps, steps),
            )

        episodes = [one(steps) for steps in (5, 8, 6)]
        record(name, *episodes)
        return episodes

    return make


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("packed", [False, True])
def test_images_are_the_recorded_frames(tmp_path, camera_round, cache, packed):
    episodes = camera_round()
    if packed:
        pack(tmp_path / "cameras")
    interface = Interface(2, 4, 10, 1, 1, {"head": (3, 4, 6)})
    dataset = DaggerRounds(interface, tmp_path, rounds=["cameras"], cache=cache)
    batch = dataset.__getitems__([0, 18, 7, 7])
    assert "observation.images.left" not in batch
    assert batch["observation.images.head"].dtype == torch.uint8
    assert batch["task"].tolist() == [5, 6, 8, 8]
    places = zip(batch["episode_index"], batch["frame_index"], strict=True)
    for images, (e, t) in zip(batch["observation.images.head"], places, strict=True):
        frames = episodes[e]["observation.images.head"]
        np.testing.assert_array_equal(images, frames[[max(t - 1, 0), t]])


def test_a_low_dimensional_batch_is_that_of_all_keys_without_cameras(tmp_path, camera_round):
    camera_round()
    interface = Interface(2, 4, 10, 1, 1, {"head": (3, 4, 6)})
    dataset = DaggerRounds(interface, tmp_path, rounds=["cameras"])
    whole, low_dim = (get([0, 18, 7]) for get in (dataset.__getitems__, dataset.low_dim))
    assert whole.keys() - low_dim.keys() == {"observation.images.head", "task"}
    for key, value in low_dim.items():
        torch.testing.assert_close(value, whole[key], rtol=0, atol=0)


def test_low_dimensional_samples_never_touch_pixels(tmp_path, camera_round):
    camera_round()
    dataset = DaggerRounds(Interface(2, 4, 10, 1, 1), tmp_path, rounds=["cameras"], cache="ram")
    dataset.__getitems__([0])
    assert "0.0 MB in RAM" in dataset.describe()  # 19 frames of 8 bytes and a task, no images


def _collated_already(batch):
    return batch


@pytest.mark.parametrize("cache", ["ram", "none"])
@pytest.mark.parametrize("context", ["fork", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_workers_deliver_what_the_main_process_does(tmp_path, camera_round, cache, context):
    camera_round()
    interface = Interface(2, 4, 10, 1, 1, {"head": (3, 4, 6)})
    dataset = DaggerRounds(interface, tmp_path, rounds=["cameras"], cache=cache)
    order = [[3, 1, 4], [15, 9, 2], [6, 5, 3]]
    expected = [dataset.__getitems__(rows) for rows in order]  # the parent has open maps too
    loader = DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=order,
        collate_fn=_collated_already,
        num_workers=2,
        multiprocessing_context=multiprocessing.get_context(context),
    )
    for found, wanted in zip(loader, expected, strict=True):
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_a_target_ends_where_the_expert_was_disturbed(tmp_path, interface, episode, record, caplog):
    executed = np.array([10, 11.5, 12, 13, 14.5], np.float32)[:, None]
    record("a", episode([1] * 5, [0] * 5, executed_action=executed))
    dataset = DaggerRounds(interface, tmp_path, rounds=["a"])
    assert (~dataset.__getitems__(range(5))["action_is_pad"]).sum(1).tolist() == [2, 1, 3, 2, 1]
    assert "no target has more than 3 valid steps of a chunk of 4" in caplog.text
    one = DaggerRounds(replace(interface, chunk=1), tmp_path, rounds=["a"])
    assert one.__getitems__(range(5))["action"].flatten().tolist() == [10, 11, 12, 13, 14]


def test_resident_memory_stays_within_a_tenth_of_the_raw_bytes(tmp_path, record, episode):
    wide = episode([1] * 2000, [0] * 2000)
    wide["observation.state"] = np.zeros((2000, 23), np.float32)
    wide["action"] = wide["executed_action"] = np.zeros((2000, 7), np.float32)
    record("wide", wide)
    dataset = DaggerRounds(Interface(16, 16, 20, 23, 7), tmp_path, rounds=["wide"], cache="ram")
    dataset.to_device(torch.device("cpu"))
    windows = vars(dataset._windows).values()
    tables = sum(a.nbytes for a in windows if a is not None)
    resident = sum(source._flat.nbytes for source in dataset._sources.values())
    assert resident + tables <= 1.1 * 2000 * (23 + 7) * 4


def test_a_pickle_carries_no_maps(tmp_path, interface, two_rounds):
    dataset = DaggerRounds(interface, tmp_path, rounds=two_rounds, cache="none")
    dataset.__getitems__([0])
    source = dataset._sources["action"]
    assert isinstance(source, MappedRows)
    assert source._views
    assert source.__getstate__()["_views"] == {}
    assert source._maps.__getstate__() == {"_bytes": {}}


def test_the_choice_of_cache_is_said(tmp_path, interface, two_rounds, caplog):
    dataset = DaggerRounds(interface, tmp_path, rounds=two_rounds)
    assert "11 samples from 3 episodes of 2 round(s)" in dataset.describe()
    with caplog.at_level(logging.INFO):
        dataset.to_device(torch.device("cpu"))
    assert "in RAM (cache: auto," in caplog.text
    caplog.clear()
    dataset.to_device(torch.device("cpu"))
    assert caplog.text == ""


def test_round_weights_become_sample_weights(tmp_path, interface, two_rounds):
    plain = DaggerRounds(interface, tmp_path, rounds=two_rounds)
    assert plain.sample_weights() is None
    weighted = DaggerRounds(interface, tmp_path, rounds=two_rounds, round_weights="by_round")
    np.testing.assert_allclose(weighted.sample_weights(), [0.1] * 5 + [1 / 12] * 6)


def test_the_environment_is_that_of_the_round(tmp_path, interface, two_rounds):
    dataset = DaggerRounds(interface, tmp_path, rounds=two_rounds)
    assert dataset.environment_config() == {"type": "toy", "params": {"level": 3}}


def test_a_chunk_longer_than_any_episode_is_refused(tmp_path, two_rounds):
    with pytest.raises(DataError, match=r"chunk is 6, .* 5 steps"):
        DaggerRounds(Interface(1, 6, 10, 1, 1), tmp_path, rounds=two_rounds)


def test_rounds_with_other_sizes_are_refused(tmp_path, two_rounds):
    with pytest.raises(DataError, match=r"a: observation\.state has shape \(1,\)"):
        DaggerRounds(Interface(1, 1, 10, 39, 1), tmp_path, rounds=two_rounds)


def test_a_file_that_vanished_after_opening_is_named(tmp_path, interface, two_rounds):
    for cache in ("ram", "none"):
        dataset = DaggerRounds(interface, tmp_path, rounds=two_rounds, cache=cache)
        path = tmp_path / "b" / "episodes" / "r001.h5"
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError, match=r"r001\.h5"):
            dataset.__getitems__([9])
        path.write_bytes(data)
