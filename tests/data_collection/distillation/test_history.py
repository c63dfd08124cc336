import pytest
import torch

from data_collection.distillation.history import History, Layout
from trainer.interfaces import ACTION, ACTION_IS_PAD, EPISODE_START, STATE

ENVS, STEPS = 2, 3


def filled(
    blocks, *, kept=10, obs_steps=1, context=0, memory=None, begins=(0,), dtype=torch.float32
):
    """A history whose states are (environment, step of the run); ``begins``: episodes' steps."""
    layout = Layout(2, 1, memory or {}, ENVS, STEPS)
    history = History(
        layout, max_size=kept * layout.block, obs_steps=obs_steps, context=context, dtype=dtype
    )
    for block in range(blocks):
        rows, frames = history.claim_block()
        for step in range(STEPS):
            time = block * STEPS + step
            for env in range(ENVS):
                rows[step, env, 0], rows[step, env, 1] = env, time
                rows[step, env, 2:] = 100 * env + time
                frames[step, env] = time - max(b for b in begins if b <= time)
    return history


def test_transitions_are_counted_from_the_oldest():
    history = filled(blocks=5, kept=3)
    batch = history.transitions(torch.tensor([0, 1, 17]))
    assert batch[STATE].tolist() == [[[0, 6]], [[1, 6]], [[1, 14]]]
    assert batch[ACTION].tolist() == [[[6]], [[106]], [[114]]]
    assert batch[ACTION_IS_PAD].tolist() == [[False]] * 3
    assert len(history) == 18
    assert history.forgotten


def test_the_history_of_a_decision_goes_across_blocks_but_not_across_episodes():
    history = filled(blocks=3, obs_steps=4, begins=(0, 5))
    ages = torch.tensor([8 * ENVS + 1, 5 * ENVS, 4 * ENVS, 1 * ENVS])
    batch = history.transitions(ages)
    assert batch[STATE][:, :, 1].tolist() == [
        [5, 6, 7, 8],
        [5, 5, 5, 5],
        [1, 2, 3, 4],
        [0, 0, 0, 1],
    ]
    assert batch[STATE][:, :, 0].tolist() == [[1] * 4, [0] * 4, [0] * 4, [0] * 4]
    assert batch[ACTION].tolist() == [[[108]], [[5]], [[4]], [[1]]]


def test_a_full_ring_looks_back_across_its_seam():
    history = filled(blocks=4, kept=3, obs_steps=3)
    batch = history.transitions(torch.tensor([(9 - 3) * ENVS]))  # step 9 lies at the ring's start
    assert batch[STATE][0, :, 1].tolist() == [7, 8, 9]


def test_windows_hold_consecutive_steps_of_one_environment():
    history = filled(blocks=4, kept=3, begins=(0, 8))
    blocks, envs = torch.tensor([0, 1, 2]), torch.tensor([1, 0, 1])
    batch = history.windows(blocks, envs, start=1, length=2)
    assert batch[STATE].tolist() == [[[1, 4], [1, 5]], [[0, 7], [0, 8]], [[1, 10], [1, 11]]]
    assert batch[ACTION].squeeze(2).tolist() == [[104, 105], [7, 8], [110, 111]]
    assert batch[EPISODE_START].tolist() == [[False, False], [False, True], [False, False]]


def test_a_window_brings_the_memory_of_its_first_step():
    history = filled(blocks=1, memory={"hidden": (2, 3)})
    batch = history.windows(torch.tensor([0]), torch.tensor([1]), start=1, length=2)
    assert batch["memory.hidden"].tolist() == [[[101.0] * 3] * 2]
    assert history.ring.rows.shape[1] == 2 + 1 + 6


def test_what_was_before_a_window_may_lie_in_an_earlier_block():
    history = filled(blocks=3, begins=(0, 4))
    states, begins = history.before(torch.tensor([2]), torch.tensor([0]), start=0, length=3)
    assert states[0, :, 1].tolist() == [3, 4, 5]
    assert begins.tolist() == [[False, True, False]]


def test_what_was_before_the_history_is_the_oldest_of_the_same_environment():
    history = filled(blocks=1)
    states, _ = history.before(torch.tensor([0, 0]), torch.tensor([0, 1]), start=1, length=3)
    assert states.tolist() == [[[0, 0]] * 3, [[1, 0]] * 3]


def test_batches_are_float32_whatever_is_stored():
    history = filled(blocks=1, dtype=torch.float16)
    batch = history.transitions(torch.tensor([3]))
    assert {batch[STATE].dtype, batch[ACTION].dtype} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_memory_of_a_transition_is_what_its_arrays_take(dtype):
    history = filled(blocks=2, memory={"hidden": (5,)}, dtype=dtype)
    stored = history.ring.rows.nbytes + history.frames.rows.nbytes
    assert history.bytes_per_transition == history.layout.bytes_per_transition(dtype)
    assert stored == history.bytes_per_transition * history.ring.capacity


def test_memory_is_within_two_percent_of_what_is_stored():
    layout = Layout(65, 4, {}, 100, 24)
    raw = (65 + 4) * 4 + 4  # the numbers, and which step of its episode it is
    assert layout.bytes_per_transition(torch.float32) <= 1.02 * raw


def test_a_restored_history_gives_the_same_batches():
    history = filled(blocks=5, kept=3, obs_steps=2)
    copy = filled(blocks=0, kept=3, obs_steps=2)
    copy.load_state_dict({k: v.clone() for k, v in history.state_dict().items()})
    ages = torch.arange(2, 18)
    assert torch.equal(history.transitions(ages)[STATE], copy.transitions(ages)[STATE])
