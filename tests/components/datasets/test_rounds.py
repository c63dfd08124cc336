import numpy as np
import pytest

from components.datasets.rounds import (
    check_fits,
    merged_statistics,
    open_rounds,
    recorded_environment,
)
from trainer.errors import DataError, MissingDataError
from trainer.interfaces import Interface


def _names(rounds):
    return [sealed.folder.name for sealed in rounds]


def test_a_folder_of_rounds_gives_its_sealed_ones_by_number(tmp_path, record, episode):
    for name, sealed in (("a/round_010", True), ("a/round_002", True), ("a/round_011", False)):
        record(name, episode([1], [0]), sealed=sealed)
    record("b", episode([1], [0]))
    assert _names(open_rounds(tmp_path, ["b", "a"])) == ["b", "round_002", "round_010"]
    assert _names(open_rounds(tmp_path, [str(tmp_path / "a" / "round_010")])) == ["round_010"]


def test_rounds_that_are_not_there_unfinished_or_named_twice(tmp_path, record, episode):
    record("a/round_000", episode([1], [0]), sealed=False)
    record("b", episode([1], [0]))
    with pytest.raises(MissingDataError, match="nowhere"):
        open_rounds(tmp_path, ["nowhere"])
    with pytest.raises(MissingDataError, match=r"no sealed round under .*unfinished: 0"):
        open_rounds(tmp_path, ["a"])
    with pytest.raises(DataError, match="is not sealed"):
        open_rounds(tmp_path, ["a/round_000"])
    with pytest.raises(DataError, match="already"):
        open_rounds(tmp_path, ["b", "b"])
    with pytest.raises(DataError, match="at least one"):
        open_rounds(tmp_path, [])


def _frames(steps, name="head"):
    return {f"observation__images__{name}": np.zeros((steps, 3, 4, 6), np.uint8)}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"state": 2}, r"round_000: observation\.state has shape \(1,\), .*says \(2,\)"),
        ({"action": 7}, r"action has shape \(1,\), but interface says \(7,\)"),
        ({"cameras": {"head": (3, 4, 4)}}, r"images\.head has shape \(3, 4, 6\).*\(3, 4, 4\)"),
        ({"cameras": {"haed": (3, 4, 6)}}, r"images\.haed was not recorded.*did you mean 'head'"),
    ],
)
def test_other_sizes_than_the_interface_are_named(tmp_path, record, episode, sizes, message):
    record("round_000", episode([1], [0], **_frames(1)))
    (sealed,) = open_rounds(tmp_path, ["."])
    fitting = {"state": 1, "action": 1, "cameras": {"head": (3, 4, 6)}}
    check_fits(sealed, Interface(1, 1, 10, **fitting))
    with pytest.raises(DataError, match=message):
        check_fits(sealed, Interface(1, 1, 10, **(fitting | sizes)))


def test_jpeg_frames_are_refused_with_what_to_do(tmp_path, record, episode):
    jpeg = {
        "observation__images__head__data": np.zeros(5, np.uint8),
        "observation__images__head__offsets": np.array([0, 5]),
    }
    record("round_000", episode([1], [0], **jpeg))
    (sealed,) = open_rounds(tmp_path, ["round_000"])
    with pytest.raises(DataError, match="record uncompressed frames"):
        check_fits(sealed, Interface(1, 1, 10, 1, 1, {"head": (3, 4, 6)}))


def test_statistics_are_merged_over_rounds(tmp_path, record, episode):
    record("a", episode([1, 1, 0], [0] * 3, first_state=0, first_action=0))
    record("b", episode([1], [0], first_state=9, first_action=5))
    merged = merged_statistics(open_rounds(tmp_path, ["a", "b"]))
    state, action = merged["observation.state"], merged["action"]
    assert (state.count, state.mean[0], state.min[0], state.max[0]) == (4, 3.0, 0.0, 9.0)
    np.testing.assert_allclose(state.std[0], np.std([0, 1, 2, 9]))
    assert (action.count, action.mean[0]) == (3, 2.0)


def test_no_valid_action_at_all_is_an_error(tmp_path, record, episode):
    record("a", episode([0, 0], [0, 0]))
    with pytest.raises(DataError, match="statistics of action"):
        merged_statistics(open_rounds(tmp_path, ["a"]))


def test_the_newest_environment_is_taken_and_a_difference_said(tmp_path, record, episode, caplog):
    for name, params in (("a", "{n: 1}"), ("b", "{n: 2, cameras: [x]}"), ("c", "{n: 2}")):
        record(name, episode([1], [0]), config=f"environment: {{type: toy, params: {params}}}\n")
    newest = {"type": "toy", "params": {"n": 2}}
    assert recorded_environment(open_rounds(tmp_path, ["b", "c"])) == newest
    assert caplog.text == ""
    assert recorded_environment(open_rounds(tmp_path, ["a", "c"])) == newest
    assert "the newest is taken" in caplog.text


def test_a_round_without_an_environment_has_none(tmp_path, record, episode):
    record("a", episode([1], [0]), config="seed: 0\n")
    assert recorded_environment(open_rounds(tmp_path, ["a"])) is None
