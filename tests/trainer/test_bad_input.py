"""What a user gets for bad input: a message that names the thing, exit code 2, nothing written."""

import pytest
import yaml


def refused(toy, *arguments):
    assert toy.train(*arguments) == 2, toy.log.read_text()
    assert not toy.save_dir.exists()
    message = toy.log.read_text()
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.batchsize=3", "did you mean 'batch_size'"),
        ("data.batch_size=-3", "data.batch_size"),
        ("data.batch_size=many", "data.batch_size"),
        ("train.optimizer.params.lr=-1", "train.optimizer.params.lr"),
        ("train.optimizer.params.learning_rate=1", "unknown parameter of adamw_warmup_cosine"),
        ("train.loss.type=sinkhorm", "no loss named 'sinkhorm'"),
        ("train.loss.type=huber", "add components.losses.huber to plugins"),
        ("train.steps=5", "give exactly one of epochs and steps"),
        ("plugins[0]=components.policies.naive_flow", "naive_flow_matching_policy"),
        ("model.component_config_paths.action_decoder=nowhere.yaml", "nowhere.yaml"),
        ("model.component_config_paths={}", "'action_decoder' is missing"),
        ("model.component_optims.decoder.freeze=true", "no component has this name"),
        ("interface.chunk=5", None),
        ("train.load_dir=nowhere", "train.load_dir"),
        ("evaluation={plugins: [no.such.module], every: 1}", "no.such.module"),
        ("logging=[{type: wandbb}]", "logging[0].type: no logger named 'wandbb'"),
        (
            "logging=[{type: wandb}]",
            "(did you mean 'wandb_logger'?); add trainer.loggers.wandb_logger to plugins",
        ),
        ("logging=[{type: tensorboard, params: {dir: x}}]", "unknown parameter of tensorboard"),
        ("validation.fraction=0.01", "of 8 episodes none is left for validation"),
        ("validation.fraction=0.99", "of 8 episodes none is left for training"),
        (
            "train.checkpoints.best={metric: evaluation/success_rate}",
            "nothing measures 'evaluation/success_rate'; set evaluation.every",
        ),
        (
            "evaluation={every: 1, execute_horizon: 99, environment: {type: none}}",
            "evaluation: execute_horizon: expected 1 to",
        ),
        ("nonsense", "nonsense"),
    ],
)
def test_a_wrong_setting_is_named(toy, override, expected):
    if expected is None:  # ${interface.chunk} reaches every component: this is no mistake
        assert toy.train("--set", override) == 0, toy.log.read_text()
        return
    assert expected in refused(toy, "--set", override)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plugins: [a, b\ntrain: {", "malformed YAML"),
        ("seed: !!python/object/apply:os.system ['touch hacked']", "data, never code"),
        ("", "got nothing"),
        ("- a\n- b\n", "mapping"),
    ],
)
def test_a_wrong_file_is_named(toy, text, expected):
    toy.config_path.write_text(text)
    message = refused(toy)
    assert expected in message
    assert "toy.yaml" in message
    assert not (toy.root / "hacked").exists()


def test_a_missing_file_is_named(toy):
    toy.config_path.unlink()
    assert "toy.yaml" in refused(toy)


def test_a_plugin_that_does_not_import_is_named_with_its_cause(toy):
    (toy.root / "fake.py").write_text("import torch\nraise RuntimeError('no licence')\n")
    message = refused(toy)
    assert "fake.py" in message
    assert "no licence" in message


def test_a_key_registered_twice_is_an_error(toy):
    (toy.root / "again.py").write_text((toy.root / "fake.py").read_text())
    toy.edit(plugins=["fake.py", "again.py"])
    assert "registered twice" in refused(toy)


def test_an_experiment_in_which_nothing_learns_is_refused(toy):
    frozen = {name: {"freeze": True} for name in ("observation_encoder", "action_decoder")}
    toy.edit(model__component_optims=frozen)
    for arguments in ([], ["--dry_run"]):
        message = refused(toy, *arguments)
        assert "model.component_optims: nothing is left to train" in message
    toy.edit(model__component_optims={"action_decoder": {"freeze": True}})
    assert toy.train("--dry_run") == 0, toy.log.read_text()


def test_a_dry_run_without_data_takes_a_validation(toy):
    plugins = yaml.safe_load(toy.config_path.read_text())["plugins"]
    toy.edit(
        plugins=[*plugins, "components.datasets.dagger_rounds"],
        data__dataset={"type": "dagger_rounds", "params": {"rounds": ["not/there"]}},
        validation={},
    )
    assert toy.train("--dry_run") == 0, toy.log.read_text()
    last = toy.log.read_text().splitlines()[-1]
    assert last.startswith("NOT checked against data: rounds: 'not/there': no folder")
    assert last.endswith("; the batch above is made from interface")


def test_a_dry_run_builds_the_optimizer_too(toy):
    plugin = toy.root / "fake.py"
    optimizer = """

from trainer.interfaces import OptimizerPlugin
from trainer.registry import optimizers


@optimizers.register("picky")
class Picky(OptimizerPlugin):
    def build(self, parameter_groups):
        raise SystemExit("it was built")

    def learning_rate(self, step, total_steps):
        return 0.0
"""
    plugin.write_text(plugin.read_text() + optimizer)
    toy.edit(train__optimizer={"type": "picky"})
    toy.train("--dry_run")
    assert "it was built" in toy.log.read_text()


def test_a_folder_that_cannot_be_written_is_named(toy):
    (toy.root / "runs").write_text("a file in the way")
    assert toy.train() == 2
    assert "cannot write to" in toy.log.read_text()
