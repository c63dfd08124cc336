"""What policies show of themselves, and that it reaches TensorBoard."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.components.policies.conftest import MAKERS
from trainer.build import load_experiment
from trainer.distributed import Ranks
from trainer.fake_data import FakeDataset
from trainer.resume import started_run

EXPERIMENTS = Path(__file__).parents[3] / "experiment_training" / "imitation_learning"
SHOWN = {"variational": {"expert_usage"}, "guided": {"codebook_usage", "guidance_sweep"}}


@pytest.mark.parametrize("name", SHOWN)
def test_pictures_are_of_what_was_learnt(name, batch):
    policy = MAKERS[name]().eval()
    with torch.no_grad():
        pictures, again = policy.pictures(batch), policy.pictures(batch)
    assert pictures.keys() == SHOWN[name]
    for key, picture in pictures.items():
        assert picture.dtype == np.uint8
        assert picture.shape == (300, 400, 3)
        assert picture.std() > 0
        np.testing.assert_array_equal(picture, again[key])


@pytest.mark.parametrize(
    ("experiment", "shown", "figures"),
    [
        (
            "variational_flow_matching_policy/exp3",
            SHOWN["variational"],
            {f"train/expert_{number}" for number in range(4)},
        ),
        ("cfg_vqvae_flow_matching/exp2", SHOWN["guided"], set()),
    ],
)
def test_they_are_logged_with_every_validation(tmp_path, monkeypatch, experiment, shown, figures):
    policy, number = experiment.split("/")
    path = EXPERIMENTS / policy / number / f"{policy}.yaml"
    overrides = [
        "train.steps=4",
        "train.save_every=2",
        "data.batch_size=8",
        "evaluation=null",
        "validation={fraction: 0.5, every: 1}",
        "logging=[{type: tensorboard}]",
        f"train.save_dir={tmp_path}",
    ]
    experiment = load_experiment(path, overrides)
    data = FakeDataset(experiment.config.interface.to_interface())
    monkeypatch.setattr("trainer.build.build_dataset", lambda *_: data)
    with started_run(experiment, Ranks(0, 1, torch.device("cpu")), "auto") as loop:
        loop.train()
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    log = EventAccumulator(str(events.parent))
    log.Reload()
    for name in shown:
        assert [image.step for image in log.Images(f"policy/{name}")] == [2, 4]
    assert {name for name in log.Tags()["scalars"] if "expert_" in name} == figures
    assert sum(log.Scalars(name)[-1].value for name in figures) == pytest.approx(
        1.0 if figures else 0.0
    )
