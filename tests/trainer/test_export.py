import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tests.support.vector_toy import distilled, write_project
from trainer import export as exporting
from trainer.acting import load_policy
from trainer.checkpoint import resolve_checkpoint
from trainer.errors import ConfigError, UserError
from trainer.export import export
from trainer.interfaces import STATE, TASK
from trainer.normalization import AffineNormalizer
from trainer.schema import NormalizationConfig

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "experiment_training" / "distillation" / "point_ctrl"
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["mlp", "gru", "lstm"])
def saved(request, tmp_path_factory):
    path = write_project(tmp_path_factory.mktemp(request.param), request.param)
    runner = distilled(path)
    return load_policy(resolve_checkpoint(runner.loop.save_dir), CPU)


def shipped(folder, experiment):
    """A shipped student of ``point_ctrl`` after two short iterations."""
    settings = ["num_envs=4", "iterations=2", "algorithm.phase1_iterations=1", "evaluation=null"]
    settings += ["logging=[]", f"train.save_dir={folder}"]
    runner = distilled(SHIPPED / experiment / "distillation.yaml", *settings)
    return load_policy(resolve_checkpoint(runner.loop.save_dir), CPU)


def decisions(saved, states):
    """What the policy itself does in an episode, in real units, as it sees (steps, To, S)."""
    memory, actions = saved.policy.initial_state(1), []
    for state in states:
        with torch.no_grad():
            action, memory = saved.policy.predict_action({STATE: state[None]}, memory, [])
        actions.append(action[0, 0])
    return torch.stack(actions)


def test_both_formats_decide_as_the_checkpoint_does(saved, tmp_path):
    agrees_in_both_formats(saved, tmp_path)


def test_a_transformer_that_sees_eight_moments_decides_as_its_checkpoint_does(tmp_path):
    saved = shipped(tmp_path / "run", "exp4")
    assert saved.config.interface.obs_steps == 8
    agrees_in_both_formats(saved, tmp_path)


def agrees_in_both_formats(saved, tmp_path):
    sizes, generator = saved.config.interface, torch.Generator().manual_seed(1)
    states = 3 * torch.randn(6, sizes.obs_steps, sizes.state, generator=generator)
    expected = decisions(saved, states)
    assert export(saved, tmp_path / "student.pt") <= 1e-5
    assert export(saved, tmp_path / "student.onnx") <= 1e-5
    script = torch.jit.load(str(tmp_path / "student.pt"))
    session = onnxruntime.InferenceSession(str(tmp_path / "student.onnx"))
    fresh = list(saved.policy.initial_state(1).values())
    names = [i.name for i in session.get_inputs()]
    scripted, ran = fresh, [value.numpy() for value in fresh]
    for state, wanted in zip(states, expected, strict=True):
        action, *scripted = script(state[None], *scripted)
        torch.testing.assert_close(action[0, 0], wanted, atol=1e-5, rtol=0)
        given = dict(zip(names, [state[None].numpy(), *ran], strict=True))
        action, *ran = session.run(None, given)
        np.testing.assert_allclose(action[0, 0], wanted.numpy(), atol=1e-5)


def test_the_normaliser_is_inside(saved, tmp_path):
    export(saved, tmp_path / "student.pt")
    script = torch.jit.load(str(tmp_path / "student.pt"))
    constants = {tuple(value.shape) for value in script.state_dict().values()}
    assert tuple(saved.policy.normalizer.state_shift.shape) in constants


@pytest.mark.parametrize("suffix", ["pt", "onnx"])
def test_states_in_raw_units_are_exported_too(saved, tmp_path, suffix):
    raw = replace(saved, policy=copy.deepcopy(saved.policy))
    normalizer = saved.policy.normalizer
    raw.policy.normalizer = AffineNormalizer(
        normalizer.statistics, NormalizationConfig(state="none"), normalizer.action_transform
    )
    assert export(raw, tmp_path / f"student.{suffix}") <= 1e-5


def test_a_difference_is_found_and_leaves_no_file(saved, tmp_path, monkeypatch):
    def wrong(decision, example, file):
        file.write_bytes(b"")
        return lambda *inputs: [value + 1e-3 for value in decision(*inputs)]

    monkeypatch.setitem(exporting._EXPORTERS, ".pt", wrong)
    with pytest.raises(UserError, match=r"differs from .* by 0\.00"):
        export(saved, tmp_path / "student.pt")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_number_is_a_difference(saved, tmp_path, monkeypatch):
    def wrong(decision, example, file):
        file.write_bytes(b"")
        return lambda *inputs: [value * torch.nan for value in decision(*inputs)]

    monkeypatch.setitem(exporting._EXPORTERS, ".pt", wrong)
    with pytest.raises(UserError, match=r"differs from .* by nan"):
        export(saved, tmp_path / "student.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_function_that_does_not_look_is_found_where_the_data_lie(saved, tmp_path, monkeypatch):
    far = copy.deepcopy(saved)  # where everything near zero is clipped to the same
    statistics = far.policy.normalizer.statistics
    seen = replace(statistics[STATE], mean=np.full(3, 100.0), std=np.ones(3))
    far.policy.normalizer.update(statistics | {STATE: seen})

    def blind(decision, example, file):
        file.write_bytes(b"")
        return lambda _, *memory: list(decision(example[0], *memory))

    monkeypatch.setitem(exporting._EXPORTERS, ".pt", blind)
    with pytest.raises(UserError, match=r"differs from .* by [\d.]+, more than"):
        export(far, tmp_path / "student.pt")


def broken(saved, predict_action):
    """Return the same with a policy that decides otherwise."""
    other = replace(saved, policy=copy.deepcopy(saved.policy))
    other.policy.predict_action = predict_action
    return other


def test_a_policy_that_draws_noise_is_refused(saved, tmp_path):
    def draw(observation, state, generators):
        return torch.randn(1, 1, 2, generator=generators[0]), state

    with pytest.raises(ConfigError, match="draws noise for every decision"):
        export(broken(saved, draw), tmp_path / "student.pt")


def test_a_student_that_matches_flows_is_refused(tmp_path):
    flow = shipped(tmp_path / "run", "exp5")
    with pytest.raises(ConfigError, match="naive_flow_matching_policy draws noise"):
        export(flow, tmp_path / "student.onnx")
    assert not (tmp_path / "student.onnx").exists()


def test_a_mistake_of_a_policy_is_not_taken_for_noise(saved, tmp_path):
    def fail(observation, state, generators):
        return [][1]

    with pytest.raises(IndexError):
        export(broken(saved, fail), tmp_path / "student.pt")


def test_a_policy_that_is_told_its_task_is_refused(saved, tmp_path):
    told = replace(saved, policy=copy.deepcopy(saved.policy))
    told.policy.needs = (*told.policy.needs, TASK)
    with pytest.raises(ConfigError, match="told their task cannot be exported yet"):
        export(told, tmp_path / "student.pt")


@pytest.mark.parametrize("suffix", ["pt", "onnx"])
def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(saved, tmp_path, suffix):
    folder = tmp_path / f"folder.{suffix}"
    folder.mkdir()
    with pytest.raises(UserError, match=r"cannot write .*folder"):
        export(saved, folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_other_files_are_refused(saved, tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.pt or \.onnx"):
        export(saved, tmp_path / "student.tflite")


@pytest.mark.parametrize("saved", ["mlp"], indirect=True)  # a process for each would take long
def test_the_command_says_how_large_the_difference_is(saved, tmp_path):
    output = tmp_path / "student.pt"
    command = [sys.executable, "trainer/export.py", "--checkpoint", str(saved.checkpoint)]
    done = subprocess.run(
        [*command, "--output", str(output)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "differs from the checkpoint by at most" in done.stdout
    assert output.exists()
