"""What a user may get wrong is refused before anything is trained, or named where it happens."""

import logging

import pytest
import torch
import yaml

from data_collection.distillation import make_history
from data_collection.distillation.student import load_distillation
from tests.support.vector_toy import VectorToy, distilled, write_project
from trainer.errors import CheckpointError, ConfigError, DataError


@pytest.fixture
def path(tmp_path):
    return write_project(tmp_path)


def nothing_was_trained(path):
    return not list((path.parents[4]).glob("runs/**/epoch_*"))


def actor_file(folder, inputs, outputs, value=None):
    layer = torch.nn.Linear(inputs, outputs)
    if value is not None:
        for parameter in layer.parameters():
            torch.nn.init.constant_(parameter, value)
    actor = {f"mlp.0.{name}": value for name, value in layer.state_dict().items()}
    torch.save({"actor_state_dict": actor}, folder / "model_0.pt")
    return folder / "model_0.pt"


def rsl_rl(file):
    return [
        "simulation_plugins=[tests.support.vector_toy,"
        " data_collection.distillation.teachers.rsl_rl_actor]",
        f"teacher={{type: rsl_rl_actor, params: {{path: '{file}'}}}}",
    ]


def test_a_missing_teacher_is_refused(path):
    config = yaml.safe_load(path.read_text())
    del config["teacher"]
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"teacher: there is no teacher.*random weights"):
        distilled(path)
    assert nothing_was_trained(path)


def test_a_teachers_checkpoint_that_is_not_there_is_named(path, tmp_path):
    with pytest.raises(CheckpointError, match=r"nobody\.pt: cannot be read"):
        distilled(path, *rsl_rl(tmp_path / "nobody.pt"))
    assert nothing_was_trained(path)


@pytest.mark.parametrize("sizes", [(5, 2), (6, 3)])
def test_the_teacher_of_another_environment_is_refused(path, tmp_path, sizes):
    file = actor_file(tmp_path, *sizes)
    message = (
        rf"teacher: this teacher takes {sizes[0]} numbers and gives {sizes[1]} actions; the "
        "environment gives 6 numbers .* takes 2 actions"
    )
    with pytest.raises(ConfigError, match=message):
        distilled(path, *rsl_rl(file))
    assert nothing_was_trained(path)


def test_a_checkpoint_of_ppo_teaches(path, tmp_path):
    torch.manual_seed(0)
    file = actor_file(tmp_path, 6, 2)
    runner = distilled(path, *rsl_rl(file))
    actor = torch.load(file, weights_only=True)["actor_state_dict"]
    seen = torch.randn(7, 6)
    expected = torch.nn.functional.linear(seen, actor["mlp.0.weight"], actor["mlp.0.bias"])
    torch.testing.assert_close(runner.setting.teacher(seen), expected)


def test_a_teacher_of_the_wrong_type_for_its_parameters_is_refused(path):
    with pytest.raises(ConfigError, match=r"teacher\.params\.path: .*unknown parameter"):
        distilled(path, "teacher.params={path: x.pt}")


@pytest.mark.parametrize("size", [10**12, 10**15])
def test_a_buffer_larger_than_memory_is_refused_with_the_size_that_fits(path, size):
    with pytest.raises(ConfigError, match=r"max_buffer_size: .* are free on cpu; [\d,]+ fit"):
        distilled(path, f"algorithm.max_buffer_size={size}")
    assert nothing_was_trained(path)


def test_the_size_that_is_named_does_fit(path, monkeypatch):
    monkeypatch.setattr(make_history, "free_memory", lambda device: 10_000_000)
    # Of 24 bytes each: 800,000 beside 1,000,000 as it grows for the last time.
    with pytest.raises(ConfigError, match=r"take 43\.2 MB while .*; 200,000 fit"):
        distilled(path, "algorithm.max_buffer_size=1000000")
    make_history.check_fits(200_000, 20, 24, torch.device("cpu"), "here")
    with pytest.raises(ConfigError, match="here: 200,020 transitions"):
        make_history.check_fits(200_020, 20, 24, torch.device("cpu"), "here")


@pytest.mark.parametrize("iterations", [6, 7])
def test_a_first_stage_beyond_the_run_is_refused(path, iterations):
    with pytest.raises(ConfigError, match="the run has 6 iterations: the student would never act"):
        load_distillation(path, [f"algorithm.phase1_iterations={iterations}"])
    settings = ["algorithm.use_two_stage_training=false"]
    load_distillation(path, [*settings, f"algorithm.phase1_iterations={iterations}"])


@pytest.mark.parametrize("evaluation", ["null", "{every: 30}"])
def test_a_best_checkpoint_without_figures_is_refused(path, evaluation):
    settings = ["train.checkpoints={best: {metric: Evaluation/mean_reward}}"]
    load_distillation(path, [*settings, "evaluation={every: 50}"])
    with pytest.raises(ConfigError, match=r"divides train\.save_every \(100\), got (None|30)"):
        load_distillation(path, [*settings, f"evaluation={evaluation}"])


def test_an_observation_that_is_not_finite_is_named_by_environment_and_step(path):
    message = r"environment 1 gave .* at step 13 \(an observation of the student"
    with pytest.raises(DataError, match=message):
        distilled(path, "environment.params={nan_observation_at: 13}")


def test_a_reward_that_is_not_finite_is_named_by_environment_and_step(path):
    message = r"environment 2 gave .* at step 17 \(the reward, .*\); look for what the simulation"
    with pytest.raises(DataError, match=message):
        distilled(path, "environment.params={nan_reward_at: 18}")


class Spoilt(VectorToy):
    """Environment 3 shows another value in a group from a step on."""

    def __init__(self, group, column, value, step):
        super().__init__(4, torch.device("cpu"), 0)
        self.spoilt = group, column, value, step

    def get_observations(self):
        observations = super().get_observations()
        group, column, value, step = self.spoilt
        if self.steps >= step:
            observations[group][3, column] = value
        return observations


HALF = "algorithm.storage_dtype=float16"


def test_a_bad_observation_of_the_teacher_is_told_from_the_students(path):
    message = (
        r"environment 3 gave .* at step 8 \(the teacher's observation, 2 of 20 in this iteration\);"
        " look for what the simulation did there; nothing"
    )
    with pytest.raises(DataError, match=message):
        distilled(path, env=Spoilt("teacher", 1, torch.nan, 8))


def test_what_comes_of_a_bad_action_of_the_teacher_is_not_taken_for_its_cause(path, tmp_path):
    file = actor_file(tmp_path, 6, 2, value=3e38)  # twice of which is infinite
    with pytest.raises(DataError, match=r"at step 0 \(the teacher's action, .* look for what"):
        distilled(path, *rsl_rl(file))


def test_an_observation_beyond_half_precision_is_told_from_a_bad_one(path):
    message = (
        r"environment 3 gave .* at step 4 \(an observation of the student.* stored as float16, "
        r"whose largest number is 65,504: set algorithm\.storage_dtype: float32"
    )
    with pytest.raises(DataError, match=message):
        distilled(path, HALF, env=Spoilt("student", 1, 1e5, 4))
    with pytest.raises(DataError, match=r"in this iteration\); look for what the simulation"):
        distilled(path, HALF, env=Spoilt("student", 1, torch.nan, 4))
    distilled(path, env=Spoilt("student", 1, 1e5, 4))


def test_an_action_beyond_half_precision_is_told_from_a_bad_one(path, tmp_path):
    file = actor_file(tmp_path, 6, 2, value=1e5)
    with pytest.raises(DataError, match=r"at step 0 \(the teacher's action.* as float16"):
        distilled(path, HALF, *rsl_rl(file))


def test_values_of_which_only_the_sum_is_too_large_are_none(path):
    class Rich(VectorToy):
        def step(self, actions):
            observations, reward_n, *others = super().step(actions)
            return observations, torch.full_like(reward_n, 3e38), *others

    distilled(path, env=Rich(4, torch.device("cpu"), 0))


def test_a_gradient_length_without_a_memory_is_said_once(path, caplog):
    caplog.set_level(logging.WARNING)
    distilled(path, "algorithm.gradient_length=15")
    said = [r.message for r in caplog.records if "has no memory" in r.message]
    assert len(said) == 1
    caplog.clear()
    distilled(path, "train.save_dir=runs/silent")
    assert "has no memory" not in caplog.text


def test_an_unknown_observation_group_gets_the_nearest_name(path):
    message = (
        r"observations\.student: the environment gives no observation group 'studnt' "
        r"\(did you mean 'student'\?\); it gives student, teacher"
    )
    with pytest.raises(ConfigError, match=message):
        distilled(path, "observations.student=[studnt]")
    assert nothing_was_trained(path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "interface.state=4",
            r"interface\.state: expected 3, got 4: the environment has 3 numbers",
        ),
        ("interface.action=4", r"interface\.action: expected 2, got 4"),
        ("interface.chunk=4", r"interface\.chunk: expected 1, got 4"),
        ("policy.type=behaviour_cloning", "did you mean 'behavior_cloning'"),
        ("algorithm.use_dager=true", "did you mean 'use_dagger'"),
        ("environment.type=vector_toys", "did you mean 'vector_toy'"),
        ("num_envs=0", "num_envs: "),
    ],
)
def test_sizes_and_names_that_do_not_fit_are_refused(path, setting, message):
    with pytest.raises(ConfigError, match=message):
        distilled(path, setting)
    assert nothing_was_trained(path)


def test_an_environment_with_another_number_of_environments_is_refused(path):
    with pytest.raises(ConfigError, match="num_envs: expected 5, got 4"):
        distilled(path, env=VectorToy(5, torch.device("cpu"), 0))


def test_an_evaluation_elsewhere_than_in_the_environment_passed_in_is_refused(path):
    with pytest.raises(ConfigError, match=r"evaluation: .* \(vector_toy\), hence in another"):
        distilled(path, "evaluation={every: 3}", env=VectorToy(4, torch.device("cpu"), 0))
    assert nothing_was_trained(path)


def test_a_student_with_a_memory_takes_one_observation_at_a_time(tmp_path):
    path = write_project(tmp_path, "gru")
    with pytest.raises(ConfigError, match=r"obs_steps: expected 1, got 3: .* remembers"):
        distilled(path, "interface.obs_steps=3")
