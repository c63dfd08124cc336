"""Whole distillations of a toy."""

import itertools
import json
import logging
import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data_collection.distillation import runner as runner_module
from data_collection.distillation.launch import enter_distillation
from data_collection.distillation.setting import Setting
from data_collection.distillation.student import load_distillation
from data_collection.distillation.student_evaluation import Performance
from tests.support.toy import equal_bits
from tests.support.vector_toy import ALONE, BLENDED, VectorToy, distilled, figures, write_project
from trainer.acting import load_policy
from trainer.checkpoint import open_checkpoint
from trainer.errors import ConfigError
from trainer.interfaces import ACTION, STATE
from trainer.pruning import prune_checkpoints
from trainer.stopping import Interrupted

HALF = "algorithm.storage_dtype=float16"
# Of a student that learns, the lowest reward is an early one.
BEST = [
    "evaluation={every: 1, num_envs: 20}",
    "train.save_every=1",
    "train.checkpoints={keep_last: 1, best: {metric: Evaluation/mean_reward, mode: min}}",
]
STAGES = list(itertools.product([True, False], [True, False]))


@pytest.fixture
def path(tmp_path):
    return write_project(tmp_path)


def saved(path, folder="runs/toy/exp1", epoch=6):
    return path.parents[4] / folder / f"epoch_{epoch}"


def state_of(checkpoint):
    found = open_checkpoint(checkpoint)
    components = {name: found.component(name) for name in found.components()}
    return components, found.training_state(), found.read_text("normalization.json")


@pytest.mark.parametrize(("dagger", "two_stages"), STAGES)
def test_all_four_combinations_run_and_say_what_they_do(path, caplog, dagger, two_stages):
    caplog.set_level(logging.INFO)
    runner = distilled(
        path,
        f"algorithm.use_dagger={str(dagger).lower()}",
        f"algorithm.use_two_stage_training={str(two_stages).lower()}",
    )
    rows = figures(runner.loop.save_dir)
    phases = [row["Distillation/training_phase"] for row in rows]
    assert phases == ([1, 1, 1, 2, 2, 2] if two_stages else [2] * 6)
    sizes = [row["Buffer/size"] for row in rows]
    assert sizes == ([20, 40, 60, 60, 60, 60] if dagger else [20] * 6)
    ages = [row["Buffer/mean_age"] for row in rows]
    assert ages == ([0, 0.5, 1, 1, 1, 1] if dagger else [0] * 6)
    text = caplog.text
    assert ("SWITCHING TO PHASE 2" in text) == two_stages
    assert ("[DAgger] Aggregated 20 transitions. Total buffer size: 60/60" in text) == dagger
    begun = "[DAgger] Initialized aggregated buffer with capacity: 60 transitions ("
    assert (begun in text) == dagger
    assert ("[DAgger] Maximum buffer size: 60 transitions" in text) == dagger
    assert rows[-1]["Loss/behavior"] < rows[0]["Loss/behavior"]
    wanted = {"Train/mean_reward", "Train/mean_episode_length", "toy/place"}
    wanted |= {"Perf/collection_fps", "Perf/learning_fps", "Perf/total_fps"}
    assert wanted <= rows[-1].keys()


def test_the_teacher_acts_in_stage_1_and_the_student_in_stage_2(path):
    asked = []

    class Watched(VectorToy):
        def step(self, actions):
            asked.append((self.get_observations()["teacher"], actions.clone()))
            return super().step(actions)

    runner = distilled(path, env=Watched(4, torch.device("cpu"), 0))
    for step, (seen, action) in enumerate(asked):
        taught = torch.allclose(action, -seen[:, :2] + 0.5)
        assert taught == (step < 15), step
    assert runner.setting.env.steps == 30


def test_what_is_stored_are_observations_and_the_teachers_actions(path):
    history = distilled(path).history
    batch = history.transitions(torch.arange(len(history)))
    expected = -batch[STATE][..., :2] + 0.5
    torch.testing.assert_close(batch[ACTION], expected)


def test_in_half_precision_the_history_is_stored_and_saved(path):
    runner = distilled(path, HALF)
    assert runner.history.ring.rows.dtype == torch.float16
    file = saved(path) / "distillation_rank_0.safetensors"
    assert load_file(file)["history/rows.rows"].dtype == torch.float16
    batch = runner.history.transitions(torch.arange(len(runner.history)))
    torch.testing.assert_close(batch[ACTION], 0.5 - batch[STATE][..., :2], atol=2e-3, rtol=0)
    assert not torch.equal(batch[ACTION], 0.5 - batch[STATE][..., :2])
    rows = figures(runner.loop.save_dir)
    assert rows[-1]["Loss/behavior"] < rows[0]["Loss/behavior"]


def test_blended_stages_share_the_steps(path):
    asked = []

    class Watched(VectorToy):
        def step(self, actions):
            taught = (actions - (0.5 - self.get_observations()["teacher"][:, :2])).abs().amax(1)
            asked.append((taught > 1e-6).float().mean())
            return super().step(actions)

    distilled(
        path,
        "algorithm.phase1_iterations=1",
        "algorithm.blend_iterations=3",
        "num_envs=200",
        "algorithm.max_buffer_size=6000",
        env=Watched(200, torch.device("cpu"), 0),
    )
    shares = torch.stack(asked).view(6, 5).mean(1)
    torch.testing.assert_close(shares, torch.tensor([0, 0.25, 0.5, 0.75, 1, 1]), atol=0.06, rtol=0)


@pytest.mark.parametrize(
    ("student", "obs_steps", "changes"),
    [
        ("mlp", 1, []),
        ("gru", 1, []),
        ("lstm", 1, []),
        ("mlp", 3, BLENDED),
        ("gru", 1, [*BLENDED, "algorithm.memory=burnt_in", "algorithm.burn_in=4"]),
        ("gru", 1, [HALF]),
    ],
    ids=["mlp", "gru", "lstm", "mlp-3-moments-blended", "gru-burnt-in-blended", "gru-float16"],
)
@pytest.mark.parametrize("stop", [2, 4])
def test_a_resumed_run_has_the_same_bits(tmp_path, student, obs_steps, changes, stop):
    path = write_project(tmp_path, student, obs_steps)
    whole = distilled(path, "train.save_dir=runs/whole", *changes)
    settings = [*changes, f"train.save_every={stop}", "train.checkpoints.keep_last=9"]
    distilled(path, "train.save_dir=runs/parts", *settings)
    parts = path.parents[4] / "runs" / "parts"
    resumed = parts / f"epoch_{stop}"
    loaded = load_distillation(path, ["train.save_dir=runs/again", *settings])
    with enter_distillation(loaded, ALONE, str(resumed)) as runner:
        assert runner.iteration == stop
        runner.run()
    assert equal_bits(state_of(saved(path, "runs/whole")), state_of(saved(path, "runs/again")))
    assert equal_bits(whole.history.state_dict(), runner.history.state_dict())
    assert whole.collector.episodes.figures() == runner.collector.episodes.figures()


def test_a_burnt_in_memory_trains_and_stores_none(tmp_path):
    path = write_project(tmp_path, "gru")
    runner = distilled(path, "algorithm.memory=burnt_in", "algorithm.burn_in=4")
    assert runner.history.ring.rows.shape[1] == 3 + 2
    rows = figures(runner.loop.save_dir)
    assert rows[-1]["Loss/behavior"] < rows[0]["Loss/behavior"]


def test_the_stored_memory_is_what_the_student_had(tmp_path):
    """From its memory and observations every window gives the actions that were taken there."""
    path = write_project(tmp_path, "gru")
    taken = []

    class Watched(VectorToy):
        def step(self, actions):
            taken.append(actions.clone())
            return super().step(actions)

    settings = ["algorithm.use_two_stage_training=false", "train.optimizer.params.lr=1e-30"]
    runner = distilled(path, *settings, "normalization.state=none", env=Watched(4, "cpu", 0))
    windows = runner.history.windows(torch.tensor([2]), torch.tensor([3]), start=2, length=3)
    policy = runner.loop.policy
    with torch.no_grad():
        features, _ = policy.trunk(
            windows[STATE], {"hidden": windows["memory.hidden"]}, windows["episode_start"]
        )
        acted = policy.head(features.flatten(0, 1))[:, 0]
    expected = torch.stack(taken)[-3:, 3]  # the newest block is the third
    torch.testing.assert_close(acted, expected)


def test_a_checkpoint_is_a_policy_with_frozen_statistics(path):
    runner = distilled(path)
    policy = load_policy(open_checkpoint(saved(path)), torch.device("cpu")).policy
    seen = torch.randn(5, 1, 3)
    runner.loop.policy.eval()
    ours = runner.loop.policy.predict_action({STATE: seen}, {}, [])[0]
    assert torch.equal(policy.predict_action({STATE: seen}, {}, [])[0], ours)
    statistics = policy.normalizer.statistics[STATE]
    assert statistics.count == 6 * 20
    np.testing.assert_array_equal(statistics.mean, runner.statistics[STATE].seen.mean)


def test_a_warm_start_adds_to_the_statistics_that_the_weights_were_trained_with(path):
    distilled(path)
    kept = load_policy(open_checkpoint(saved(path)), torch.device("cpu")).policy.normalizer
    settings = ["train.load_dir=runs/toy/exp1", "train.save_dir=runs/warm", "seed=1"]
    runner = distilled(path, *settings, "algorithm.max_buffer_size=120")
    own = runner.history.transitions(torch.arange(120))[STATE][:, 0].double()
    before, after = kept.statistics[STATE], runner.loop.policy.normalizer.statistics[STATE]
    assert (before.count, after.count) == (120, 240)
    mean = (torch.from_numpy(before.mean) + own.mean(0)) / 2
    square = (torch.from_numpy(before.std**2 + before.mean**2) + own.square().mean(0)) / 2
    torch.testing.assert_close(torch.from_numpy(after.mean), mean, atol=1e-5, rtol=0)
    deviation = (square - mean.square()).sqrt()
    torch.testing.assert_close(torch.from_numpy(after.std), deviation, atol=1e-5, rtol=0)


def test_without_a_saved_buffer_a_resumed_run_says_so(path, caplog):
    settings = ["algorithm.save_buffer=false", "train.save_every=4"]
    distilled(path, *settings)
    loaded = load_distillation(path, [*settings, "train.save_dir=runs/again"])
    with enter_distillation(loaded, ALONE, str(saved(path, epoch=4))) as runner:
        assert len(runner.history) == 0
        runner.run()
    assert len(runner.history) == 40
    assert "it begins empty" in caplog.text


def test_another_configuration_is_not_resumed(path):
    distilled(path)
    with pytest.raises(ConfigError, match=r"algorithm\.num_learning_epochs: saved 2, now 3"):
        distilled(path, "algorithm.num_learning_epochs=3")


def test_a_relative_folder_of_another_configuration_is_not_resumed(path, monkeypatch):
    distilled(path)
    monkeypatch.chdir(path.parents[4] / "runs")
    loaded = load_distillation(path, ["algorithm.sampling=recency", "train.save_dir=runs/more"])
    with (
        pytest.raises(ConfigError, match='saved "uniform", now "recency"'),
        enter_distillation(loaded, ALONE, "toy/exp1"),
    ):
        pass


def test_the_best_checkpoint_of_another_configuration_is_not_resumed(path):
    distilled(path, *BEST)
    loaded = load_distillation(path, ["algorithm.sampling=recency", "train.save_dir=runs/more"])
    with (
        pytest.raises(ConfigError, match='saved "uniform", now "recency"'),
        enter_distillation(loaded, ALONE, str(path.parents[4] / "runs/toy/exp1/best")),
    ):
        pass


def test_a_finished_run_can_be_made_longer(path, caplog):
    caplog.set_level("INFO")
    distilled(path)
    distilled(path)
    assert "nothing is left to train; a larger iterations goes on" in caplog.text
    runner = distilled(path, "iterations=8")
    assert [row["step"] for row in figures(runner.loop.save_dir)] == list(range(1, 9))


def test_a_request_to_stop_saves_and_the_same_command_goes_on(path):
    with enter_distillation(load_distillation(path), ALONE) as runner:
        iterate = runner.iterate

        def interrupted():
            iterate()
            if runner.iteration == 4:
                os.kill(os.getpid(), signal.SIGTERM)

        runner.iterate = interrupted
        with pytest.raises(Interrupted, match="after iteration 4 of 6"):
            runner.run()
    whole = distilled(path, "train.save_dir=runs/whole")
    again = distilled(path)
    assert equal_bits(state_of(saved(path, "runs/whole")), state_of(saved(path)))
    assert equal_bits(whole.history.state_dict(), again.history.state_dict())


@pytest.mark.parametrize(("taught", "has_share"), [(2.0, True), (0.0, False), (-2.0, False)])
def test_a_share_is_given_of_a_positive_reward_only(path, monkeypatch, taught, has_share):
    monkeypatch.setattr(Setting, "play_teacher", lambda self: Performance(taught, 7.0, None))
    runner = distilled(path, "evaluation={every: 6, num_envs: 5}")
    row = figures(runner.loop.save_dir)[-1]
    assert row["Evaluation/teacher_reward"] == taught
    share = row["Evaluation/mean_reward"] / taught if has_share else None
    assert row.get("Evaluation/share_of_teacher") == share


def test_the_best_checkpoint_is_kept(path):
    runner = distilled(path, *BEST)
    rows = figures(runner.loop.save_dir)
    lowest = min(rows, key=lambda row: row["Evaluation/mean_reward"])
    assert lowest["step"] < 6
    kept = {folder.name for folder in runner.loop.save_dir.glob("epoch_*")}
    assert kept == {f"epoch_{lowest['step']}", "epoch_6"}
    metrics = open_checkpoint(runner.loop.save_dir / f"epoch_{lowest['step']}").metrics()
    assert metrics["Evaluation/mean_reward"] == lowest["Evaluation/mean_reward"]


def test_a_kill_before_the_others_are_deleted_does_not_cost_the_best(path, monkeypatch):
    whole = distilled(path, *BEST, "train.save_dir=runs/whole").loop.save_dir
    best = json.loads((whole / "best.json").read_text())["checkpoint"]

    def killed(save_dir, checkpoints):
        if (save_dir / best).exists():
            raise KeyboardInterrupt
        prune_checkpoints(save_dir, checkpoints)

    monkeypatch.setattr(runner_module, "prune_checkpoints", killed)
    with pytest.raises(KeyboardInterrupt):
        distilled(path, *BEST)
    monkeypatch.undo()
    again = distilled(path, *BEST).loop.save_dir
    assert (again / "best.json").read_text() == (whole / "best.json").read_text()
    assert {p.name for p in again.glob("epoch_*")} == {p.name for p in whole.glob("epoch_*")}


def test_the_student_is_evaluated_in_the_same_episodes_as_the_teacher(path):
    runner = distilled(path, "evaluation={every: 3, num_envs: 50}")
    rows = [row for row in figures(runner.loop.save_dir) if "Evaluation/mean_reward" in row]
    assert [row["step"] for row in rows] == [3, 6]
    assert rows[0]["Evaluation/teacher_reward"] == rows[1]["Evaluation/teacher_reward"]
    policy = load_policy(open_checkpoint(saved(path)), torch.device("cpu")).policy
    interface = runner.loop.run.interface
    assert (
        rows[1]["Evaluation/mean_reward"] == runner.setting.play_student(policy, interface).reward
    )
    distilled(path, "train.save_dir=runs/plain")
    assert equal_bits(state_of(saved(path)), state_of(saved(path, "runs/plain")))
