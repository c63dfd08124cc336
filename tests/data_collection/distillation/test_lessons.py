from collections import Counter

import pytest
import torch

from data_collection.distillation.history import History, Layout
from data_collection.distillation.lessons import LessonPlan, Lessons, recent_ages
from data_collection.distillation.schema import AlgorithmConfig
from trainer.interfaces import EPISODE_START, MEMORY_PREFIX, STATE

ENVS = 4


def no_memory(states, begins):
    raise AssertionError("nobody asked for a memory")


def lessons(
    blocks, *, steps=6, kept=5, has_memory=False, remember=no_memory, obs_steps=1, **settings
):
    plan = LessonPlan(AlgorithmConfig(**settings), ENVS, steps, obs_steps, has_memory)
    layout = Layout(2, 1, {}, ENVS, steps)
    size = kept * layout.block if plan.algorithm.use_dagger else plan.max_size
    history = History(layout, max_size=size, obs_steps=obs_steps, context=plan.context)
    for block in range(blocks):
        rows, frames = history.claim_block()
        time = block * steps + torch.arange(steps)[:, None].expand(steps, ENVS)
        rows[..., 0], rows[..., 1] = torch.arange(ENVS).expand(steps, ENVS), time
        frames.copy_(time)
    return Lessons(history, plan, remember, seed=0)


def seen(batches):
    """How often each (environment, step of the run) was drawn."""
    rows = torch.cat([batch[STATE].flatten(0, 1) for batch in batches])
    return Counter(map(tuple, rows.long().tolist()))


@pytest.mark.parametrize("mini_batches", [1, 5])
def test_an_epoch_draws_as_much_as_was_just_collected(mini_batches):
    many = lessons(5, num_learning_epochs=3, num_mini_batches=mini_batches)
    batches = list(many.batches(0))
    assert sum(len(b[STATE]) for b in batches) == 3 * 24
    assert len(batches) == 3 * mini_batches == many.plan.batches(7)
    assert {step // 6 for _, step in seen(batches)} == set(range(5))


def test_without_aggregation_each_new_transition_is_seen_once_an_epoch():
    newest = lessons(3, use_dagger=False, num_learning_epochs=2, num_mini_batches=4)
    counts = seen(newest.batches(0))
    assert counts == Counter({(e, t): 2 for e in range(ENVS) for t in range(12, 18)})


@pytest.mark.parametrize("blocks", [2, 7])
def test_a_full_pass_sees_everything_once(blocks):
    everything = lessons(blocks, full_pass=True, num_learning_epochs=1, max_buffer_size=5 * 24)
    batches = list(everything.batches(0))
    kept = range(max(0, blocks - 5) * 6, blocks * 6)
    assert seen(batches) == Counter({(e, t): 1 for e in range(ENVS) for t in kept})
    assert len(batches) == everything.plan.batches(blocks - 1)


def test_draws_depend_on_seed_and_iteration_alone():
    first, second = lessons(4), lessons(4)
    same = [[b[STATE] for b in each.batches(3)] for each in (first, second)]
    assert all(map(torch.equal, *same))
    other = [b[STATE] for b in first.batches(4)]
    assert not all(map(torch.equal, same[0], other))


@pytest.mark.parametrize("length", [1, 4, 5, 6, 9])
def test_windows_cover_a_block_and_the_shorter_rest_is_learnt_too(length):
    windows = lessons(
        1, has_memory=True, use_dagger=False, gradient_length=length, num_learning_epochs=1
    )
    batches = list(windows.batches(0))
    assert seen(batches) == Counter({(e, t): 1 for e in range(ENVS) for t in range(6)})
    full, rest = divmod(6, length)
    assert [b[STATE].shape[1] for b in batches] == [length] * full + [rest] * (rest > 0)
    assert len(batches) == windows.plan.batches(0)
    assert batches[0][EPISODE_START][:, 0].all()


def test_nothing_is_dropped_at_24_steps_and_windows_of_15():
    windows = lessons(
        3, steps=24, has_memory=True, gradient_length=15, use_dagger=False, num_learning_epochs=1
    )
    assert sum(b[STATE][..., 0].numel() for b in windows.batches(0)) == 24 * ENVS


def test_a_burnt_in_memory_comes_from_the_steps_before_the_window():
    asked = []

    def remember(states, begins):
        asked.append(states[:, :, 1])
        return {"hidden": states[:, -1, 1:]}

    windows = lessons(
        3, has_memory=True, remember=remember, gradient_length=4, memory="burnt_in", burn_in=3
    )
    batch = next(iter(windows.batches(0)))
    first = batch[STATE][:, 0, 1]
    assert torch.equal(batch[MEMORY_PREFIX + "hidden"][:, 0], (first - 1).clamp(min=0))
    expected = torch.stack([(first - 3), (first - 2), (first - 1)], dim=1).clamp(min=0)
    assert torch.equal(asked[0], expected)


def test_what_lost_its_context_is_not_drawn():
    long = lessons(7, obs_steps=4, full_pass=True, num_learning_epochs=1, max_buffer_size=5 * 24)
    batches = list(long.batches(0))
    newest = torch.cat([batch[STATE][:, -1, 1] for batch in batches])
    assert newest.min() == 2 * 6 + 3
    assert len(batches) == long.plan.batches(6)


def test_recent_ages_halve_at_the_half_life():
    ages = recent_ages((torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000, 1000, 100.0)
    counts = torch.bincount(ages, minlength=1000).double()
    assert ages.max() < 1000
    for age in (0, 50, 200):
        assert float(counts[age + 100] / counts[age]) == pytest.approx(0.5, abs=0.02)


def test_recency_prefers_new_transitions():
    recent = lessons(5, sampling="recency", recency_half_life=0.5, num_learning_epochs=40)
    counts = Counter()
    for (_, step), count in seen(recent.batches(0)).items():
        counts[step // 6] += count
    # Blocks weigh 4 ** -age: the newest has 0.75 of all.
    assert counts[4] / sum(counts.values()) == pytest.approx(0.75, abs=0.05)


def test_without_aggregation_the_history_holds_the_context_beside_the_newest_block():
    plan = LessonPlan(AlgorithmConfig(use_dagger=False), ENVS, 6, 9, False)
    assert plan.context == 8
    assert plan.max_size == 6 * ENVS * 3
