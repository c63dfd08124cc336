import numpy as np
import pytest

from components.datasets.dagger_rounds import DaggerRounds
from trainer.interfaces import Interface

CHUNK = 16
STEPS = 100


@pytest.fixture
def expert(record, episode):
    """A round whose expert acts to the end: 85 full chunks, then 15, 14, … 1 steps."""
    record("round_000", episode([1] * STEPS, [0] * STEPS))
    return (85 * CHUNK + 15 * 16 / 2) / STEPS  # 14.8


def load(tmp_path, rounds, chunk=CHUNK, **params):
    return DaggerRounds(Interface(1, chunk, 10, 1, 1), tmp_path, rounds=rounds, **params)


def test_a_students_round_labelled_step_by_step_is_named(tmp_path, expert, record, episode, caplog):
    record("round_001", *[episode([1] * STEPS, [1] * STEPS)] * 2)
    dataset = load(tmp_path, ["round_000", "round_001"])
    assert expert == 14.8
    share = 200 / (1480 + 200)
    expected = f"round_000 14.8 ({1 - share:.0%} of all), round_001 1.0 ({share:.0%} of all)"
    assert f"valid steps of a chunk of 16: {expected}" in dataset.describe()
    [warning] = caplog.messages
    assert warning.startswith(f"{tmp_path / 'round_001'}: a target has 1.0 valid steps of a chunk")
    assert "have room for 14.8" in warning
    assert "labels: {relabel: rollout}" in warning


def test_what_the_ends_of_episodes_explain_is_no_warning(tmp_path, record, episode, caplog):
    record("round_000", episode([1] * STEPS, [0] * STEPS), *[episode([1] * 3, [0] * 3)] * 50)
    dataset = load(tmp_path, ["round_000"])
    mean = (1480 + 50 * 6) / 250
    assert f"round_000 {mean:.1f} (100% of all)" in dataset.describe()
    assert caplog.messages == []


def test_label_chunks_of_a_students_round_are_no_warning(tmp_path, expert, record, episode, caplog):
    labels = {
        "label__frame": np.arange(STEPS),
        "label__chunk": np.zeros((STEPS, CHUNK, 1), np.float32),
        "label__valid": np.ones((STEPS, CHUNK), bool),
    }
    record("round_001", episode([1] * STEPS, [1] * STEPS, **labels))
    dataset = load(tmp_path, ["round_000", "round_001"])
    assert "round_001 16.0 (52% of all)" in dataset.describe()
    assert caplog.messages == []


def test_one_step_policies_hear_nothing_of_it(tmp_path, expert, record, episode, caplog):
    record("round_001", episode([1] * STEPS, [1] * STEPS))
    dataset = load(tmp_path, ["round_000", "round_001"], chunk=1)
    assert "valid steps" not in dataset.describe()
    assert caplog.messages == []


def test_only_episodes_that_are_learnt_from_count(tmp_path, expert, record, episode, caplog):
    record("round_001", episode([1] * STEPS, [0] * STEPS), episode([1] * STEPS, [1] * STEPS))
    dataset = load(tmp_path, ["round_000", "round_001"], episodes=["round_000/r000", "r001"])
    assert "round_000 14.8 (94% of all), round_001 1.0 (6% of all)" in dataset.describe()
    assert len(caplog.messages) == 1
    alone = load(tmp_path, ["round_000", "round_001"], episodes=["round_000/r000"])
    assert "round_001" not in alone.describe()
