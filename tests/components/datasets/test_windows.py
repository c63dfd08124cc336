import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.datasets.windows import label_lengths, valid_lengths


def test_a_run_ends_at_gaps_after_other_actors_and_at_the_end():
    #        expert    student acts   no label      second episode
    valid = [1, 1, 1, 1, 1, 0, 1, 1, 1]
    actor = [0, 0, 1, 0, 0, 0, 2, 0, 0]
    lengths = np.array([7, 2])
    found = valid_lengths(np.array(valid, bool), np.array(actor) == 0, lengths)
    assert found.tolist() == [3, 2, 1, 2, 1, 0, 1, 2, 1]


@given(st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1), min_size=1))
def test_lengths_follow_the_recursion(episodes):
    expected = []
    for steps in episodes:
        lengths = [0] * (len(steps) + 1)
        for t in reversed(range(len(steps))):
            valid, actor = steps[t]
            last = t == len(steps) - 1
            lengths[t] = 0 if not valid else 1 if actor != 0 or last else 1 + lengths[t + 1]
        expected += lengths[:-1]
    flat = [step for steps in episodes for step in steps]
    found = valid_lengths(
        np.array([valid for valid, _ in flat]),
        np.array([actor == 0 for _, actor in flat]),
        np.array([len(steps) for steps in episodes]),
    )
    assert found.tolist() == expected


def test_a_label_counts_up_to_its_first_invalid_step():
    valid = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1]], bool)
    assert label_lengths(valid).tolist() == [3, 1, 0]
