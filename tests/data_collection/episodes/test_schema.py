import numpy as np
import pytest

from data_collection.episodes.schema import EpisodeError, check_arrays, check_id


def test_accepts_every_kind_of_key_and_returns_the_steps(make_arrays):
    every_kind = {"images": True, "labels": True, "generated": True}
    assert check_arrays("a", make_arrays(steps=6, **every_kind)) == 6


def test_accepts_labels_at_no_frame(make_arrays):
    arrays = make_arrays(labels=True)
    for key in ("label.frame", "label.chunk", "label.valid"):
        arrays[key] = arrays[key][:0]
    assert check_arrays("a", arrays) == 5


def _drop(key):
    return lambda arrays: arrays.pop(key)


def _set(key, change):
    return lambda arrays: arrays.update({key: change(arrays[key])})


def _nan_at_3(array):
    array = array.copy()
    array[3, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop("reward"), "keys missing: reward"),
        (_drop("label.valid"), "keys missing: label.valid"),
        (_set("action", _nan_at_3), "action is NaN or infinite at step 3"),
        (_set("action", lambda a: a.astype(np.float64)), "action must be float32, got float64"),
        (_set("action", lambda a: a.astype(">f4")), "action must be float32"),
        (_set("action", lambda a: a[:-1]), r"action must have shape \(5, A\), got \(4, 2\)"),
        (_set("executed_action", lambda a: a[:, :1]), r"must have shape \(5, 2\), got \(5, 1\)"),
        (_set("actor", lambda a: a + 3), "actor must be one of 0, 1, 2"),
        (_set("label.frame", lambda a: a[::-1]), "must rise strictly within 0…4"),
        (_set("label.frame", lambda a: a + 4), "must rise strictly within 0…4"),
        (_set("observation.images.head", lambda a: a.transpose(0, 2, 3, 1)), r"\(5, 3, h, w\)"),
        (_drop("observation.images.left.data"), "both data and offsets"),
        (_set("observation.segmentation.head", lambda a: a.astype(np.int32)), "must be int16"),
        (_set("observation.segmentation.head", lambda a: a[:, :1]), r"\(5, 2, h, w\)"),
        (_set("observation.images.left.offsets", lambda a: a + 1), "6 rising offsets from 0 to 5"),
        (_drop("generated.prompt.text"), r"keys missing: generated\.prompt\.text"),
        (_drop("generated.is_baseline"), r"keys missing: generated\.is_baseline"),
        (_set("generated.prompt.index", lambda a: a + 1), r"generated\.prompt needs \.text"),
        (_set("generated.prompt.index", lambda a: a - 1), r"generated\.prompt needs \.text"),
        (_set("generated.prompt.text", lambda a: a[1:]), r"generated\.prompt needs \.text"),
        (_set("generated.valid.head", lambda a: a[:, :3]), r"rows of shape \(4, 1\), a bit for"),
        (_drop("observation.images.head"), r"observation\.images\.head, which is not there"),
        (lambda arrays: arrays.update(rewrd=arrays["reward"]), "unknown key 'rewrd'"),
        (
            lambda arrays: arrays.update({"observation.odour": arrays["reward"]}),
            "unknown observation 'observation.odour'",
        ),
    ],
)
def test_refuses_what_the_format_does_not_allow(make_arrays, damage, message):
    arrays = make_arrays(images=True, labels=True, generated=True)
    damage(arrays)
    with pytest.raises(EpisodeError, match=message) as caught:
        check_arrays("rollout_7", arrays)
    assert "rollout_7" in str(caught.value)


def test_refuses_an_episode_without_steps(make_arrays):
    with pytest.raises(EpisodeError, match="no steps"):
        check_arrays("a", {key: array[:0] for key, array in make_arrays().items()})


@pytest.mark.parametrize("rollout_id", ["", "../x", "a/b", ".hidden", "a b", "x" * 201])
def test_refuses_ids_that_are_no_file_names(rollout_id):
    with pytest.raises(EpisodeError, match="rollout id"):
        check_id(rollout_id)
