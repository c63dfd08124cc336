import numpy as np
import pytest

from components.datasets.rounds import (
    merged_statistics,
    open_rounds,
    recorded_environment,
    recorded_tasks,
)
from trainer.errors import DataError, MissingDataError


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


def test_statistics_are_merged_over_rounds(tmp_path, record, episode):
    record("a", episode([1, 1, 0], [0] * 3, first_state=0, first_action=0))
    record("b", episode([1], [0], first_state=9, first_action=5))
    merged = merged_statistics(open_rounds(tmp_path, ["a", "b"]), np.ones(2, bool))
    state, action = merged["observation.state"], merged["action"]
    assert (state.count, state.mean[0], state.min[0], state.max[0]) == (4, 3.0, 0.0, 9.0)
    np.testing.assert_allclose(state.std[0], np.std([0, 1, 2, 9]))
    assert (action.count, action.mean[0]) == (3, 2.0)


def test_no_valid_action_at_all_is_an_error(tmp_path, record, episode):
    record("a", episode([0, 0], [0, 0]))
    with pytest.raises(DataError, match="statistics of action"):
        merged_statistics(open_rounds(tmp_path, ["a"]), np.ones(1, bool))


def test_the_newest_environment_is_taken_and_a_difference_said(tmp_path, record, episode, caplog):
    for name, params in (("a", "{n: 1}"), ("b", "{n: 2, cameras: [x]}"), ("c", "{n: 2}")):
        record(name, episode([1], [0]), config=f"environment: {{type: toy, params: {params}}}\n")
    newest = {"type": "toy", "params": {"n": 2}}
    assert recorded_environment(open_rounds(tmp_path, ["b", "c"])) == newest
    assert caplog.text == ""
    assert recorded_environment(open_rounds(tmp_path, ["a", "c"])) == newest
    assert "the newest is taken" in caplog.text


def test_each_task_is_named_with_its_first_round(tmp_path, record, episode):
    wrapped = "{environment: {type: toy, params: {task: push}}, delay: 2}"
    for name, params in (
        ("a", "{task: push, cameras: [x]}"),
        ("b", wrapped),
        ("c", "{id: Walker-v5}"),
        ("d", "{n: 1}"),
    ):
        record(name, episode([1], [0]), config=f"environment: {{type: toy, params: {params}}}\n")
    record("e", episode([1], [0]), config="seed: 0\n")
    found = recorded_tasks(open_rounds(tmp_path, ["a", "b", "c", "d", "e"]))
    assert found == {"push": str(tmp_path / "a"), "Walker-v5": str(tmp_path / "c")}


def test_a_round_without_an_environment_has_none(tmp_path, record, episode):
    record("a", episode([1], [0]), config="seed: 0\n")
    assert recorded_environment(open_rounds(tmp_path, ["a"])) is None
