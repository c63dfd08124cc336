"""The command line of on-line distillation."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import wandb
import yaml

from data_collection.distill import _overrides, _parser, main
from tests.support.ports import free_port
from tests.support.toy import equal_bits
from tests.support.vector_toy import figures, write_project
from trainer.checkpoint import open_checkpoint
from trainer.errors import ConfigError

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}

KILLS_ONCE = """
import os
import signal

from trainer.interfaces import Logger
from trainer.registry import loggers


@loggers.register("kills_once")
class KillsOnce(Logger):
    def __init__(self, save_dir, *, step: int) -> None:
        self.step, self.done = step, save_dir / "killed"

    def log_scalars(self, step, values):
        if step == self.step and not self.done.exists():
            self.done.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


def state_of(save_dir):
    """All that a finished run's checkpoint holds, history and environments included."""
    found = open_checkpoint(save_dir / "epoch_6")
    components = {name: found.component(name) for name in found.components()}
    rank = (found.folder / "distillation_rank_0.safetensors").read_bytes()
    return components, found.training_state(), found.read_text("normalization.json"), rank


@pytest.mark.parametrize("option", ["--config", "--distill_config"])
def test_the_yaml_is_named_as_the_other_commands_do_or_shorter(option):
    assert _parser().parse_args([option, "a.yaml"]).config == Path("a.yaml")


def test_a_teachers_checkpoint_and_wandbs_project_need_not_stand_in_the_file(tmp_path, monkeypatch):
    path = write_project(tmp_path)
    torch.manual_seed(0)
    actor = {f"mlp.0.{n}": value for n, value in torch.nn.Linear(6, 2).state_dict().items()}
    torch.save({"actor_state_dict": actor}, tmp_path / "model 0.pt")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    short = ["--checkpoint", "model 0.pt", "--logger", "wandb", "--log_project_name", "walking"]
    assert main(["--config", str(path), *short]) == 0
    wandb.teardown()
    save_dir = tmp_path / "runs/toy/exp1"
    config = yaml.safe_load((save_dir / "epoch_6" / "distillation.yaml").read_text())
    assert config["teacher"] == {
        "type": "rsl_rl_actor", "params": {"path": str(tmp_path / "model 0.pt")},
    }  # fmt: skip
    assert config["logging"] == [{"type": "wandb_logger", "params": {"project": "walking"}}]
    (record,) = (save_dir / "wandb").glob("offline-run-*/*.wandb")
    assert all(text in record.read_bytes() for text in (b"walking", b"Loss/behavior"))


def test_wandbs_project_has_a_name_and_is_no_other_loggers():
    args = ["--config", "a.yaml", "--logger"]
    (logging,) = _overrides(_parser().parse_args([*args, "wandb"]))
    assert '"project": "distillation"' in logging
    (logging,) = _overrides(_parser().parse_args([*args, "tensorboard"]))
    assert logging == 'logging=[{"type": "tensorboard", "params": {}}]'
    with pytest.raises(ConfigError, match="give --logger wandb as well"):
        _overrides(_parser().parse_args([*args, "tensorboard", "--log_project_name", "walking"]))


def test_another_environment_is_taken_by_its_name(tmp_path):
    path = write_project(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'vector_toy'"):
        main(["--config", str(path), "--task", "vector_toys"])


def test_killed_and_started_again_the_same_command_goes_on_with_the_same_bits(tmp_path):
    path = write_project(tmp_path)
    (tmp_path / "kills_once.py").write_text(KILLS_ONCE)
    command = ["--config", str(path), "--set", "train.save_every=2"]
    plugins = f"simulation_plugins=[tests.support.vector_toy, {tmp_path / 'kills_once.py'}]"
    command += ["--set", plugins, "--set", "logging=[{type: kills_once, params: {step: 5}}]"]
    script = [sys.executable, str(ROOT / "data_collection" / "distill.py")]
    killed = subprocess.run(
        [*script, *command], capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT
    )
    save_dir, whole = tmp_path / "runs/toy/exp1", tmp_path / "runs/whole"
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert sorted(folder.name for folder in save_dir.glob("epoch_*")) == ["epoch_2", "epoch_4"]
    assert main(command) == 0
    assert main([*command, "--set", "train.save_dir=runs/whole", "--set", "logging=[]"]) == 0
    assert [row["step"] for row in figures(save_dir)] == [1, 2, 3, 4, 5, 6]
    assert equal_bits(state_of(save_dir), state_of(whole))


@pytest.mark.slow
def test_torchrun_distils_on_two_ranks(tmp_path):
    path = write_project(tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    launch += ["--master_addr=127.0.0.1", f"--master_port={free_port()}"]
    done = subprocess.run(
        [*launch, str(ROOT / "data_collection" / "distill.py"), "--config", str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT | {"GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("SWITCHING TO PHASE 2") == 1
    save_dir = tmp_path / "runs/toy/exp1"
    checkpoint = open_checkpoint(save_dir / "epoch_6")
    ranks = {file.name for file in checkpoint.folder.glob("distillation_rank_*")}
    assert ranks == {"distillation_rank_0.safetensors", "distillation_rank_1.safetensors"}
    # Both ranks' four environments, five steps in each of six iterations.
    assert json.loads(checkpoint.read_text("normalization.json"))["action"]["count"] == 240
    assert [row["step"] for row in figures(save_dir)] == [1, 2, 3, 4, 5, 6]
