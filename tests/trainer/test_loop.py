import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml


@pytest.fixture
def deterministic_toy(toy):
    """Behaviour cloning: no noise, so that runs on different ranks can be compared."""
    models = toy.root / "experiment_models" / "toy" / "exp1"
    (models / "trunk.yaml").write_text("type: mlp\nparams: {inputs: 16, width: 16, layers: 1}\n")
    (models / "action_head.yaml").write_text(
        "type: action_head_regression\n"
        "params: {features: 16, chunk: '${interface.chunk}', action: '${interface.action}'}\n"
    )
    config = yaml.safe_load(toy.config_path.read_text())
    config["plugins"] += [
        "components.policies.behavior_cloning",
        "components.models.mlp",
        "components.models.action_head_regression",
    ]
    paths = config["model"]["component_config_paths"]
    del paths["action_decoder"]
    paths |= {
        "trunk": "experiment_models/toy/exp1/trunk.yaml",
        "action_head": "experiment_models/toy/exp1/action_head.yaml",
    }
    config["policy"] = {"type": "behavior_cloning"}
    toy.config_path.write_text(yaml.safe_dump(config))
    toy.edit(train__epochs=13)  # 4 steps of 32 samples each: 52 steps
    return toy


@pytest.mark.parametrize(("ranks", "accumulate"), [(2, 1), (1, 2), (2, 2)])
def test_ranks_and_micro_batches_give_the_curve_of_one_big_batch(
    deterministic_toy, ranks, accumulate
):
    toy = deterministic_toy
    size = 32 // (ranks * accumulate)
    assert toy.train("--set", "data.batch_size=32") == 0, toy.log.read_text()
    reference = toy.losses()
    split = ["--set", f"data.batch_size={size}", "--set", f"train.accumulate={accumulate}"]
    other = toy.root / "other"
    code = toy.train(*split, "--set", f"train.save_dir={other}", ranks=ranks)
    assert code == 0, toy.log.read_text()
    losses = toy.losses(other)
    assert len(losses) == len(reference) == 52
    assert reference[50] < 0.9 * reference[1]
    for step in range(1, 51):
        assert losses[step] == pytest.approx(reference[step], rel=1e-5), step


def test_a_copied_experiment_trains_in_its_own_folder(toy):
    assert toy.train() == 0
    exp2 = toy.config_path.parent.with_name("exp2")
    shutil.copytree(toy.config_path.parent, exp2)
    toy.config_path = exp2 / "toy.yaml"
    toy.edit(train__optimizer__params__lr=1e-3)
    assert toy.train() == 0
    saved = yaml.safe_load((toy.root / "runs/toy/exp2/epoch_3/config.yaml").read_text())
    assert saved["train"]["optimizer"]["params"]["lr"] == 1e-3
    assert (toy.root / "runs/toy/exp1/epoch_3").is_dir()


def test_a_policy_may_make_its_components_itself(toy):
    plugin = """

from torch import nn
from trainer.interfaces import Interface, Loss, Policy
from trainer.registry import policies


@policies.register("linear")
class Linear(Policy):
    def __init__(self, components: nn.ModuleDict, interface: Interface, loss: Loss) -> None:
        super().__init__()
        components["line"] = nn.Linear(interface.state, interface.action)
        self.components, self.loss = components, loss

    def compute_loss(self, batch, progress):
        batch = self.normalizer.normalize(batch)
        action_bha = self.components["line"](batch["observation.state"][:, -1:])
        return self.loss(action_bha, batch["action"], ~batch["action_is_pad"])

    def predict_action(self, observation, state, generators): ...
"""
    file = toy.root / "fake.py"
    file.write_text(file.read_text() + plugin)
    toy.edit(model={"component_config_paths": {}}, policy={"type": "linear"})
    assert toy.train("--set", "train.epochs=1") == 0, toy.log.read_text()
    first = torch.load(toy.save_dir / "epoch_1" / "line.pt", weights_only=True)
    assert toy.train() == 0, toy.log.read_text()
    assert "going on from" in toy.log.read_text()
    last = torch.load(toy.save_dir / "epoch_3" / "line.pt", weights_only=True)
    assert not torch.equal(first["weight"], last["weight"])


def test_a_loss_that_turns_nan_stops_names_the_gradient_and_keeps_the_last_checkpoint(toy):
    toy.edit(data__dataset__params={"nan_from": 10})
    assert toy.train() == 2
    message = toy.log.read_text()
    assert "training diverged at step 10" in message
    assert "action_decoder" in message
    assert "the loss itself" in message
    assert "training diverged at step 10" in (toy.save_dir / "diverged.txt").read_text()
    assert (toy.save_dir / "epoch_1").is_dir()
    assert not (toy.save_dir / "epoch_2").exists()
    for path in (toy.save_dir / "epoch_1").glob("*.pt"):
        if path.name != "training_state.pt":
            state = torch.load(path, weights_only=True)
            assert all(torch.isfinite(v).all() for v in state.values())


def test_a_loss_that_turns_nan_stops_under_fp16_too(toy):
    toy.edit(data__dataset={"type": "fake", "params": {"nan_from": 4}})
    assert toy.train("--set", "train.precision=fp16") == 2
    assert "the loss itself" in toy.log.read_text()


NAN_GRADIENT = """
from trainer.interfaces import Loss, LossOutput
from trainer.registry import losses


@losses.register("nan_gradient")
class NanGradient(Loss):
    def __call__(self, prediction_bha, target_bha, valid_bh):
        error = (prediction_bha - target_bha)[valid_bh].square()
        return LossOutput(error.mean() + (0 * error.sum()).sqrt(), valid_bh.sum())
"""


def test_a_gradient_that_is_never_finite_stops_under_fp16_too(toy):
    (toy.root / "nan_gradient.py").write_text(NAN_GRADIENT)
    plugins = yaml.safe_load(toy.config_path.read_text())["plugins"]
    toy.edit(plugins=[*plugins, "nan_gradient.py"], train__loss={"type": "nan_gradient"})
    assert toy.train("--set", "train.precision=fp16") == 2
    assert "training diverged by step 16: its gradients are not finite" in toy.log.read_text()


def test_an_environment_that_nobody_names_is_noticed_before_training(toy):
    toy.edit(evaluation={"every": 1})
    assert toy.train("--dry_run") == 2
    assert "the data do not say which environment they came from" in toy.log.read_text()


def test_bf16_autocast_trains_and_keeps_float32_weights(toy):
    assert toy.train("--set", "train.precision=bf16") == 0, toy.log.read_text()
    state = torch.load(toy.save_dir / "epoch_3" / "action_decoder.pt", weights_only=True)
    assert {v.dtype for v in state.values()} == {torch.float32}
    assert all(math.isfinite(v) for v in toy.losses().values())


def test_a_warm_start_begins_with_the_acting_weights_of_another_run(toy):
    toy.edit(train__ema_decay=0.9)
    assert toy.train() == 0
    first = toy.save_dir
    settings = ["train.save_dir=runs/warm", f"train.load_dir={first}", "train.epochs=1"]
    settings.append("train.optimizer.params.lr=1e-30")  # so that nothing moves
    assert toy.train(*[a for s in settings for a in ("--set", s)]) == 0, toy.log.read_text()
    warm = toy.root / "runs" / "warm" / "epoch_1" / "action_decoder.pt"
    source = torch.load(first / "epoch_3" / "action_decoder.pt", weights_only=True)
    for key, value in torch.load(warm, weights_only=True).items():
        torch.testing.assert_close(value, source[key])


@pytest.mark.parametrize(
    ("key", "before", "now"), [("action", "mean_std", "min_max"), ("std_floor", "0.01", "0.001")]
)
def test_a_warm_start_keeps_no_statistics_of_other_quantities(toy, key, before, now):
    assert toy.train("--set", "train.epochs=1") == 0, toy.log.read_text()
    warm = ["train.save_dir=runs/warm", f"train.load_dir={toy.save_dir}", "train.epochs=1"]
    warm.append(f"normalization.{key}={now}")
    arguments = [word for setting in warm for word in ("--set", setting)]
    assert toy.train(*arguments) == 2
    message = toy.log.read_text()
    assert f"normalization.{key}: " in message
    assert f"was trained with {before}, this is {now}: its statistics do not fit" in message
    again = ("--set", "normalization.on_warm_start=recompute")
    assert toy.train(*arguments, *again) == 0, toy.log.read_text()


def test_a_warm_start_names_weights_that_do_not_fit_unless_they_are_expected(toy):
    assert toy.train() == 0
    arguments = ["--set", "train.save_dir=runs/warm", "--set", f"train.load_dir={toy.save_dir}"]
    path = toy.root / "experiment_models/toy/exp1/action_decoder.yaml"
    path.write_text(path.read_text().replace("layers: 1", "layers: 2"))
    assert toy.train(*arguments) == 2
    assert "it lacks action_decoder.blocks.1" in toy.log.read_text()
    expected = ["--set", "train.load_missing=[action_decoder.blocks.1]"]
    assert toy.train(*arguments, *expected) == 0, toy.log.read_text()


def test_steps_instead_of_epochs_save_every_so_many_steps(toy):
    toy.edit(train__epochs=None, train__steps=10, train__save_every=4)
    assert toy.train() == 0, toy.log.read_text()
    steps = {
        p.name: json.loads((p / "manifest.json").read_text())["step"]
        for p in toy.save_dir.glob("epoch_*")
    }
    assert steps == {"epoch_1": 4, "epoch_2": 8, "epoch_3": 10}


def test_ema_with_an_averaging_optimizer_is_refused(toy):
    toy.edit(
        train__ema_decay=0.9,
        train__optimizer={"type": "schedule_free_radam", "params": {"lr": 1e-2}},
    )
    assert toy.train() == 2
    assert "averages the weights itself" in toy.log.read_text()


def test_a_dry_run_prints_tables_and_writes_nothing(toy):
    assert toy.train("--dry_run") == 0, toy.log.read_text()
    printed = toy.log.read_text()
    assert "observation_encoder" in printed
    assert "(8, 4, 3)" in printed
    assert not toy.save_dir.exists()


def test_a_full_disk_is_reported_and_the_older_checkpoint_stays(toy):
    # RLIMIT_FSIZE makes writes fail as a full disk does, without needing one.
    assert toy.train("--set", "train.epochs=1") == 0
    script = (
        "import resource, signal, sys; from trainer.cli import run_command;"
        "from trainer import offline_trainer; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "run_command(offline_trainer.main)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "--train_config", str(toy.config_path)],
        capture_output=True,
        text=True,
        cwd=toy.root,
    )
    assert result.returncode == 2, result.stderr
    assert "could not write the checkpoint" in result.stderr
    assert "epoch_1" in result.stderr
    assert sorted(p.name for p in toy.save_dir.glob("*epoch*")) == ["epoch_1"]


@pytest.mark.slow
def test_torchrun_trains_with_the_same_yaml_and_ends_when_a_rank_dies(toy):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    trainer = str(Path(__file__).parents[2] / "trainer" / "offline_trainer.py")
    command = [*torchrun, trainer, "--train_config", str(toy.config_path)]
    kill = json.dumps([{"type": "killer", "params": {"step": 10}}])
    dead = subprocess.run(
        [*command, "--set", f"logging={kill}"], capture_output=True, text=True, cwd=toy.root
    )
    assert dead.returncode != 0
    assert sorted(p.name for p in toy.save_dir.glob("epoch_*")) == ["epoch_1", "epoch_2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=toy.root)
    assert done.returncode == 0, done.stderr
    assert (toy.save_dir / "epoch_3").is_dir()
